import torch

from pipeline.modeling.detector import Target
from pipeline.modeling.retinanet import RATIOS, SIZES, RetinaNet


def test_levels_go_from_stride_8_to_128_with_nine_anchors_a_place() -> None:
    model = RetinaNet(2, (256, 128), "none")
    assert model.levels == [9 * (256 // stride) * (128 // stride) for stride in (8, 16, 32, 64, 128)]
    assert [sides[0] for sides in SIZES] == [16, 32, 64, 128, 256]
    assert {len(sides) * len(ratios) for sides, ratios in zip(SIZES, RATIOS, strict=True)} == {9}


def test_what_lies_in_an_ignore_region_is_not_trained() -> None:
    model = RetinaNet(1, (128, 64), "none").eval()
    images = torch.randint(0, 255, (1, 3, 64, 128), dtype=torch.uint8)
    region, labels = torch.tensor([[-1.0, -1, 200, 200]]), torch.zeros(1, dtype=torch.int64)
    ignored, background = Target(region, labels, labels == 0), Target(region[:0], labels[:0], labels[:0] == 0)
    assert float(model.loss(images, [background])["classification"].detach()) > 1e-3
    assert float(model.loss(images, [ignored])["classification"].detach()) == 0
