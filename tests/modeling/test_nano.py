import torch
from torch.nn.functional import max_pool2d

from pipeline.modeling.nano import STRIDES, Nano, SpatialPyramid


def test_points_are_the_cells_centres() -> None:
    model = Nano(2, (96, 64))
    assert len(model.points) == sum((96 // s) * (64 // s) for s in STRIDES)
    assert model.points[0].tolist() == [4.0, 4.0]
    assert model.points[1].tolist() == [12.0, 4.0]  # along the row first
    assert model.points[-1].tolist() == [80.0, 48.0]  # the last cell of stride 32


def test_boxes_lie_around_their_points() -> None:
    torch.manual_seed(0)
    model = Nano(1, (64, 64)).eval()
    with torch.inference_mode():
        boxes, _ = model(torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8))
    assert (boxes[0, :, :2] <= model.points).all()
    assert (boxes[0, :, 2:] >= model.points).all()


def test_the_prior_keeps_an_untrained_detector_quiet() -> None:
    torch.manual_seed(0)
    model = Nano(2, (64, 64)).eval()
    with torch.inference_mode():
        _, scores = model(torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8))
    assert 0.001 < float(scores.mean()) < 0.1


def test_the_pyramid_pools_5_9_and_13_cells() -> None:
    torch.manual_seed(0)
    pyramid = SpatialPyramid(8).eval()
    x = torch.randn(2, 8, 15, 20)
    with torch.inference_mode():
        reduced = pyramid.reduce(x)
        side_by_side = [max_pool2d(reduced, side, 1, side // 2) for side in (1, 5, 9, 13)]
        assert torch.equal(pyramid(x), pyramid.merge(torch.cat(side_by_side, 1)))
