"""SSDLite with MobileNetV3-Large (Howard et al., ICCV 2019), torchvision's, behind the one interface."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import MobileNet_V3_Large_Weights
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

from pipeline.modeling.detector import Target
from pipeline.modeling.torchvision_common import (
    CERTAIN,
    NEITHER,
    Float32,
    TorchvisionDetector,
    decoded,
    matches,
    objects,
    start,
)


class SsdLite(TorchvisionDetector):
    """torchvision's network, anchors, matcher and loss; our letterbox before it and our NMS after it.

    Background anchors whose centre lies in an ignore region are not trained. Pretrained weights begin the backbone up
    to its tail, which torchvision halves where a network starts from scratch: a trained one must fit either way.
    """

    def __init__(self, classes: int, size: tuple[int, int], weights: str) -> None:
        net = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes + 1)
        net.backbone.extra = nn.ModuleList(Float32(*block) for block in net.backbone.extra)
        origin = start(net.backbone, MobileNet_V3_Large_Weights.DEFAULT, weights, "features.0.")
        super().__init__(classes, size, net, net.anchor_generator)
        self.origin = origin

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `Detector.forward`. The batch stays one tensor throughout, so that its size is free in the export."""
        head = self.head(images)
        boxes = decoded(self.net.box_coder, head["bbox_regression"], self.anchors)
        return boxes, head["cls_logits"].softmax(-1)[..., 1:]

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        """See `Detector.loss`: SSD's `bbox_regression` and `classification`."""
        head = self.head(images)
        matched = [matches(self.net.proposal_matcher, self.anchors, t) for t in targets]
        # What is surely background costs nothing, and is the last that SSD mines for its negatives.
        sure = functional.one_hot(torch.zeros_like(self.anchors[0, 0]).long(), self.classes + 1) * CERTAIN
        head["cls_logits"] = torch.where((torch.stack(matched) == NEITHER)[..., None], sure, head["cls_logits"])
        anchors = [self.anchors] * len(targets)
        losses: dict[str, Tensor] = self.net.compute_loss(objects(targets, 1), head, anchors, matched)
        return losses
