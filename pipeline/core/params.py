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
    polygons: Literal["leave_out", "boxes"]  # of Label Studio: counted and left out, or their bounding boxes
    consensus_iou: float = Field(gt=0, le=1)  # boxes of two annotators are one object from this IoU on


class ServeParams(Params):
    """How Label Studio gets at a frame's picture."""

    by: Literal["upload", "local", "url"]
    root: str  # for `local`: the server's LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT
    url: str  # for `url`: an address with {frame_id}, {camera}, {clip}, {index}, {source}

    @model_validator(mode="after")
    def _names_its_place(self) -> Self:
        if self.by == "local" and not self.root:
            raise ValueError("by: local needs root, the server's LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT")
        if self.by == "url" and not self.url:
            raise ValueError("by: url needs url, an address with {frame_id}, {camera}, {clip}, {index} or {source}")
        return self


class LabellingParams(Params):
    """Section `labelling`: the project in Label Studio. Its address and token come from the environment alone."""

    project: str = Field(min_length=3, max_length=50)  # title
    template: Literal["image", "video"]  # frames, or whole clips with tracks
    annotators: int = Field(ge=1)  # who look at each task
    instruction: str  # what annotators read first
    colours: dict[str, Annotated[str, Field(pattern="^#[0-9A-Fa-f]{6}$")]]  # label -> colour; the others get one
    hotkeys: dict[str, Annotated[str, Field(min_length=1)]]  # label -> key; the others get 1, 2, 3 ...
    attributes: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]]  # asked of every box -> the answers
    tracks: bool  # ask for a track id of every box
    serve: ServeParams
    batch: int = Field(ge=1, le=5000)  # tasks a request
    pull: tuple[Literal["server"], ...]  # [server]: every `dvc repro` asks the server first; []: the snapshot will do


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

    name: Literal[
        "nano",
        "small",
        "ssdlite",
        "retinanet",
        "retinanet_resnet50",
        "fcos",
        "fcos_resnet50",
        "fasterrcnn",
        "dfine",
        "hog_svm",
    ]
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
    minutes: float = Field(ge=0)  # after which it ends with the epoch it is in; 0 for no limit
    batch_size: int = Field(ge=1)  # pictures a step, of all processes together
    accumulate: int = Field(ge=1)  # parts that a process computes its share of a batch in: less memory, no more speed
    seed: int
    optimizer: OptimizerParams
    warmup_epochs: float = Field(ge=0)
    min_lr_ratio: Fraction  # the cosine ends at this share of lr
    ema_decay: float = Field(ge=0, lt=1)
    clip_norm: float = Field(gt=0)
    precision: Literal["auto", "fp32", "bf16"]
    deterministic: bool  # the same bytes on a GPU too, slower; a CPU gives them anyway
    loop: LoopAugmentParams
    validate_every: int = Field(ge=1)  # epochs
    checkpoint_every: int = Field(ge=1)  # epochs
    patience: int = Field(ge=0)  # validations without a better AP after which it ends; 0 for never


class OperatingParams(Params):
    """How the operating threshold of each class is chosen on the validation split."""

    rule: Literal["f_beta", "false_alarms_per_frame", "false_alarms_per_hour"]
    beta: float = Field(gt=0)  # F-beta counts recall so many times as much as precision
    budget: float = Field(gt=0)  # of a class, for the rules on false alarms: its lowest threshold that stays within


Edges = Annotated[tuple[float, ...], Field(min_length=1)]


class ConditionsParams(Params):
    """Where the ranges of each condition meet; below the first edge and above the last are ranges too."""

    height: Edges  # pixels of the source frame
    luminance: Edges  # mean luma of the frame
    contrast: Edges  # standard deviation of luma
    sharpness: Edges  # variance of the Laplacian
    speed: Edges  # pixels a frame of the video
    crowding: Edges  # other boxes within double the box

    @model_validator(mode="after")
    def _rise(self) -> Self:
        falling = [name for name, edges in self.model_dump().items() if sorted(set(edges)) != list(edges)]
        if falling:
            raise ValueError(f"edges must rise: {', '.join(falling)}")
        return self


Point = tuple[float, float]  # row of the picture, pixels a metre takes there


