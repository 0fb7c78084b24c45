import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.runtime.files import read_model, read_plain

WriteExport = Callable[..., Path]


def test_an_artifact_is_read_whole(write_export: WriteExport, tmp_path: Path) -> None:
    model = read_model(write_export(tmp_path), "fp32-b1")
    assert (model.name, model.artifact.batch) == ("fp32-b1", 1)
    assert model.graph == (tmp_path / "model-b1.onnx").read_bytes()
    assert read_model(tmp_path).name == "fp32"


def test_a_flipped_bit_is_refused(write_export: WriteExport, tmp_path: Path) -> None:
    path = write_export(tmp_path) / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"model.onnx is not the file .* \(SHA-256 differs\); run: dvc repro export"):
        read_model(tmp_path)
    assert read_model(tmp_path, "fp32-b1").graph  # the other file is as it was


def test_a_file_that_is_gone_is_named(write_export: WriteExport, tmp_path: Path) -> None:
    (write_export(tmp_path) / "model.onnx").unlink()
    with pytest.raises(DataError, match=r"model.onnx does not exist, though its contract names it"):
        read_model(tmp_path)


def test_an_artifact_that_is_not_named(write_export: WriteExport, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"names no artifact '\.\./fp32'; choose from \['fp32', 'fp32-b1'\]"):
        read_model(write_export(tmp_path), "../fp32")


def test_a_link_is_not_followed(write_export: WriteExport, tmp_path: Path) -> None:
    folder = write_export(tmp_path / "export")
    (folder / "model.onnx").rename(tmp_path / "elsewhere.onnx")
    (folder / "model.onnx").symlink_to("../elsewhere.onnx")
    with pytest.raises(DataError, match=r"model.onnx is a link"):
        read_model(folder)


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "below/model.onnx", "..", ".hidden", "", "a\nb"])
def test_a_name_that_leads_out_of_the_folder_is_no_name(write_export: WriteExport, tmp_path: Path, name: str) -> None:
    digest = hashlib.sha256(b"").hexdigest()
    document = json.loads((write_export(tmp_path) / "contract.json").read_text())
    document["artifacts"]["fp32"] |= {"model": name, "files": {name: digest}}
    (tmp_path / "contract.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="is no contract"):
        read_model(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="no regular file"):
        read_plain(tmp_path / "pipe")


@pytest.mark.parametrize(("size", "fits"), [(10, True), (11, False)])
def test_the_size_is_bounded(tmp_path: Path, size: int, fits: bool) -> None:  # noqa: FBT001
    (tmp_path / "file").write_bytes(bytes(size))
    if fits:
        assert read_plain(tmp_path / "file", limit=10) == bytes(size)
        return
    with pytest.raises(DataError, match="at most 10 bytes"):
        read_plain(tmp_path / "file", limit=10)
