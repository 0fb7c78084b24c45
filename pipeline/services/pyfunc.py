"""The registered model. MLflow keeps this file with the model and runs it to load one; it needs no trained framework.

Input: a picture (H, W, 3), a stack of them (B, H, W, 3), or a list of pictures that may differ in size; uint8 RGB.
Output: a table with a row a detection, in pixels of its picture, best first within each picture.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.runtime.session import open_session

COLUMNS = ("image", "label", "score", "confidence", "x1", "y1", "x2", "y2", "above_threshold")


class SightlineModel(PythonModel):
    """An exported detector behind MLflow's interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the contract's default artifact among the model's files."""
        self._session = open_session(Path(context.artifacts["export"]))

    def predict(self, model_input: np.ndarray) -> pd.DataFrame:  # type: ignore[override,type-arg]  # as MLflow has it
        """Detections from the contract's score floor up.

        Returns:
            data frame of `COLUMNS`: `image` counts the pictures from 0, `confidence` is the IoU with an object of its
            class that the score promises on validation data (0 for a false alarm; the score itself where it was not
            calibrated), and `above_threshold` says whether the score reaches the operating threshold of its class.

        Raises:
            DataError: the input is no picture.
        """
        contract = self._session.contract
        thresholds = [contract.thresholds[name] for name in contract.classes]
        rows = [
            (
                image,
                contract.classes[label],
                float(score),
                float(sure),
                *map(float, box),
                bool(score >= thresholds[label]),
            )
            for image, found in enumerate(self._session.detect_batch(pictures(model_input)))
            for box, score, label, sure in zip(
                found.boxes,
                found.scores,
                found.labels,
                self._session.calibrated(found.scores, found.labels),
                strict=True,
            )
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))


def pictures(value: Any) -> list[NDArray[np.uint8]]:
    """Pictures of what a caller handed over; whole numbers of any type are taken, as a JSON request brings them."""
    if isinstance(value, np.ndarray) and value.ndim == 3:
        value = [value]
    if not isinstance(value, list | np.ndarray):
        raise DataError(f"expected a picture (H, W, 3), a stack of them or a list, got {type(value).__name__}")
    return [_uint8(np.asarray(image)) for image in value]


def _uint8(image: NDArray[Any]) -> NDArray[np.uint8]:
    if not np.issubdtype(image.dtype, np.integer) or (image.size and (image.min() < 0 or image.max() > 255)):
        raise DataError(f"expected whole numbers from 0 to 255, got {image.dtype}; scale and convert to uint8")
    return image.astype(np.uint8, copy=False)


set_model(SightlineModel())
