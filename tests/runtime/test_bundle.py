import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.runtime import bundle
from pipeline.runtime.bundle import SUMS, check_sums, sums, unpacked


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "model.onnx").write_bytes(b"weights" * 100)
    (path / "LICENSE").write_bytes(b"free\n")
    (path / SUMS).write_text(sums(path))
    return path


def flip(path: Path, byte: int) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 1
    path.write_bytes(data)


def test_a_bundle_is_what_its_list_says(folder: Path) -> None:
    assert check_sums(folder)["LICENSE"] == hashlib.sha256(b"free\n").hexdigest()


def test_sha256sum_reads_the_list(folder: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=folder, check=True, capture_output=True)


@pytest.mark.parametrize("byte", [0, 350, 699])
def test_a_flipped_bit_is_refused(folder: Path, byte: int) -> None:
    flip(folder / "model.onnx", byte)
    with pytest.raises(DataError, match=r"model\.onnx changed since the bundle was made"):
        check_sums(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "LICENSE").unlink()
    with pytest.raises(DataError, match="lacks LICENSE"):
        check_sums(folder)


def test_a_file_that_nobody_listed_is_refused(folder: Path) -> None:
    (folder / "more.bin").write_bytes(b"x")
    with pytest.raises(DataError, match=r"holds without listing more\.bin"):
        check_sums(folder)


def test_a_link_is_not_followed(folder: Path) -> None:
    (folder / "LICENSE").rename(folder.parent / "away")
    (folder / "LICENSE").symlink_to(folder.parent / "away")
    with pytest.raises(DataError, match="is a link"):
        check_sums(folder)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("what is this\n", id="words"),
        pytest.param(f"{'a' * 64}  ../LICENSE\n", id="a path"),
        pytest.param(f"{'a' * 64}  LICENSE\n{'b' * 64}  LICENSE\n", id="a name twice"),
        pytest.param(f"{'a' * 63}  LICENSE\n", id="a hash too short"),
    ],
)
def test_a_broken_list_is_refused(folder: Path, text: str) -> None:
    (folder / SUMS).write_text(text)
    with pytest.raises(DataError, match="no list of hashes"):
        check_sums(folder)


def test_no_list_is_no_bundle(folder: Path) -> None:
    (folder / SUMS).unlink()
    with pytest.raises(DataError, match="sightline bundle"):
        check_sums(folder)


def packed(path: Path, names: list[str], kind: int = 0o100644) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            member = zipfile.ZipInfo(name)
            member.external_attr = kind << 16
            archive.writestr(member, b"12345678")
    return path


def test_a_zip_is_unpacked_and_gone_afterwards(tmp_path: Path) -> None:
    with unpacked(packed(tmp_path / "a.zip", ["model.onnx", "LICENSE"])) as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["LICENSE", "model.onnx"]
    assert not folder.exists()


def test_a_folder_is_taken_as_it_is(folder: Path) -> None:
    with unpacked(folder) as there:
        assert there == folder


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/b", "..", ".hidden", "a\\..\\b", "C:evil", ""])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(DataError, match=r"plain files without folders|no bundle"),
        unpacked(packed(tmp_path / "a.zip", [name])),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", ["model.onnx"], kind=0o120777)
    with pytest.raises(DataError, match="plain files"), unpacked(path):
        pass


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [["a", "a"], [f"f{i}" for i in range(65)]], ids=["a name twice", "65 files"])
def test_too_many_files_or_the_same_twice_are_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(DataError, match=r"at most 64"), unpacked(packed(tmp_path / "a.zip", names)):
        pass


def test_what_unpacks_to_more_than_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MAX_UNPACKED", 15)
    with pytest.raises(DataError, match="more than 15 bytes"), unpacked(packed(tmp_path / "a.zip", ["a", "b"])):
        pass


@pytest.mark.parametrize(("data", "told"), [(b"no zip", "no bundle"), (None, "does not exist")])
def test_what_is_no_zip_is_refused(tmp_path: Path, data: bytes | None, told: str) -> None:
    path = tmp_path / "a.zip"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(DataError, match=told), unpacked(path):
        pass


def test_a_zip_with_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", ["a"])
    flip(path, path.read_bytes().index(b"12345678"))
    with pytest.raises(DataError, match="no bundle"), unpacked(path):
        pass
