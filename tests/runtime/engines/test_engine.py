from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import DataError
from pipeline.runtime.engines.engine import check_fit
from pipeline.runtime.files import read_model

GOOD = [("images", "uint8", (None, 3, 32, 32))]
OUTPUTS = {"boxes", "scores"}


@pytest.mark.parametrize("batch", [None, "batch", "N"])
def test_what_fits(write_export: Callable[..., Path], tmp_path: Path, batch: Any) -> None:
    check_fit(read_model(write_export(tmp_path)), [("images", "uint8", (batch, 3, 32, 32))], {*OUTPUTS, "more"})


@pytest.mark.parametrize(
    ("artifact", "inputs", "outputs", "match"),
    [
        pytest.param("fp32", [("images", "uint8", (1, 3, 32, 32))], OUTPUTS, "the contract says", id="fixed batch"),
        pytest.param("fp32-b1", GOOD, OUTPUTS, "the contract says", id="any batch"),
        pytest.param("fp32", [("images", "float32", (None, 3, 32, 32))], OUTPUTS, "the contract says", id="type"),
        pytest.param("fp32", [("images", "uint8", (None, 32, 32, 3))], OUTPUTS, "the contract says", id="layout"),
        pytest.param("fp32", [*GOOD, *GOOD], OUTPUTS, "the contract says", id="two inputs"),
        pytest.param("fp32", GOOD, {"boxes"}, r"outputs missing: \['scores'\]", id="output"),
    ],
)
def test_what_does_not_fit(
    write_export: Callable[..., Path], tmp_path: Path, artifact: str, inputs: Any, outputs: set[str], match: str
) -> None:
    with pytest.raises(DataError, match=match):
        check_fit(read_model(write_export(tmp_path), artifact), inputs, outputs)
