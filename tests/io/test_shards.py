import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.core.types import Frame
from pipeline.io.shards import Place, ShardReader, ShardWriter, by_id

DATA = [bytes([n]) * (700 * n) for n in range(6)]


def frame(place: Place, frame_id: str = "f", reason: str = "") -> Frame:
    return Frame(frame_id, "c", "k", 0, None, 1, 1, "a.jpg", place.shard, place.offset, place.length, reason)


def write(folder: Path, max_bytes: int = 3000) -> list[Place]:
    with ShardWriter(folder, max_bytes) as writer:
        return [writer.write(f"{n}.bin", data) for n, data in enumerate(DATA)]


def test_a_frame_is_one_pread(tmp_path: Path) -> None:
    for place, data in zip(write(tmp_path), DATA, strict=True):
        assert (tmp_path / place.shard).read_bytes()[place.offset :][: place.length] == data


def test_any_tar_tool_lists_the_shards(tmp_path: Path) -> None:
    write(tmp_path)
    found = {}
    for path in sorted(tmp_path.iterdir()):
        with tarfile.open(path) as tar:
            for member in tar:
                body = tar.extractfile(member)
                found[member.name] = body.read() if body else None
                assert (member.mtime, member.uid, member.uname) == (0, 0, "")
    assert found == {f"{n}.bin": data for n, data in enumerate(DATA)}


def test_a_shard_is_closed_once_it_is_full(tmp_path: Path) -> None:
    """A member takes 512 bytes and its length rounded up to 512: 512, 1536, 2048, 3072, 3584, 4096 against 3000."""
    shards = [place.shard for place in write(tmp_path)]
    assert shards == [f"shard-0000{n}.tar" for n in (0, 0, 0, 1, 2, 3)]
    assert {path.name for path in tmp_path.iterdir()} == set(shards)


def test_same_members_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "a") == write(tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_threads_share_a_reader(tmp_path: Path) -> None:
    frames = [frame(place) for place in write(tmp_path)] * 50
    with ShardReader(tmp_path) as reader, ThreadPoolExecutor(4) as pool:
        assert list(pool.map(reader.read, frames)) == DATA * 50


def no_shard(folder: Path, place: Place) -> Frame:
    (folder / place.shard).unlink()
    return frame(place)


def cut_shard(folder: Path, place: Place) -> Frame:
    (folder / place.shard).write_bytes(b"x" * place.offset)
    return frame(place)


def quarantined(_folder: Path, _place: Place) -> Frame:
    return frame(Place("", 0, 0), reason="truncated: in the middle")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(no_shard, "is missing; run: dvc repro ingest", id="missing"),
        pytest.param(cut_shard, "is shorter than its table says", id="cut"),
        pytest.param(quarantined, "was quarantined: truncated", id="quarantined"),
    ],
)
def test_what_cannot_be_read_is_a_clear_error(
    tmp_path: Path, spoil: Callable[[Path, Place], Frame], message: str
) -> None:
    broken = spoil(tmp_path, write(tmp_path)[1])
    with ShardReader(tmp_path) as reader, pytest.raises(DataError, match=message):
        reader.read(broken)


def test_only_usable_frames_are_found_by_id() -> None:
    place = Place("s", 0, 1)
    good = frame(place, "a")
    assert by_id([good, frame(place, "a", "duplicate: of a.jpg"), frame(place, "b", "too dark: 1")]) == {"a": good}
