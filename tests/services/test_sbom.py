import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.runtime.contract import Contract
from pipeline.services.sbom import installed, sbom
from tests.colours import write_model

FILES = {"model.onnx": "11" * 32, "contract.json": "22" * 32}
# Of the schema of CycloneDX 1.6: what must be there, and the values that are allowed.
SERIAL = r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
TYPES = {"application", "framework", "library", "file", "machine-learning-model", "data"}


@pytest.fixture
def bill(tmp_path: Path) -> dict[str, Any]:
    return sbom(Contract.read(write_model(tmp_path) / "contract.json"), FILES)


def test_it_is_cyclonedx(bill: dict[str, Any]) -> None:
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(SERIAL, bill["serialNumber"])
    parts = [bill["metadata"]["component"], *bill["components"], *bill["metadata"]["tools"]["components"]]
    assert all(part["type"] in TYPES and part["name"] for part in parts)
    refs = [part["bom-ref"] for part in [bill["metadata"]["component"], *bill["components"]]]
    assert len(set(refs)) == len(refs)
    assert {ref for it in bill["dependencies"] for ref in [it["ref"], *it["dependsOn"]]} == set(refs)


def test_every_file_is_in_it_with_its_hash(bill: dict[str, Any]) -> None:
    told = {it["name"]: it["hashes"][0] for it in bill["components"] if "hashes" in it}
    assert told == {name: {"alg": "SHA-256", "content": digest} for name, digest in FILES.items()}


def test_what_the_runtime_stands_on_is_in_it_with_its_version(bill: dict[str, Any]) -> None:
    libraries = {it["name"]: it.get("version") for it in bill["components"] if it["type"] == "library"}
    assert set(libraries) == {"numpy", "opencv-python-headless", "pydantic", "onnxruntime"}
    assert libraries["numpy"] == installed("numpy")


def test_a_library_that_is_not_installed_has_no_version() -> None:
    assert installed("no-such-package-anywhere") == ""


def test_the_same_bundle_has_the_same_bill_and_another_one_another(tmp_path: Path, bill: dict[str, Any]) -> None:
    contract = Contract.read(write_model(tmp_path) / "contract.json")
    assert json.dumps(sbom(contract, dict(reversed(FILES.items())))) == json.dumps(bill)
    assert sbom(contract, {**FILES, "more": "33" * 32})["serialNumber"] != bill["serialNumber"]
