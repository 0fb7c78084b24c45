"""What torchvision's detectors share behind the one interface: weights to start from, anchors, pixels, ignore regions.

torchvision's networks, anchors, matchers, box coders and losses are used as they are. Its transform (resize, pad) and
its NMS are not: our letterbox comes before the network and our NMS after it, the same as at the edge.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import MobileNet_V3_Large_Weights, ResNet50_Weights, WeightsEnum
from torchvision.models.detection.backbone_utils import mobilenet_backbone, resnet_fpn_backbone
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from pipeline.core.errors import SightlineError
from pipeline.modeling.assign import within
from pipeline.modeling.detector import Detector, Target

WIDTH = 256  # channels of torchvision's feature pyramids
BACKGROUND, NEITHER = -1, -2  # torchvision's Matcher: below the low threshold, between the two
CERTAIN = 100.0  # logit from which on the loss and its gradient are exactly 0 in float32

Dicts = list[dict[str, Tensor]]


class TorchvisionDetector(Detector):
    """A network of torchvision's for one size of input: normalised pixels in, what its head gives out.

    Args:
        classes: how many.
        size: width and height of the input, pixels.
        net: has `backbone` and `transform`.
        generator: of the anchors.
    """

    net: Any  # torchvision has no types
    anchors: Tensor  # (A, 4) input-pixel xyxy, the same for every picture
    mean: Tensor  # (3, 1, 1) of levels 0..1
    deviation: Tensor  # (3, 1, 1) of levels 0..1

    def __init__(self, classes: int, size: tuple[int, int], net: nn.Module, generator: nn.Module) -> None:
        super().__init__(classes)
        self.net = net
        anchors, self.levels = grid(self.net.backbone, generator, size)
        self.register_buffer("anchors", anchors, persistent=False)
        for name, values in (("mean", self.net.transform.image_mean), ("deviation", self.net.transform.image_std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """The backbone's maps (B, D, h, w) of uint8 images (B, 3, H, W), finest first."""
        found: dict[str, Tensor] = self.net.backbone((images.float() / 255 - self.mean) / self.deviation)
        return found

    def head(self, images: Tensor) -> dict[str, Tensor]:
        """What the head of a one-stage network says of every anchor (B, A, ...), float32."""
        said = self.net.head(list(self.maps(images).values()))
        return {name: value.float() for name, value in said.items()}


class Float32(nn.Sequential):
    """Layers that compute in float32 under autocast, too.

    oneDNN's bf16 convolutions with a stride are wrong where a map is one pixel wide (like pytorch/pytorch#169688): the
    gradient of the kernel's columns that see only padding is whatever the memory held before. So the coarsest maps,
    which cost next to nothing, stay in float32.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """What the layers make of maps (B, D, h, w), float32."""
        with torch.autocast(maps.device.type, enabled=False):
            found: Tensor = super().forward(maps.float())  # type: ignore[no-untyped-call]  # torch's own lacks types
        return found


class CoarseLevels(LastLevelP6P7):  # type: ignore[misc]  # torchvision has no types
    """P6 and P7 in float32; see `Float32`."""

    def forward(self, p: list[Tensor], c: list[Tensor], names: list[str]) -> tuple[list[Tensor], list[str]]:
        """The pyramid's levels (B, D, h, w) and names, with the two coarser ones behind them."""
        with torch.autocast(p[-1].device.type, enabled=False):
            (_, p6, p7), names = super().forward([p[-1].float()], [c[-1].float()], names)
        return [*p, p6, p7], names


def grid(backbone: nn.Module, generator: Any, size: tuple[int, int]) -> tuple[Tensor, list[int]]:
    """All anchors (A, 4) in input-pixel xyxy, float32 in any precision of training, and how many each level has.

    Args:
        backbone: gives the levels' maps by name.
        generator: torchvision's, of anchors or default boxes.
        size: width and height of the input, pixels.
    """
    blank, training = torch.zeros(1, 3, size[1], size[0]), backbone.training
    with torch.no_grad():
        maps = list(backbone.eval()(blank).values())  # in eval mode, so that no running mean moves
    backbone.train(training)
    anchors: Tensor = generator(ImageList(blank, [(size[1], size[0])]), maps)[0]
    each = generator.num_anchors_per_location()
    return anchors, [m.shape[2] * m.shape[3] * count for m, count in zip(maps, each, strict=True)]


