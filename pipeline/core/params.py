"""The schema of params.yaml: one frozen model a section. What a value does is said here, once."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.core.config import Params

Fraction = Annotated[float, Field(ge=0, le=1)]
Policy = Literal["error", "count"]  # stop with a clear message, or leave out, count and report


class InputParams(Params):
    """Section `input`: the picture that every model of this iteration sees."""

    width: int = Field(ge=32, le=2048, multiple_of=32)  # pixels
    height: int = Field(ge=32, le=2048, multiple_of=32)


class LabelsParams(Params):
    """Where annotations come from."""

    format: Literal["label_studio", "coco", "voc", "yolo"]
    path: str = Field(min_length=1)  # a file, or a folder of files


class DataParams(Params):
    """Section `data`: a team's own source, and the words in it."""

    name: str = Field(min_length=1)
    format: Literal["video", "images"]
    path: str = Field(min_length=1)  # a folder
    labels: LabelsParams
    classes: tuple[str, ...] = Field(min_length=1)  # what the detector learns, in this order
    rename: dict[str, str]  # label in the source -> label here
    count_only: tuple[str, ...]  # kept and counted under their own name, not learned
    ignore: tuple[str, ...]  # labels that mark ignore regions

    @model_validator(mode="after")
    def _one_meaning_a_label(self) -> Self:
        names = [*self.classes, *self.count_only, *self.ignore]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"labels named twice in classes, count_only, ignore: {', '.join(twice)}")
        return self


class SamplingParams(Params):
    """Which frames of a video are taken."""

    mode: Literal["all", "fps", "keyframes"]
    fps: float = Field(gt=0, le=240)  # frames per second of video time, for mode fps
    jpeg_quality: int = Field(ge=50, le=100)


class UsableParams(Params):
    """What a usable frame must meet; outside, it is quarantined with the reason."""

    min_side: int = Field(ge=1)  # pixels
    max_side: int = Field(ge=1)  # pixels, read from the header before anything is decoded
    max_megapixels: float = Field(gt=0)
    min_luminance: float = Field(ge=0, le=255)  # mean luma
    min_sharpness: float = Field(ge=0)  # variance of the Laplacian


class IngestParams(Params):
    """Section `ingest`."""

    sampling: SamplingParams
    usable: UsableParams
    near_duplicate_bits: int = Field(ge=0, le=16)  # perceptual hashes this close are one picture (images only)
    shard_mb: int = Field(ge=1, le=4096)


class AnnotateParams(Params):
    """Section `annotate`: what to do where the annotations are not as they should be."""

    unknown_label: Policy
    outside_frame: Literal["error", "clip"]  # a box that reaches past the frame's edge
    zero_area: Policy
    missing_frame: Policy  # a task whose frame was not ingested
    duplicate_task: Policy  # one frame, several tasks
    consensus_iou: float = Field(gt=0, le=1)  # boxes of two annotators are one object from this IoU on


class FractionsParams(Params):
    """Shares of each split; the rest is the benchmark's."""

    train: Fraction
    val: Fraction

    @model_validator(mode="after")
    def _leave_a_benchmark(self) -> Self:
        if self.train + self.val >= 1:
            raise ValueError("train + val must leave a share for the benchmark")
        return self


class SplitParams(Params):
    """Section `split`."""

    by: str = Field(min_length=1)  # chronological, segment, clip, camera, image, or a manifest column
    seed: int
    fractions: FractionsParams
    segment_s: float = Field(gt=0)  # length of a time segment, for `segment`
    gap_s: float = Field(ge=0)  # frames this close to another split's are left out, for `chronological` and `segment`
    near_duplicate_bits: int = Field(ge=0, le=16)  # pictures this close in two splits are a leak


class AugmentStep(Params):
    """One step of a policy: an operation of `vision.policies`, its probability and strength."""

    op: str
    p: Fraction
    strength: Fraction  # 0 hardly visible .. 1 the worst that still leaves the objects visible


