"""What every engine that runs a model offers: two members, whichever library is behind them."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.runtime.files import Model

Candidates = tuple[NDArray[np.float32], NDArray[np.float32]]  # boxes (B, A, 4) input-pixel xyxy, scores (B, A, C)
Shape = tuple[int | str | None, ...]


class Engine(Protocol):
    """A loaded model. Several threads may use it at once."""

    @property
    def chosen(self) -> str:
        """Library, precision and threads that were chosen, in words."""

    def run(self, batch: NDArray[np.uint8]) -> Candidates:
        """Candidates before NMS of a contiguous batch (B, 3, H, W). Raises DataError where the model cannot run."""


def check_fit(model: Model, inputs: list[tuple[str, str, Shape]], outputs: set[str]) -> None:
    """Hold what a library has loaded against the contract.

    Args:
        model: what was loaded.
        inputs: name, type and shape of each input, as NCHW; a number of pictures that is not fixed is no integer.
        outputs: names.

    Raises:
        DataError: the model takes or gives something else than its contract says.
    """
    it, rule = model.contract.input, model.contract.output
    expected = [(it.name, it.dtype, (model.artifact.batch or "any", 3, it.height, it.width))]
    found = [(name, kind, (n if isinstance(n, int) else "any", *rest)) for name, kind, (n, *rest) in inputs]
    missing = {rule.boxes, rule.scores} - outputs
    if found != expected or missing:
        raise DataError(
            f"{model.path}: the contract says input {expected}, the file has {found}; "
            f"outputs missing: {sorted(missing) or 'none'}; export again"
        )
