"""sbom.json: what a bundle consists of and stands on, as CycloneDX 1.6 (ECMA-424) in JSON.

Without a time and with a serial number that comes from the content, so the same bundle has the same bytes.
"""

import uuid
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pipeline.runtime.contract import Contract

SPEC = "1.6"
RUNTIME = ("numpy", "opencv-python-headless", "pydantic")  # what pipeline/runtime imports, whatever the engine
LICENCE = "Apache-2.0"

Component = dict[str, Any]


def sbom(contract: Contract, files: Mapping[str, str]) -> dict[str, Any]:
    """The bill of materials of a bundle.

    Args:
        contract: of its model.
        files: name -> SHA-256 in hex of its files.
    """
    engines = sorted({artifact.engine for artifact in contract.artifacts.values()})
    libraries = [_library(name, installed(name)) for name in sorted({*RUNTIME, *engines})]
    model = _model(contract)
    parts = [_file(name, digest, contract) for name, digest in sorted(files.items())]
    needs = [{"ref": model["bom-ref"], "dependsOn": [it["bom-ref"] for it in [*parts, *libraries]]}]
    made_with = [_library(name, made) for name, made in sorted(contract.producers.items())]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, repr((model, sorted(files.items()), libraries)))}",
        "version": 1,
        "metadata": {"component": model, "tools": {"components": made_with}},
        "components": [*parts, *libraries],
        "dependencies": needs,
    }


def installed(package: str) -> str:
    """The version that is installed here, so what was verified; "" where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _model(contract: Contract) -> Component:
    return {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": f"{contract.model}-{contract.target}",
        "version": contract.weights[:16],
        "licenses": [{"license": {"id": LICENCE}}],
        "modelCard": {
            "modelParameters": {
                "approach": {"type": "supervised"},
                "task": "object detection",
                "modelArchitecture": contract.model,
                "inputs": [{"format": f"uint8 RGB {contract.input.width} x {contract.input.height}"}],
                "outputs": [{"format": f"boxes and scores of {', '.join(contract.classes)}"}],
            }
        },
        "properties": [
            {"name": f"sightline:{name}", "value": value}
            for name, value in (
                ("weights-sha256", contract.weights),
                ("training-data-sha256", contract.training_data),
                ("calibration-sha256", contract.calibration),
            )
            if value
        ],
    }


def _file(name: str, digest: str, contract: Contract) -> Component:
    is_model = any(name in artifact.files for artifact in contract.artifacts.values())
    kind = "machine-learning-model" if is_model else "file"
    return {"type": kind, "bom-ref": f"file:{name}", "name": name, "hashes": [{"alg": "SHA-256", "content": digest}]}


def _library(name: str, number: str) -> Component:
    at = f"@{number}" if number else ""
    told = {"version": number} if number else {}
    purl = f"pkg:pypi/{name}{at}"
    return {"type": "library", "bom-ref": purl, "name": name, **told, "purl": purl}
