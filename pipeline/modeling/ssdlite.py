"""SSDLite with MobileNetV3-Large (Howard et al., ICCV 2019), torchvision's, behind the one interface."""

import torch
from torch import Tensor
from torchvision.models import MobileNet_V3_Large_Weights
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from pipeline.modeling.detector import Detector, Target


class SsdLite(Detector):
    """torchvision's network, anchors, matcher and loss; our letterbox before it and our NMS after it."""

    def __init__(self, classes: int, size: tuple[int, int], weights: str) -> None:
        super().__init__(classes)
        pretrained = weights == "default"
        backbone = MobileNet_V3_Large_Weights.DEFAULT if pretrained else None
        self.net = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=backbone, num_classes=classes + 1)
        self.size = size

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `Detector.forward`."""
        head, anchors = self._raw(images)
        boxes = torch.stack([self._decode(sides, a) for sides, a in zip(head["bbox_regression"], anchors, strict=True)])
        return boxes, head["cls_logits"].float().softmax(-1)[..., 1:]

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        """See `Detector.loss`: SSD's `bbox_regression` and `classification`. Ignore regions count as background."""
        head, anchors = self._raw(images)
        wanted, matched = [], []
        for anchor, target in zip(anchors, targets, strict=True):
            boxes, labels = target.boxes[~target.ignore], target.labels[~target.ignore] + 1
            wanted.append({"boxes": boxes, "labels": labels})
            matched.append(self._match(anchor, boxes))
        losses: dict[str, Tensor] = self.net.compute_loss(wanted, head, anchors, matched)
        return losses

    def _match(self, anchors: Tensor, boxes: Tensor) -> Tensor:
        """Index of the object of each anchor (A,), -1 for background."""
        if not len(boxes):
            return torch.full((len(anchors),), -1, dtype=torch.int64, device=anchors.device)
        matched: Tensor = self.net.proposal_matcher(box_iou(boxes, anchors))
        return matched

    def _decode(self, sides: Tensor, anchors: Tensor) -> Tensor:
        boxes: Tensor = self.net.box_coder.decode_single(sides.float(), anchors)
        return boxes

    def _raw(self, images: Tensor) -> tuple[dict[str, Tensor], list[Tensor]]:
        pixels = images.float() / 127.5 - 1.0
        maps = list(self.net.backbone(pixels).values())
        height, width = self.size[1], self.size[0]
        anchors = self.net.anchor_generator(ImageList(pixels, [(height, width)] * len(pixels)), maps)
        return {name: value.float() for name, value in self.net.head(maps).items()}, anchors