class EvaluateParams(Params):
    """Section `evaluate`."""

    batch_size: int = Field(ge=1)
    score_floor: Fraction  # detections below never leave the model
    nms_iou: Fraction
    max_detections: int = Field(ge=1)  # per frame
    match_iou: float = Field(gt=0, le=1)  # a hit, for precision, recall and groups
    operating: OperatingParams
    height_bins: tuple[float, ...]  # edges of the box-height groups, pixels of the source frame
    min_support: int = Field(ge=1)  # groups with fewer objects are "not assessable"
    intersections: tuple[Annotated[tuple[str, ...], Field(min_length=2)], ...]  # attributes, as in groups.json
    stratify: tuple[str, ...]  # attributes whose values must be equal where groups are compared
    max_gap: float = Field(gt=0, lt=1)  # recall that a group may lack against the best one
    recall_floor: float = Field(gt=0, lt=1)  # what the lower bound of recall must reach for a condition to hold
    resamples: int = Field(ge=200)  # of the cluster bootstrap
    seed: int
    block_s: float = Field(gt=0)  # length of a time block, longer than a scene stays the same
    calibration: dict[str, tuple[Point, Point]]  # camera -> two rows: their pixels per metre on the ground
    conditions: ConditionsParams
    gallery: int = Field(ge=0, le=256)  # worst frames shown
    label_issues: int = Field(ge=0)  # labels to look at again, listed at most

    @model_validator(mode="after")
    def _two_rows(self) -> Self:
        flat = sorted(camera for camera, (one, other) in self.calibration.items() if one[0] == other[0])
        if flat:
            raise ValueError(f"calibration needs two different rows of the picture: {', '.join(flat)}")
        return self


class PatchParams(Params):
    """The adversarial patch of `robustness`."""

    frames: int = Field(ge=0)  # of the validation split that it is trained on; 0: no patch
    steps: int = Field(ge=1)
    area: float = Field(gt=0, le=0.1)  # share of the object's box


class RobustnessParams(Params):
    """Section `robustness`."""

    seed: int
    frames: int = Field(ge=1)  # of the benchmark, as many of each camera as there are
    corruptions: tuple[str, ...]  # of `vision.corruptions`
    severities: tuple[Annotated[int, Field(ge=1, le=5)], ...] = Field(min_length=1)  # 1 mild .. 5 severe
    patch: PatchParams

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.corruptions)) < len(self.corruptions) or len(set(self.severities)) < len(self.severities):
            raise ValueError("a corruption or severity is named twice")
        return self


class Int8Params(Params):
    """What integers may cost, and how that is measured."""

    max_drop: float = Field(gt=0, le=100)  # AP points; layers stay in float until no more is lost
    frames: int = Field(ge=1)  # of the validation split that AP is measured on, at most
    sensitivity: tuple[Annotated[int, Field(ge=1)], ...]  # sizes of the calibration set to try, for export.json


class ExportParams(Params):
    """Section `export`."""

    targets: tuple[Literal["cpu", "intel", "nvidia"], ...] = Field(min_length=1)
    opset: int = Field(ge=17)
    parity_frames: int = Field(ge=1)  # real frames on which exported files and PyTorch must agree
    golden_frames: int = Field(ge=1)  # pictures that travel with a model, with what is to be found in them
    calibration_frames: int = Field(ge=1)  # of the training split that the ranges of integers are measured on
    int8: Int8Params
    rtol: float = Field(gt=0)
    atol: float = Field(gt=0)


class PrecisionLimits(Params):
    """One share by precision of an artifact."""

    fp32: float = Field(ge=0, le=1)
    fp16: float = Field(ge=0, le=1)
    bf16: float = Field(ge=0, le=1)
    int8: float = Field(ge=0, le=1)


class VerifyParams(Params):
    """Section `verify`: what an artifact may lose against the trained model on the benchmark."""

    frames: int = Field(ge=1)  # real frames on which raw heads are compared
    rtol: float = Field(gt=0)
    atol: float = Field(gt=0)  # of scores, and of boxes in shares of the input's sides
    max_ap_drop: PrecisionLimits
    min_ap_kept: PrecisionLimits  # share of the trained model's AP
    max_recall_drop: float = Field(gt=0, lt=1)  # of a class, size bin or group
    min_support: int = Field(ge=1)  # groups with fewer objects are told, and do not decide
    latency_pictures: int = Field(ge=1)

    @model_validator(mode="after")
    def _one_object_does_not_decide(self) -> Self:
        if self.min_support * self.max_recall_drop < 1:
            raise ValueError("min_support times max_recall_drop must be at least 1, else one object decides")
        return self


