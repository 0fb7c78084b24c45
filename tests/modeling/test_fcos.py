import torch

from pipeline.modeling.detector import Target
from pipeline.modeling.fcos import Fcos

IMAGES = torch.randint(0, 255, (1, 3, 64, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def target(box: tuple[float, ...], *others: tuple[float, ...]) -> Target:
    """An ignore region and objects."""
    boxes = torch.tensor([box, *others])
    return Target(boxes, torch.zeros(len(boxes), dtype=torch.int64), torch.arange(len(boxes)) == 0)


def test_one_point_a_place_from_stride_8_to_128() -> None:
    assert Fcos(2, (256, 128), "none").levels == [(256 // s) * (128 // s) for s in (8, 16, 32, 64, 128)]


def test_what_lies_in_an_ignore_region_is_not_trained() -> None:
    model = Fcos(1, (128, 64), "none").eval()
    anywhere, nowhere = target((-500.0, -500, 500, 500)), target((0.0, 0, 0, 0))
    assert float(model.loss(IMAGES, [nowhere])["classification"].detach()) > 1e-5
    assert float(model.loss(IMAGES, [anywhere])["classification"].detach()) == 0


def test_an_object_in_an_ignore_region_is_trained() -> None:
    model, box = Fcos(1, (128, 64), "none").eval(), (20.0, 10, 60, 50)
    inside = model.loss(IMAGES, [target((0.0, 0, 128, 64), box)])
    alone = model.loss(IMAGES, [target((0.0, 0, 0, 0), box)])
    assert torch.equal(inside["bbox_regression"], alone["bbox_regression"])
    assert 0 < float(inside["classification"].detach()) < float(alone["classification"].detach())
