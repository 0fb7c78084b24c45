"""The files of a model, read once: what was checked is what is loaded."""

import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.runtime.contract import CONTRACT, Artifact, Contract

MAX_BYTES = 2**31 - 1  # the most that one protobuf message, so one ONNX file without external data, can be
AGAIN = "run: dvc repro export"


@dataclass(frozen=True, slots=True)
class Model:
    """An artifact whose bytes are what its contract says."""

    folder: Path
    name: str  # of the artifact
    contract: Contract
    data: Mapping[str, bytes]  # file name -> bytes

    @property
    def artifact(self) -> Artifact:
        """The contract's entry."""
        return self.contract.artifacts[self.name]

    @property
    def path(self) -> Path:
        """The file that the engine opens, for messages."""
        return self.folder / self.artifact.model

    @property
    def graph(self) -> bytes:
        """The bytes of that file."""
        return self.data[self.artifact.model]


def read_model(folder: Path, artifact: str = "") -> Model:
    """An artifact's files from an export or bundle; without a name the contract's default.

    Raises:
        DataError: the contract is missing or wrong, it names no such artifact, or a file is a link, too large, missing
            or not what the contract says.
    """
    contract = Contract.read(folder / CONTRACT)
    name = artifact or contract.default
    if name not in contract.artifacts:
        raise DataError(f"{folder / CONTRACT} names no artifact {name!r}; choose from {sorted(contract.artifacts)}")
    files = contract.artifacts[name].files
    return Model(folder, name, contract, {file: _verified(folder / file, digest) for file, digest in files.items()})


def _verified(path: Path, digest: str) -> bytes:
    try:
        data = read_plain(path)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist, though its contract names it; {AGAIN}") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise DataError(f"{path} is not the file that its contract describes (SHA-256 differs); {AGAIN}")
    return data


def read_plain(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file of at most `limit` bytes. A link is not followed, a pipe not waited for.

    Raises:
        DataError: it is a link, no regular file, or larger.
        FileNotFoundError: there is none.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DataError(f"{path} is a link; a model's folder holds the files themselves") from None
        raise
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            raise DataError(f"{path} is no regular file of at most {limit} bytes")
        return file.read()
