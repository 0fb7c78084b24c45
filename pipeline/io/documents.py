"""What earlier stages left, read strictly: a missing file or key names the stage to run."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.io.files import read_json


class Figures(dict[str, Any]):
    """A JSON object that names its file, and the stage to run, where a key is missing."""

    def __init__(self, values: Mapping[str, Any], origin: str, stage: str) -> None:
        super().__init__({key: _named(value, origin, stage) for key, value in values.items()})
        self.origin = origin
        self.stage = stage

    def __missing__(self, key: str) -> Any:
        raise DataError(f"{self.origin} has no {key!r}; another version wrote it; run: dvc repro -f {self.stage}")


def _named(value: Any, origin: str, stage: str) -> Any:
    if isinstance(value, dict):
        return Figures(value, origin, stage)
    return [_named(item, origin, stage) for item in value] if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder that stages write into; files are named by its last part, whatever lies above it."""

    path: Path

    def name(self, file: str) -> str:
        """How the page names a file."""
        return f"{self.path.name}/{file}"

    def figures(self, file: str, stage: str) -> Figures:
        """A JSON object. Raises DataError where the file is missing or holds something else; names the stage."""
        return self._object(read_json(self.path_of(file, stage)), file, stage)

    def lines(self, file: str, stage: str) -> list[Figures]:
        """Objects of a JSON lines file. Raises DataError as `figures`."""
        path = self.path_of(file, stage)
        try:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except ValueError as error:
            raise DataError(f"{path} is not JSON lines: {error}; run: dvc repro -f {stage}") from None
        return [self._object(row, file, stage) for row in rows]

    def table(self, file: str, stage: str, columns: Sequence[str]) -> list[dict[str, str]]:
        """Rows of a CSV file by column. Raises DataError where it is missing or lacks a column; names the stage."""
        rows = csv.DictReader(self.path_of(file, stage).read_text(encoding="utf-8").splitlines())
        if missing := [name for name in columns if name not in (rows.fieldnames or ())]:
            raise DataError(f"{self.path / file} has no column {', '.join(missing)}; run: dvc repro -f {stage}")
        return list(rows)

    def _object(self, value: object, file: str, stage: str) -> Figures:
        if not isinstance(value, dict):
            raise DataError(f"{self.path / file} holds no object; run: dvc repro -f {stage}")
        return Figures(value, self.name(file), stage)

    def path_of(self, file: str, stage: str) -> Path:
        """Where a file lies. Raises DataError where it is missing; names the stage."""
        path = self.path / file
        if not self.holds(file):
            raise DataError(f"{path} does not exist; run: dvc repro {stage}")
        return path

    def holds(self, file: str) -> bool:
        """Whether a file that a stage may leave out is there."""
        return (self.path / file).is_file()


def thresholds(path: Path, classes: Sequence[str]) -> NDArray[np.float64]:
    """The operating threshold (C,) of each class. Raises DataError where one is missing."""
    chosen = read_json(path).get("threshold", {})
    if missing := [name for name in classes if name not in chosen]:
        raise DataError(f"{path} has no threshold of {', '.join(missing)}; run: dvc repro evaluate")
    return np.array([chosen[name] for name in classes], np.float64)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises DataError as `read_json`, and where the file holds something else."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, got {type(value).__name__}; run: dvc repro")
    return value