class FieldtestParams(Params):
    """Section `fieldtest`: how held-out footage is tried, and how the trial is scored."""

    path: str = Field(min_length=1)  # a folder with clips/, events/ and perhaps tracks/ and site.yaml
    target: str = Field(min_length=1)  # of export; its default artifact runs
    detect_fps: float = Field(gt=0, le=60)  # looks of the detector a second, at most, while something moves
    floor_fps: float = Field(gt=0, le=60)  # and at least, whatever moves
    reference_s: float = Field(ge=0, le=3600)  # of footage before a stretch, for the motion gate and camera health
    tolerance_s: float = Field(ge=0, le=60)  # an alarm this long before or after an event still belongs to it
    min_event_s: float = Field(ge=0, le=60)  # shorter events count neither way
    curve: tuple[Fraction, ...] = Field(min_length=1)  # operating thresholds at which the trial is repeated
    margin_s: float = Field(ge=0, le=60)  # of a clip before and after its event
    max_clip_s: float = Field(gt=0, le=600)
    cases: int = Field(ge=0, le=1000)  # events that get a clip: missed ones and false alarms in turn

    @model_validator(mode="after")
    def _looks_more_where_something_moves(self) -> Self:
        if self.floor_fps > self.detect_fps:
            raise ValueError("floor_fps must not be above detect_fps")
        return self


class Bounds(Params):
    """What is asked of a figure: at least `min`, at most `max`, or both."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("needs min or max")
        return self


class Limit(Bounds):
    """One limit on one figure of a report, by dotted key."""

    metric: str = Field(min_length=1)


class Floor(Bounds):
    """What every group of some attributes must meet, with the bound of its 95 % interval."""

    figure: Literal["recall", "miss_rate", "precision", "AP50", "mean_iou"]
    of: tuple[str, ...] = Field(min_length=1)  # attributes, as in groups.json


class GapParams(Params):
    """How much recall a group may lack against the best one of its attribute."""

    max: float = Field(gt=0, le=1)
    of: tuple[str, ...]  # attributes, as in comparisons.json


class GateParams(Params):
    """Section `gate`."""

    strict: bool  # refuse, instead of promoting with conditions, where a limit cannot be assessed
    limits: tuple[Limit, ...]  # on metrics.json
    floors: tuple[Floor, ...]
    gaps: GapParams
    robustness: tuple[Limit, ...]  # on robustness.json
    fieldtest: tuple[Limit, ...]  # on fieldtest.json, by the bound of the figure's interval
    max_regression: float = Field(ge=0)  # AP that may be lost against the champion, by the bound of its interval


class RegisterParams(Params):
    """Section `register`: names in MLflow."""

    experiment: str = Field(min_length=1)
    model: str = Field(min_length=1, pattern=r"^[^'\"/:]+$")  # MLflow's names


class SignalWeights(Params):
    """What each signal counts in a frame's score; 0 leaves it out."""

    uncertainty: float = Field(ge=0)  # boxes near the operating threshold
    disagreement: float = Field(ge=0)  # between a frame and its mirror image
    weakness: float = Field(ge=0)  # conditions in which the detector falls short, or nobody knows
    rarity: float = Field(ge=0)  # distance from the labelled training frames
    health: float = Field(ge=0)  # the field test found the camera covered, moved, out of focus ... at that time
    suspicion: float = Field(ge=0)  # of a faulty label, for labelled frames


class SelectParams(Params):
    """Section `select`."""

    budget: int = Field(ge=0)  # frames to label next
    second_looks: int = Field(ge=0)  # labelled frames to look at again
    weights: SignalWeights
    diversity: float = Field(ge=0)  # 0: by score alone; the higher, the more chosen frames differ
    gap_s: float = Field(ge=0)  # frames of a clip nearer than this show one scene
    near_duplicate_bits: int = Field(ge=0, le=16)  # perceptual hashes this close are one picture, but for one camera's
    pictures: int = Field(ge=0, le=256)  # on the sheet


class ComputeParams(Params):
    """Section `compute`: how work is spread. It changes no result by more than rounding, so no stage depends on it."""

    engine: Literal["local", "ray"]  # what starts the processes of `train`: torchrun on this machine, or a Ray cluster
    workers: int = Field(ge=0)  # processes of the other stages; 0 means one a core
    processes: int = Field(ge=1)  # of `train`, which share each batch; one a GPU where there are GPUs
    address: str  # of a running Ray cluster; empty starts one on this machine


SECTIONS: dict[str, type[Params]] = {
    "input": InputParams,
    "data": DataParams,
    "ingest": IngestParams,
    "labelling": LabellingParams,
    "annotate": AnnotateParams,
    "split": SplitParams,
    "augment": AugmentParams,
    "model": ModelParams,
    "train": TrainParams,
    "evaluate": EvaluateParams,
    "robustness": RobustnessParams,
    "export": ExportParams,
    "verify": VerifyParams,
    "fieldtest": FieldtestParams,
    "gate": GateParams,
    "register": RegisterParams,
    "select": SelectParams,
    "compute": ComputeParams,
}
