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
        backbone = MobileNet_V3_Large_Weights.DEFAULT if weights == "default" else None
        self.net = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=backbone, num_classes=classes + 1)
        self.size = size

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `Detector.forward`. The batch stays one tensor throughout, so that its size is free in the export."""
        head, anchors = self._raw(images)
        sides = head["bbox_regression"]
        repeated = anchors.repeat(sides.shape[0], 1)
        boxes: Tensor = self.net.box_coder.decode_single(sides.reshape(-1, 4), repeated)
        return boxes.reshape(sides.shape), head["cls_logits"].softmax(-1)[..., 1:]

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        """See `Detector.loss`: SSD's `bbox_regression` and `classification`. Ignore regions count as background."""
        head, anchors = self._raw(images)
        wanted = [{"boxes": t.boxes[~t.ignore], "labels": t.labels[~t.ignore] + 1} for t in targets]
        matched = [self._match(anchors, target["boxes"]) for target in wanted]
        losses: dict[str, Tensor] = self.net.compute_loss(wanted, head, [anchors] * len(targets), matched)
        return losses

    def _match(self, anchors: Tensor, boxes: Tensor) -> Tensor:
        """Index of the object of each anchor (A,), -1 for background."""
        if not len(boxes):
            return torch.full((len(anchors),), -1, dtype=torch.int64, device=anchors.device)
        matched: Tensor = self.net.proposal_matcher(box_iou(boxes, anchors))
        return matched

    def _raw(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The head's outputs, float32, and the anchors (A, 4) that all pictures share."""
        pixels = images.float() / 127.5 - 1.0
        maps = list(self.net.backbone(pixels).values())
        first = ImageList(pixels[:1], [(self.size[1], self.size[0])])
        anchors: Tensor = self.net.anchor_generator(first, [m[:1] for m in maps])[0]
        return {name: value.float() for name, value in self.net.head(maps).items()}, anchors
