"""contract.json: everything a runtime must know about an exported model, so that no number of it stands in code."""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pipeline.core.errors import DataError


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


class Contract(_Part):
    """The whole contract. Hashes are SHA-256 in hex."""

    model: str  # the architecture's name
    classes: tuple[str, ...]
    thresholds: dict[str, float]  # operating threshold by class
    evidence: dict[str, Evidence] = {}  # what each threshold was chosen on
    confidence: dict[str, Knots] = {}  # by class: scores and the IoU to be expected there; empty where not fitted
    input: InputContract
    output: OutputContract
    opset: int
    files: dict[str, str]  # file name beside the contract -> hash
    weights: str  # hash of the trained weights
    training_data: str  # hash of the training frames' ids
    calibration: str  # hash of the calibration set; "" where nothing was quantised
    producers: dict[str, str]  # package -> version

    @classmethod
    def read(cls, path: Path) -> "Contract":
        """Read and check. Raises DataError where the file is missing or does not fit."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise DataError(f"{path} does not exist; a model ships with its contract") from None
        except ValidationError as error:
            raise DataError(f"{path} is no contract: {error}") from None