class AugmentParams(Params):
    """Section `augment`."""

    policy: str
    seed: int
    copies: int = Field(ge=0, le=100)  # augmented copies of each training frame, beside the original
    steps: tuple[AugmentStep, ...]
    min_visibility: Fraction  # a box that keeps less of its area is dropped
    min_area: float = Field(ge=0)  # pixels^2 in the input picture
    shard_frames: int = Field(ge=1)
    preview: int = Field(ge=0, le=256)  # frames on the preview sheet


class ModelParams(Params):
    """Section `model`."""

    name: Literal["nano", "ssdlite"]
    weights: Literal["none", "default"]  # `default`: pretrained where they can be had


class OptimizerParams(Params):
    """The optimiser of `train`."""

    name: Literal["adamw", "sgd"]
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    momentum: Fraction  # sgd only


class LoopAugmentParams(Params):
    """Cheap geometry and colour in the training loop."""

    flip: Fraction
    mosaic: Fraction
    scale: float = Field(ge=0, lt=1)  # zoom by 1 - scale .. 1 + scale
    translate: float = Field(ge=0, lt=1)  # share of width and height
    colour: float = Field(ge=0, lt=1)  # range of gain, gamma and white balance
    close_epochs: int = Field(ge=0)  # the last epochs see plain pictures


class TrainParams(Params):
    """Section `train`."""

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    seed: int
    optimizer: OptimizerParams
    warmup_epochs: float = Field(ge=0)
    min_lr_ratio: Fraction  # the cosine ends at this share of lr
    ema_decay: float = Field(ge=0, lt=1)
    clip_norm: float = Field(gt=0)
    precision: Literal["auto", "fp32", "bf16"]
    loop: LoopAugmentParams
    validate_every: int = Field(ge=1)  # epochs
    checkpoint_every: int = Field(ge=1)  # epochs


class EvaluateParams(Params):
    """Section `evaluate`."""

    batch_size: int = Field(ge=1)
    score_floor: Fraction  # detections below never leave the model
    nms_iou: Fraction
    max_detections: int = Field(ge=1)  # per frame
    match_iou: float = Field(gt=0, le=1)  # a hit, for precision, recall and groups
    height_bins: tuple[float, ...]  # edges of the box-height groups, pixels of the source frame
    min_support: int = Field(ge=1)  # groups with fewer objects are "not assessable"
    gallery: int = Field(ge=0, le=256)  # worst frames shown


class ExportParams(Params):
    """Section `export`."""

    opset: int = Field(ge=17)
    parity_frames: int = Field(ge=1)  # real frames on which ONNX and PyTorch must agree
    rtol: float = Field(gt=0)
    atol: float = Field(gt=0)


class Limit(Params):
    """One limit on one figure of metrics.json, by dotted key."""

    metric: str = Field(min_length=1)
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("needs min or max")
        return self


class GateParams(Params):
    """Section `gate`."""

    limits: tuple[Limit, ...]
    max_regression: float = Field(ge=0)  # AP that may be lost against the champion


class RegisterParams(Params):
    """Section `register`: names in MLflow."""

    experiment: str = Field(min_length=1)
    model: str = Field(min_length=1, pattern=r"^[^'\"/:]+$")  # MLflow's names


class ComputeParams(Params):
    """Section `compute`: how work is spread. It never changes a result, so no stage depends on it."""

    engine: Literal["local"]
    workers: int = Field(ge=0)  # processes; 0 means one a core


SECTIONS: dict[str, type[Params]] = {
    "input": InputParams,
    "data": DataParams,
    "ingest": IngestParams,
    "annotate": AnnotateParams,
    "split": SplitParams,
    "augment": AugmentParams,
    "model": ModelParams,
    "train": TrainParams,
    "evaluate": EvaluateParams,
    "export": ExportParams,
    "gate": GateParams,
    "register": RegisterParams,
    "compute": ComputeParams,
}