def decoded(coder: Any, sides: Tensor, anchors: Tensor) -> Tensor:
    """Boxes (B, A, 4) of regressed sides (B, A, 4) against anchors (A, 4); the number of pictures stays free."""
    boxes: Tensor = coder.decode_single(sides.reshape(-1, 4), anchors.repeat(sides.shape[0], 1))
    return boxes.reshape(sides.shape)


def objects(targets: list[Target], first: int = 0) -> Dicts:
    """Targets as torchvision wants them, without ignore regions; `first` is its number of our class 0."""
    return [{"boxes": t.boxes[~t.ignore], "labels": t.labels[~t.ignore] + first} for t in targets]


def in_ignored(boxes: Tensor, target: Target) -> Tensor:
    """Which boxes (N, 4) have their centre in an ignore region: (N,) bool."""
    return within(centres(boxes), target.boxes[target.ignore]).any(0)


def centres(boxes: Tensor) -> Tensor:
    """(N, 2) of boxes (N, 4)."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def matches(matcher: Callable[[Tensor], Tensor], anchors: Tensor, target: Target) -> Tensor:
    """Which object each anchor answers for: (A,) index, `BACKGROUND`, or `NEITHER`, as in ignore regions."""
    boxes = target.boxes[~target.ignore]
    found = torch.full_like(anchors[:, 0], BACKGROUND).long()
    if len(boxes) and len(anchors):  # torchvision's matcher takes neither without the other
        found = matcher(box_iou(boxes, anchors))
    return found.masked_fill((found == BACKGROUND) & in_ignored(anchors, target), NEITHER)


def pyramid(name: str, weights: str) -> tuple[nn.Module, str]:
    """A feature pyramid at strides 8 to 128 (P3 to P7 of RetinaNet), and what it starts from.

    Every layer is trained, and batch norm is never frozen: a network started from pretrained weights and one started
    from scratch are then the same network, and a trained one is loaded without the weights that it started from.

    Args:
        name: `mobilenet` (V3 Large) or `resnet50`.
        weights: `none`, or `default` for a backbone trained on ImageNet.

    Raises:
        SightlineError: pretrained weights are wanted and cannot be had.
    """
    shared = {"weights": None, "norm_layer": nn.BatchNorm2d, "extra_blocks": CoarseLevels(WIDTH, WIDTH)}
    if name == "mobilenet":
        large = "mobilenet_v3_large"  # returned are the first block of strides 8 and 16, and the last layer
        net = mobilenet_backbone(backbone_name=large, fpn=True, trainable_layers=6, returned_layers=[2, 3, 5], **shared)
        return net, start(net.body, MobileNet_V3_Large_Weights.DEFAULT, weights, "")
    net = resnet_fpn_backbone(backbone_name=name, trainable_layers=5, returned_layers=[2, 3, 4], **shared)
    return net, start(net.body, ResNet50_Weights.DEFAULT, weights, "")


def start(body: nn.Module, source: WeightsEnum, weights: str, prefix: str) -> str:
    """Give a backbone the pretrained layers that fit it, and say what it starts from, for `Detector.origin`.

    Args:
        body: of a detector.
        source: of a classifier; the names of its layers, without `features.`, are the body's.
        weights: `none` leaves the body as it is; `default` fetches.
        prefix: of the layers' names in the body.

    Raises:
        SightlineError: the weights cannot be had, or no layer fits.
    """
    if weights == "none":
        return Detector.origin
    given, held = fetched(source), body.state_dict()
    renamed = {prefix + name.removeprefix("features."): value for name, value in given.items()}
    fitting = {name: value for name, value in renamed.items() if name in held and value.shape == held[name].shape}
    if not fitting:
        raise SightlineError(f"train: no layer of {source} fits this backbone; set model.weights=none")
    body.load_state_dict(fitting, strict=False)
    return f"{source}, which give {len(fitting)} of the {len(held)} tensors of its backbone"


def fetched(source: WeightsEnum) -> dict[str, Tensor]:
    """Pretrained weights, from torch's cache or the network. Raises SightlineError where they cannot be had."""
    try:
        found: dict[str, Tensor] = source.get_state_dict(progress=False, check_hash=True, map_location="cpu")
    except (OSError, RuntimeError) as error:  # no network, no room; a file that does not have its hash
        raise SightlineError(
            f"train: the pretrained weights {source} cannot be had from {source.url} ({error}); "
            f"put the file into {torch.hub.get_dir()}/checkpoints, or start from scratch with model.weights=none"
        ) from None
    return found
