"""contract.json: everything a runtime must know about an exported model, so that no number of it stands in code."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

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


class Contract(_Part):
    """The whole contract. Hashes are SHA-256 in hex."""

    model: str  # the architecture's name
    classes: tuple[str, ...]
    thresholds: dict[str, float]  # operating threshold by class
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
