from pathlib import Path

import pytest

from pipeline.runtime.contract import Contract
from pipeline.services.model_card import model_card
from tests.colours import write_model

METRICS = {
    "AP": 0.5704, "AP50": 0.871, "objects": 82, "frames": 96, "precision": 0.893, "recall": 0.817,
    "class": {"person": {"AP": 0.619, "objects": 74}},
}  # fmt: skip
CONDITIONS = {"recall_floor": 0.9, "conditions": [{"title": "Camera", "words": "Not assessed: a | b\nc."}]}
VERIFIED = {"verified": True, "AP": 0.569, "drop_AP": 0.0014, "reasons": []}
REFUSED = {"verified": False, "reasons": ["loses 3 points"]}


@pytest.fixture
def contract(tmp_path: Path) -> Contract:
    return Contract.read(write_model(tmp_path) / "contract.json")


def test_it_says_what_was_measured(contract: Contract) -> None:
    card = model_card(contract, METRICS, CONDITIONS, {"artifacts": {"cpu/fp32": VERIFIED}})
    assert "| all | 82 | 0.570 | 0.871 | 0.893 | 0.817 |" in card
    assert "| person | 74 | 0.619 | - | - | - |" in card
    assert "| fp32 (default) | onnxruntime, fp32 | 0.569 | 0.14 | verified |" in card
    assert "- Camera: Not assessed" in card
    assert "| person | 0.600 | - |" in card


@pytest.mark.parametrize(
    ("artifacts", "told"),
    [({"cpu/fp32": REFUSED}, "NOT verified: loses 3 points"), ({}, "NOT verified: not measured")],
    ids=["refused", "never measured"],
)
def test_what_is_not_verified_says_so(contract: Contract, artifacts: dict[str, object], told: str) -> None:
    assert told in model_card(contract, METRICS, CONDITIONS, {"artifacts": artifacts})


def test_nothing_measured_promises_nothing(contract: Contract) -> None:
    assert "nothing is promised" in model_card(contract, {}, {}, {"artifacts": {}})
