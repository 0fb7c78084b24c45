"""D-FINE (Peng et al., ICLR 2025), the transformer family: transformers' network and loss behind the one interface.

The size is that of D-FINE-N: HGNetV2-B0, maps of strides 16 and 32, three decoder layers of width 128.
"""

from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_convert

from pipeline.core.errors import SightlineError
from pipeline.modeling.assign import within
from pipeline.modeling.detector import Detector, Target
from pipeline.modeling.torchvision_common import CERTAIN

SOURCE = "ustc-community/dfine-nano-coco"  # trained on COCO; Apache-2.0
STRIDES = (16, 32)
QUERIES = 100  # at most; a small input has fewer places
WIDTH, HIDDEN = 128, 512
BACKBONE: dict[str, Any] = {  # HGNetV2-B0, one value a stage
    "model_type": "hgnet_v2",
    "out_indices": [3, 4],
    "stem_channels": [3, 16, 16],
    "stage_in_channels": [16, 64, 256, 512],
    "stage_mid_channels": [16, 32, 64, 128],
    "stage_out_channels": [64, 256, 512, 1024],
    "stage_num_blocks": [1, 1, 2, 1],
    "stage_downsample": [False, True, True, True],
    "stage_light_block": [False, False, True, True],
    "stage_kernel_size": [3, 3, 5, 5],
    "stage_numb_of_layers": [3, 3, 3, 3],
    "hidden_sizes": [64, 256, 512, 1024],
    "depths": [1, 1, 2, 1],
    "use_learnable_affine_block": True,
}


class Dfine(Detector):
    """transformers' network and loss. `size` is the input's width and height in pixels, multiples of 32.

    A candidate is a place of the encoder's maps: the box and scores of the query that was made of it. A place without a
    query keeps the encoder's box and scores 0. So a candidate has its place whatever the order of queries, which a last
    digit decides. Queries whose centre lies in an ignore region and in no object are not trained.
    """

    net: Any
    extent: Tensor

    def __init__(self, classes: int, size: tuple[int, int], weights: str) -> None:
        super().__init__(classes)
        places = sum((size[0] // stride) * (size[1] // stride) for stride in STRIDES)
        self.queries = min(QUERIES, places)
        self.net, self.origin = network(classes, self.queries, weights)
        original = self.net.loss_function

        def counted(
            logits: Tensor, labels: list[dict[str, Tensor]], device: Any, boxes: Tensor, *rest: Any, **named: Any
        ) -> Any:
            """Transformers' loss without the queries that are neither object nor background."""
            config, all_logits, all_boxes = rest
            named["enc_topk_logits"] = without(named["enc_topk_logits"], named["enc_topk_bboxes"], labels)
            counting = without(logits, boxes, labels), labels, device, boxes, config
            return original(*counting, without(all_logits, all_boxes, labels), all_boxes, **named)

        self.net.loss_function = counted
        self.register_buffer("extent", torch.tensor([*size, *size], dtype=torch.float32), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `Detector.forward`."""
        said = self.net(images.float() / 255)
        first = said.enc_outputs_class
        places = first.amax(-1).topk(self.queries, dim=1).indices[..., None]  # as the network chose them
        encoded = said.enc_outputs_coord_logits.sigmoid()
        found = encoded.scatter(1, places.expand(-1, -1, 4), said.pred_boxes)
        scores = torch.zeros_like(first).scatter(1, places.expand(-1, -1, self.classes), said.logits.sigmoid())
        return box_convert(found, "cxcywh", "xyxy") * self.extent, scores

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        """See `Detector.loss`: D-FINE's terms, each summed over the decoder's layers and the denoising queries.

        The noise of the denoising queries is drawn by chance.
        """
        with torch.autocast(images.device.type, enabled=False):
            terms = self.net(images.float() / 255, labels=[self._label(t) for t in targets]).loss_dict
        summed: dict[str, Tensor] = {}
        for name, value in terms.items():  # loss_giou, loss_giou_aux_0, loss_giou_dn_1 ...
            kind = name.split("_")[1]
            summed[kind] = summed.get(kind, 0) + value
        return summed

    def _label(self, target: Target) -> dict[str, Tensor]:
        """A target as transformers wants it: boxes as centre and size, 0..1; ignore regions beside them."""
        boxes = box_convert(target.boxes / self.extent, "xyxy", "cxcywh")
        known = ~target.ignore
        return {"boxes": boxes[known], "class_labels": target.labels[known], "ignore": boxes[target.ignore]}


def without(logits: Tensor, boxes: Tensor, labels: list[dict[str, Tensor]]) -> Tensor:
    """Logits (B, ..., Q, C) that say for certain what costs nothing where boxes (B, ..., Q, 4) are not to count."""
    aside = torch.stack([_aside(found.reshape(-1, 4), label) for found, label in zip(boxes, labels, strict=True)])
    return logits.masked_fill(aside.reshape(*boxes.shape[:-1], 1), -CERTAIN)


def _aside(boxes: Tensor, label: dict[str, Tensor]) -> Tensor:
    """Which of boxes (N, 4) have their centre in an ignore region and in no object."""
    ignored, wanted = (box_convert(label[name], "cxcywh", "xyxy") for name in ("ignore", "boxes"))
    return within(boxes[:, :2], ignored).any(0) & ~within(boxes[:, :2], wanted).any(0)


def network(classes: int, queries: int, weights: str) -> tuple[Any, str]:
    """Build the network of transformers, and say what it starts from.

    Args:
        classes: how many.
        queries: of the decoder.
        weights: `none`, or `default` for those trained on COCO.

    Raises:
        SightlineError: transformers is not there, or pretrained weights are wanted and cannot be had.
    """
    try:
        from transformers import DFineConfig, DFineForObjectDetection  # noqa: PLC0415 - five seconds, and an extra
    except ImportError:
        raise SightlineError(
            "model.name=dfine needs the transformers library: pip install 'sightline[transformers]'"
        ) from None
    config = DFineConfig(  # type: ignore[call-arg]  # it passes what it does not name on
        backbone_config=BACKBONE,
        freeze_backbone_batch_norms=False,
        feat_strides=STRIDES,
        encoder_in_channels=[512, 1024],
        encoder_hidden_dim=WIDTH,
        encoder_ffn_dim=HIDDEN,
        encode_proj_layers=[1],
        hidden_expansion=0.34,
        depth_mult=0.5,
        d_model=WIDTH,
        decoder_in_channels=[WIDTH, WIDTH],
        decoder_ffn_dim=HIDDEN,
        decoder_layers=3,
        decoder_n_points=[6, 6],
        num_feature_levels=len(STRIDES),
        num_queries=queries,
        num_labels=classes,
        initializer_bias_prior_prob=0.01,
    )
    if weights == "none":
        return _bare(DFineForObjectDetection(config)), Detector.origin
    try:
        net = DFineForObjectDetection.from_pretrained(
            SOURCE, config=config, dtype=torch.float32, ignore_mismatched_sizes=True
        )
    except OSError as error:
        raise SightlineError(
            f"train: the pretrained weights {SOURCE} cannot be had ({str(error).partition(chr(10))[0]}); put them into "
            "the cache of huggingface_hub, or start from scratch with model.weights=none"
        ) from None
    return _bare(net), f"{SOURCE}, but for what depends on the classes"


def _bare(net: Any) -> Any:
    """Without the second names of the decoder's heads: an average or an optimiser would take them for other weights."""
    del net.class_embed, net.bbox_embed
    return net
