"""FCOS (Tian et al., ICCV 2019), torchvision's, behind the one interface."""

import torch
from torch import Tensor
from torchvision.models.detection import FCOS as Network  # noqa: N811 - an acronym, not a constant

from pipeline.modeling.assign import within
from pipeline.modeling.detector import Target
from pipeline.modeling.torchvision_common import CERTAIN, TorchvisionDetector, centres, in_ignored, objects, pyramid


class Fcos(TorchvisionDetector):
    """torchvision's network, points, centre sampling and losses. A point is an anchor as wide as its stride.

    Points in an ignore region that lie in no object are not trained as background.
    """

    def __init__(self, classes: int, size: tuple[int, int], weights: str, backbone: str = "mobilenet") -> None:
        features, origin = pyramid(backbone, weights)
        net = Network(features, classes)
        super().__init__(classes, size, net, net.anchor_generator)
        self.origin = origin

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `Detector.forward`. The score is the geometric mean of class and centre-ness, as in torchvision's."""
        head = self.head(images)
        boxes: Tensor = self.net.box_coder.decode(head["bbox_regression"], self.anchors)
        return boxes, (head["cls_logits"].sigmoid() * head["bbox_ctrness"].sigmoid()).sqrt()

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        """See `Detector.loss`: `classification` (focal), `bbox_regression` (GIoU) and `bbox_ctrness`."""
        head = self.head(images)
        aside = torch.stack([self._aside(t) for t in targets])
        head["cls_logits"] = head["cls_logits"].masked_fill(aside[..., None], -CERTAIN)
        anchors = [self.anchors] * len(targets)
        losses: dict[str, Tensor] = self.net.compute_loss(objects(targets), head, anchors, self.levels)
        return losses

    def _aside(self, target: Target) -> Tensor:
        """Points (A,) that are neither object nor background; the matching is torchvision's and comes later."""
        near = within(centres(self.anchors), target.boxes[~target.ignore]).any(0)
        return in_ignored(self.anchors, target) & ~near
