"""A built TensorRT engine beside its kit: `<kit>-engines/<artifact>.engine`, and a card that says where it may run.

An engine fits one TensorRT version and one GPU, so it is built on the target and never shipped. It is trusted as the
target's own disk is: its hash finds damage, not malice.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.core.errors import DataError
from pipeline.runtime.contract import FileName, Sha256
from pipeline.runtime.files import Model, read_plain

SUFFIX = "-engines"  # of the folder beside the kit, which itself stays as it was shipped
MAX_CARD = 100_000  # bytes


@dataclass(frozen=True, slots=True)
class Target:
    """What an engine must have been built with to run here."""

    tensorrt: str  # version
    gpu: str  # the product's name
    driver: str  # the newest CUDA that the driver runs


class EngineCard(BaseModel):
    """What an engine was built from, with and for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tensorrt: str
    gpu: str
    driver: str
    graph: Sha256  # of the ONNX file
    engine: Sha256  # of the built file
    artifact: FileName
    precision: str
    batch: tuple[int, int, int]  # pictures in one run: fewest, as tuned, most
    workspace_mib: int = Field(ge=1)


def engine_folder(kit: Path) -> Path:
    """Where the engines of a kit lie."""
    whole = kit.resolve()
    return whole.with_name(whole.name + SUFFIX)


def engine_path(model: Model) -> Path:
    """Where the engine of an artifact lies; its card lies beside it, with the ending .json."""
    return engine_folder(model.folder) / f"{model.name}.engine"


def build_command(model: Model) -> str:
    """What builds, or builds again, the engine of an artifact."""
    return f"sightline engine build {model.folder} --precision {model.artifact.precision}"


def read_card(model: Model) -> EngineCard:
    """The card of the artifact's engine.

    Raises:
        DataError: there is none, it is broken, or the engine was built from another graph.
    """
    path = engine_path(model).with_suffix(".json")
    try:
        card = EngineCard.model_validate_json(read_plain(path, MAX_CARD))
    except FileNotFoundError:
        raise DataError(
            f"{model.folder} has no engine for {model.name} yet; on the machine that runs it: {build_command(model)}"
        ) from None
    except ValidationError as error:
        raise DataError(f"{path} describes no engine: {error}; run: {build_command(model)}") from None
    _same({"graph": model.artifact.files[model.artifact.model]}, {"graph": card.graph}, model)
    return card


def read_engine(model: Model, card: EngineCard, here: Target) -> bytes:
    """The engine's bytes.

    Raises:
        DataError: it was built for another TensorRT, GPU or driver, or the file is not the one that was built.
    """
    names = ("tensorrt", "gpu", "driver")
    _same({n: getattr(here, n) for n in names}, {n: getattr(card, n) for n in names}, model)
    path = engine_path(model)
    try:
        data = read_plain(path)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist, though its card does; run: {build_command(model)}") from None
    _same({"engine file": card.engine}, {"engine file": hashlib.sha256(data).hexdigest()}, model)
    return data


def _same(wanted: dict[str, str], found: dict[str, str], model: Model) -> None:
    differs = [f"{name} is {value!r}, not {found[name]!r}" for name, value in wanted.items() if found[name] != value]
    if differs:
        raise DataError(
            f"the engine for {model.name} in {model.folder} does not fit: {'; '.join(differs)}; "
            f"run: {build_command(model)}"
        )


def write_engine(model: Model, data: bytes, card: EngineCard) -> Path:
    """Write engine, then card: a card is only ever beside a whole engine. The engine's path."""
    path = engine_path(model)
    path.parent.mkdir(exist_ok=True)
    path.with_suffix(".json").unlink(missing_ok=True)
    path.write_bytes(data)
    path.with_suffix(".json").write_text(json.dumps(card.model_dump(mode="json"), indent=2, sort_keys=True) + "\n")
    return path
