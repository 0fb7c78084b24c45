"""Multiply-adds by hand, and those that torchvision publishes for its own networks."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import detection

from pipeline.modeling.costs import Cost, costs
from pipeline.modeling.detector import Detector, Target


class Counted(Detector):
    """Two parts that can be counted by hand, and one that costs nothing."""

    def __init__(self) -> None:
        super().__init__(1)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, 5)
        self.nothing = nn.Identity()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.nothing(self.head(self.stem(images.float()).flatten(2).transpose(1, 2)))
        return x[..., :4], x[..., 4:].sigmoid()

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        raise NotImplementedError


class Wrapped(Counted):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.ModuleDict({"stem": self.stem, "head": self.head})
        del self.stem, self.head, self.nothing

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.net["head"](self.net["stem"](images.float()).flatten(2).transpose(1, 2))
        return x[..., :4], x[..., 4:].sigmoid()


# 8 x 4 pixels become 4 x 2 cells. Convolution: 4 filters of 27 weights at 8 cells; linear: 4 x 5 at 8 cells.
STEM, HEAD = Cost("stem", 4 * 27 + 2 * 4, 4 * 27 * 8), Cost("head", 4 * 5 + 5, 4 * 5 * 8)


def test_by_hand() -> None:
    whole = Cost("", STEM.parameters + HEAD.parameters, STEM.macs + HEAD.macs)
    assert costs(Counted().eval(), (8, 4)) == [whole, STEM, HEAD]


def test_a_wrapper_around_one_part_is_looked_into() -> None:
    names = {it.name: it.macs for it in costs(Wrapped().eval(), (8, 4))}
    assert names == {"": STEM.macs + HEAD.macs, "net.stem": STEM.macs, "net.head": HEAD.macs}


class Published(Counted):
    """torchvision's network without its resizing and its NMS, which torchvision does not count either."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        del self.stem, self.head, self.nothing

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = list(self.net.backbone(images.float()).values())  # type: ignore[operator]
        said = self.net.head(maps)  # type: ignore[operator]
        return said["bbox_regression"], said["cls_logits"]


@pytest.mark.parametrize(
    ("make", "weights", "size"),
    [
        pytest.param("ssdlite320_mobilenet_v3_large", "SSDLite320_MobileNet_V3_Large_Weights", 320, id="ssdlite"),
        pytest.param("retinanet_resnet50_fpn", "RetinaNet_ResNet50_FPN_Weights", 800, id="retinanet"),
        pytest.param("fcos_resnet50_fpn", "FCOS_ResNet50_FPN_Weights", 800, id="fcos"),
    ],
)
def test_as_published_by_torchvision(make: str, weights: str, size: int) -> None:
    """Giga multiply-adds of its model cards, to the digits that they have; on `meta` tensors nothing is computed."""
    published = getattr(detection, weights).DEFAULT.meta["_ops"]
    with torch.device("meta"):
        net = Published(getattr(detection, make)(weights=None, weights_backbone=None)).eval()
        whole, *_ = costs(net, (size, size))
    assert whole.macs / 1e9 == pytest.approx(published, rel=1e-3)


def test_a_wrong_count_would_be_seen() -> None:
    """The counter counts operations, two a multiply-add: what is published is half of it."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        nn.Conv2d(1, 1, 1)(torch.zeros(1, 1, 1, 1))
    assert counter.get_total_flops() == 2
