"""RetinaNet (Lin et al., ICCV 2017), torchvision's, behind the one interface."""

from functools import partial

from torch import Tensor, nn
from torchvision.models.detection import RetinaNet as Network
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.retinanet import RetinaNetHead

from pipeline.modeling.detector import Target
from pipeline.modeling.torchvision_common import TorchvisionDetector, decoded, matches, objects, pyramid

# Half of torchvision's sizes, which are meant for pictures of 800 pixels and more: three a level from 16 pixels on.
SIZES = tuple(tuple(int(side * 2 ** (step / 3)) for step in range(3)) for side in (16, 32, 64, 128, 256))
RATIOS = ((0.5, 1.0, 2.0),) * len(SIZES)  # height to width


class RetinaNet(TorchvisionDetector):
    """torchvision's network, anchors, matcher and focal loss, with the group norm of its second version's head.

    Background anchors whose centre lies in an ignore region are not trained.
    """

    def __init__(self, classes: int, size: tuple[int, int], weights: str, backbone: str = "mobilenet") -> None:
        features, origin = pyramid(backbone, weights)
        generator = AnchorGenerator(SIZES, RATIOS)
        each = generator.num_anchors_per_location()[0]
        head = RetinaNetHead(features.out_channels, each, classes, norm_layer=partial(nn.GroupNorm, 32))
        net = Network(features, classes, anchor_generator=generator, head=head)
        super().__init__(classes, size, net, generator)
        self.origin = origin

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `Detector.forward`."""
        head = self.head(images)
        return decoded(self.net.box_coder, head["bbox_regression"], self.anchors), head["cls_logits"].sigmoid()

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        """See `Detector.loss`: `classification` (focal) and `bbox_regression` (L1 of encoded sides)."""
        matched = [matches(self.net.proposal_matcher, self.anchors, t) for t in targets]
        anchors = [self.anchors] * len(targets)
        losses: dict[str, Tensor] = self.net.head.compute_loss(objects(targets), self.head(images), anchors, matched)
        return losses
