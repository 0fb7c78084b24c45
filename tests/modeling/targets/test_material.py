import hashlib
from pathlib import Path

from pipeline.modeling.targets.material import artifact, cost


def test_an_artifact_is_its_model_and_its_sidecars(tmp_path: Path) -> None:
    (tmp_path / "m.xml").write_bytes(b"layers")
    (tmp_path / "m.bin").write_bytes(b"weights")
    found = artifact(tmp_path, ("m.xml", "m.bin"), "openvino", "fp32")
    assert (found.model, found.batch) == ("m.xml", 0)
    assert found.files == {
        "m.xml": hashlib.sha256(b"layers").hexdigest(),
        "m.bin": hashlib.sha256(b"weights").hexdigest(),
    }


def test_a_cost_says_whether_the_budget_holds() -> None:
    assert cost(70.004, 69.496, 0.5, ("stem",)) == {
        "float_AP": 70.0, "AP": 69.5, "drop": 0.51, "max_drop": 0.5, "within_budget": False, "kept_in_float": ["stem"],
    }  # fmt: skip
    assert str(cost(70.0, 70.001, 0.5, ())["drop"]) == "0.0"
