"""contract.json: everything a runtime must know about an exported model, so that no number of it stands in code."""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.core.errors import DataError

CONTRACT = "contract.json"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputContract(_Part):
    """What goes in: uint8 RGB, letterboxed; normalisation is inside the graph."""

    name: str
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    layout: Literal["NCHW"]
    dtype: Literal["uint8"]
    color: Literal["RGB"]
    letterbox: Literal["centre"]
    fill: int = Field(ge=0, le=255)


class OutputContract(_Part):
    """What comes out: candidates before NMS; boxes (B, A, 4) input-pixel xyxy, scores (B, A, C) in 0..1."""

    boxes: str
    scores: str
    score_floor: float = Field(ge=0, le=1)
    nms_iou: float = Field(ge=0, le=1)
    max_detections: int = Field(ge=1)


class Evidence(_Part):
    """What an operating threshold was chosen on, and what it gave there."""

    rule: str
    frames: int = Field(ge=0)  # of the validation split
    hours: float | None  # of its footage; None where frames have no times
    objects: int = Field(ge=0)
    recall: float | None = None
    precision: float | None = None
    false_alarms: int | None = None
    reason: str = ""  # why the threshold is not what the rule asks for; "" where it is


def _rising(knots: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    if any(a[0] >= b[0] or a[1] > b[1] for a, b in pairwise(knots)):
        raise ValueError("knots must rise: each score higher than the one before, no confidence lower")
    return knots


Unit = Annotated[float, Field(ge=0, le=1)]
Knots = Annotated[tuple[tuple[Unit, Unit], ...], Field(max_length=32), AfterValidator(_rising)]


FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$", max_length=100)]  # no path leads out of the folder
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Artifact(_Part):
    """One form in which the model ships: what runs it, and its files."""

    engine: Literal["onnxruntime", "openvino", "tensorrt"]
    precision: Literal["fp32", "fp16", "bf16", "int8"]
    batch: int = Field(ge=0)  # pictures in one run; 0 for any number
    model: FileName  # the file that the engine opens
    files: dict[FileName, Sha256]  # the model and its sidecars -> hash

    @model_validator(mode="after")
    def _holds_its_model(self) -> Self:
        if self.model not in self.files:
            raise ValueError(f"files must hold the model {self.model!r}, got {sorted(self.files)}")
        return self


class Contract(_Part):
    """The whole contract of one target. Hashes are SHA-256 in hex."""

    model: str  # the architecture's name
    classes: tuple[str, ...]
    thresholds: dict[str, float]  # operating threshold by class
    evidence: dict[str, Evidence] = {}  # what each threshold was chosen on
    confidence: dict[str, Knots] = {}  # by class: scores and the IoU to be expected there; empty where not fitted
    input: InputContract
    output: OutputContract
    opset: int
    target: str  # what it was exported for: cpu, intel, nvidia
    artifacts: dict[str, Artifact]  # by name: fp32, int8 ...
    default: str  # the artifact that runs where none is named
    weights: str  # hash of the trained weights
    training_data: str  # hash of the training frames' ids
    calibration: str  # hash of the calibration set; "" where nothing was quantised
    producers: dict[str, str]  # package -> version

    @model_validator(mode="after")
    def _holds_its_default(self) -> Self:
        if self.default not in self.artifacts:
            raise ValueError(f"default must be one of {sorted(self.artifacts)}, got {self.default!r}")
        return self

    @classmethod
    def read(cls, path: Path) -> "Contract":
        """Read and check. Raises DataError where the file is missing or does not fit."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise DataError(f"{path} does not exist; a model ships with its contract") from None
        except ValidationError as error:
            raise DataError(f"{path} is no contract: {error}") from None
