"""Faster R-CNN (Ren et al., NIPS 2015), torchvision's with MobileNetV3-Large for small pictures, as a `Detector`.

A two-stage graph usually has as many proposals as a picture happens to hold, found by an NMS in a loop over pictures.
Here their number is fixed and every step is arithmetic over the whole batch, so the graph takes any number of pictures
and needs plain operators only. The NMS among proposals is Cluster-NMS (Zheng et al., IEEE Trans. Cybernetics 2022).
"""

import math

import torch
from torch import Tensor
from torchvision.models import MobileNet_V3_Large_Weights
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn
from torchvision.models.detection.roi_heads import fastrcnn_loss
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import roi_align

from pipeline.modeling.detector import Target
from pipeline.modeling.torchvision_common import (
    NEITHER,
    Dicts,
    TorchvisionDetector,
    decoded,
    in_ignored,
    matches,
    objects,
    start,
)

ROUNDS = 16  # of Cluster-NMS: exact while no box is the end of a longer chain, each suppressed by the one before


class FasterRcnn(TorchvisionDetector):
    """torchvision's network, anchors, matchers, samplers and losses.

    A candidate is an anchor and a class: the box that the second stage makes of the anchor's proposal, with a score for
    its class alone. An anchor without a proposal stays where it is and scores 0. So a candidate has its place whatever
    the order of proposals, which a last digit decides. Background anchors and proposals whose centre lies in an ignore
    region are not trained.
    """

    def __init__(self, classes: int, size: tuple[int, int], weights: str) -> None:
        net = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, num_classes=classes + 1)
        origin = start(net.backbone.body, MobileNet_V3_Large_Weights.DEFAULT, weights, "")
        super().__init__(classes, size, net, net.rpn.anchor_generator)
        self.origin, self.size = origin, size

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `Detector.forward`; A is the number of anchors times that of classes."""
        maps = self.maps(images)
        places, proposals, found = self._proposals(*self._first_stage(maps))
        scores, boxes = self._second_stage(maps, proposals)
        boxes = torch.where(found[..., None, None], boxes, self.anchors[places][:, :, None])
        held = places[:, :, None, None].expand(boxes.shape)
        count, classes = images.shape[0], self.classes
        everywhere = self.anchors[None, :, None].expand(count, -1, classes, -1).scatter(1, held, boxes)
        own = torch.zeros_like(everywhere[..., 0]).scatter(1, held[..., 0], scores * found[..., None])
        one_hot = own[..., None] * torch.eye(classes, device=own.device)
        return everywhere.flatten(1, 2), one_hot.flatten(1, 2)

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        """See `Detector.loss`: torchvision's four terms, two a stage.

        The anchors and proposals that count are drawn by chance.
        """
        maps = self.maps(images)
        first = self._first_stage(maps)
        wanted = objects(targets, 1)
        return self._first_loss(*first, targets, wanted) | self._second_loss(maps, *first, targets, wanted)

    def _first_stage(self, maps: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Of every anchor, float32: logit of being an object (B, A) and regressed sides (B, A, 4)."""
        said = concat_box_prediction_layers(*self.net.rpn.head(list(maps.values())))
        logits, sides = (value.float() for value in said)
        return logits.reshape(-1, len(self.anchors)), sides.reshape(-1, *self.anchors.shape)

    def _proposals(self, logits: Tensor, sides: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The P best proposals: their anchors (B, P), boxes (B, P, 4) in input-pixel xyxy, whether they count (B, P).

        torchvision's rule: the best of each level that are sure enough and have an area, NMS within the level, and the
        best of all.
        """
        rpn = self.net.rpn
        starts = [sum(self.levels[:i]) for i in range(len(self.levels))]
        parts = [
            logits[:, first : first + count].topk(min(rpn.pre_nms_top_n(), count), dim=1).indices + first
            for first, count in zip(starts, self.levels, strict=True)
        ]
        places = torch.cat(parts, 1)
        scores, order = logits.gather(1, places).sigmoid().topk(places.shape[1], dim=1)
        places = places.gather(1, order)
        boxes = self._clipped(decoded(rpn.box_coder, sides, self.anchors))
        boxes = boxes.gather(1, places[..., None].expand(-1, -1, 4))
        level = torch.stack([places >= first for first in starts]).sum(0)
        kept = cluster_nms(boxes, level, self._sure(scores, boxes), rpn.nms_thresh)
        best = (scores * kept).topk(min(rpn.post_nms_top_n(), scores.shape[1]), dim=1).indices
        return places.gather(1, best), boxes.gather(1, best[..., None].expand(-1, -1, 4)), kept.gather(1, best)

    def _sure(self, scores: Tensor, boxes: Tensor) -> Tensor:
        """Which proposals (B, K) score enough and have an area."""
        least = (boxes[..., 2:] - boxes[..., :2]).amin(-1)
        found: Tensor = (scores >= self.net.rpn.score_thresh) & (least >= self.net.rpn.min_size)
        return found

    def _clipped(self, boxes: Tensor) -> Tensor:
        """Boxes (..., 4) within the picture."""
        x, y = boxes[..., 0::2].clamp(0, self.size[0]), boxes[..., 1::2].clamp(0, self.size[1])
        return torch.stack([x, y], -1).flatten(-2)

    def _second_stage(self, maps: dict[str, Tensor], proposals: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B, P, C) and boxes (B, P, C, 4) of proposals (B, P, 4)."""
        count, heads = proposals.shape[1], self.net.roi_heads
        picture = torch.arange(proposals.shape[0], device=proposals.device).repeat_interleave(count)
        rois = torch.cat([picture[:, None].to(proposals.dtype), proposals.reshape(-1, 4)], 1)
        logits, sides = heads.box_predictor(heads.box_head(self._pooled(maps, rois)))
        boxes = heads.box_coder.decode_single(sides.float(), rois[:, 1:]).reshape(-1, count, self.classes + 1, 4)
        return logits.float().softmax(-1).reshape(-1, count, self.classes + 1)[..., 1:], boxes[:, :, 1:]

    def _pooled(self, maps: dict[str, Tensor], rois: Tensor) -> Tensor:
        """Of regions (R, 5), index of the picture and box: (R, D, 7, 7).

        Both maps that torchvision pools from have stride 32, and of two such its choice of level is always the first.
        """
        pool = self.net.roi_heads.box_roi_pool
        finest = maps[pool.featmap_names[0]]
        scale = 2.0 ** round(math.log2(finest.shape[2] / self.size[1]))
        pooled: Tensor = roi_align(finest, rois, pool.output_size, scale, pool.sampling_ratio)
        return pooled

    def _first_loss(self, logits: Tensor, sides: Tensor, targets: list[Target], wanted: Dicts) -> dict[str, Tensor]:
        rpn, anchors = self.net.rpn, [self.anchors] * len(targets)
        labels, boxes = rpn.assign_targets_to_anchors(anchors, wanted)
        labels = [
            known.masked_fill((known == 0) & in_ignored(self.anchors, target), -1.0)  # which no sampler takes
            for known, target in zip(labels, targets, strict=True)
        ]
        encoded = rpn.box_coder.encode(boxes, anchors)
        if not (torch.cat(labels) >= 0).any():  # no mean of nothing: all of the batch lies in ignore regions
            return dict.fromkeys(("loss_objectness", "loss_rpn_box_reg"), 0 * logits.sum())
        objectness, box = rpn.compute_loss(logits.reshape(-1, 1), sides.reshape(-1, 4), labels, encoded)
        return {"loss_objectness": objectness, "loss_rpn_box_reg": box}

    def _second_loss(
        self, maps: dict[str, Tensor], logits: Tensor, sides: Tensor, targets: list[Target], wanted: Dicts
    ) -> dict[str, Tensor]:
        heads, sizes = self.net.roi_heads, [(self.size[1], self.size[0])] * len(targets)
        boxes = decoded(self.net.rpn.box_coder, sides.detach(), self.anchors)
        proposals, _ = self.net.rpn.filter_proposals(boxes, logits, sizes, self.levels)
        proposals = [
            found[matches(heads.proposal_matcher, found, target) != NEITHER]
            for found, target in zip(proposals, targets, strict=True)
        ]
        proposals, _, labels, encoded = heads.select_training_samples(proposals, wanted)
        said = heads.box_predictor(heads.box_head(heads.box_roi_pool(maps, proposals, sizes)))
        if not len(torch.cat(labels)):
            return dict.fromkeys(("loss_classifier", "loss_box_reg"), 0 * logits.sum())
        classifier, box = fastrcnn_loss(*(value.float() for value in said), labels, encoded)
        return {"loss_classifier": classifier, "loss_box_reg": box}


def cluster_nms(boxes: Tensor, group: Tensor, wanted: Tensor, iou: float) -> Tensor:
    """Greedy NMS within groups, of a batch at once and without a loop over boxes.

    Every round asks of each box whether one that is kept suppresses it; what is kept in the end is what the greedy NMS
    keeps, one more place of the ranking for certain with each round, and in practice all of them after a few.

    Args:
        boxes: (B, K, 4) xyxy, best first.
        group: (B, K); boxes of different groups do not touch one another.
        wanted: (B, K) bool: boxes that take part.
        iou: above which the lesser box goes.

    Returns:
        which boxes are kept, (B, K) bool.
    """
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    over = shared > iou * (area[:, :, None] + area[:, None] - shared)
    rank = torch.arange(boxes.shape[1], device=boxes.device)
    suppresses = (over & (group[:, :, None] == group[:, None]) & (rank[:, None] < rank)).to(boxes.dtype)
    kept = wanted
    for _ in range(ROUNDS):
        kept = wanted & (kept.to(boxes.dtype)[:, None] @ suppresses < 0.5)[:, 0]
    return kept
