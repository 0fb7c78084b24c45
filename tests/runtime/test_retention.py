"""Retention: the oldest goes first, by age and by size, and only what is ours."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.runtime.retention import enforce, exhibits, name_of

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
KB = 1000


def put(folder: Path, age: timedelta, camera: str = "lobby") -> str:
    """Three files of 1 kB together."""
    stem = name_of(NOW - age, "presence", 1)
    (folder / camera).mkdir(exist_ok=True)
    for suffix, size in ((".mp4", 700), (".jpg", 200), (".json", 100)):
        (folder / camera / f"{stem}{suffix}").write_bytes(b"x" * size)
    return stem


def left(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*/*")}


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    put(tmp_path, timedelta(days=31))
    young = put(tmp_path, timedelta(days=29))
    gone = enforce(tmp_path, NOW, days=30, max_bytes=100 * KB)
    assert len(gone) == 3
    assert left(tmp_path) == {young}


def test_what_is_too_much_goes_the_oldest_first_over_all_cameras(tmp_path: Path) -> None:
    stems = [put(tmp_path, timedelta(hours=age), camera) for age, camera in enumerate(["a", "b", "a", "b", "a"])]
    enforce(tmp_path, NOW, days=30, max_bytes=3 * KB)
    assert left(tmp_path) == set(stems[:3])
    assert sum(it.size for it in exhibits(tmp_path)) == 3 * KB


def test_a_byte_too_much_costs_the_oldest(tmp_path: Path) -> None:
    stems = [put(tmp_path, timedelta(hours=age)) for age in range(3)]
    assert enforce(tmp_path, NOW, days=30, max_bytes=3 * KB) == []
    enforce(tmp_path, NOW, days=30, max_bytes=3 * KB - 1)
    assert left(tmp_path) == set(stems[:2])


def test_the_listing_goes_first(tmp_path: Path) -> None:
    put(tmp_path, timedelta(days=31))
    assert enforce(tmp_path, NOW, 30, KB)[0].suffix == ".json"


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    put(tmp_path, timedelta(days=99))
    foreign = ["notes.txt", "holiday.mp4", "20269999T999999.000Z-presence-1.mp4", ".hidden"]
    for name in foreign:
        (tmp_path / "lobby" / name).write_bytes(b"x" * 9 * KB)
    outside = tmp_path / "lobby" / f"{name_of(NOW - timedelta(days=99), 'motion', 1)}.mp4"
    outside.symlink_to(tmp_path / "lobby" / "notes.txt")
    enforce(tmp_path, NOW, days=1, max_bytes=1)
    assert {path.name for path in (tmp_path / "lobby").iterdir()} == {*foreign, outside.name}
    assert (tmp_path / "lobby" / "notes.txt").stat().st_size == 9 * KB


def test_what_a_crash_left_half_written_goes_after_an_hour(tmp_path: Path) -> None:
    stem = put(tmp_path, timedelta(hours=1))
    old, new = (tmp_path / "lobby" / f".{stem}.mp4.{end}" for end in ("abc12_x1", "def34_x2"))
    for path, age in ((old, timedelta(hours=2)), (new, timedelta(minutes=5))):
        path.write_bytes(b"x")
        os.utime(path, times=((NOW - age).timestamp(),) * 2)
    assert enforce(tmp_path, NOW, days=30, max_bytes=100 * KB) == [old]
    assert new.exists()


def test_incomplete_evidence_counts_and_goes_too(tmp_path: Path) -> None:
    stem = put(tmp_path, timedelta(days=31))
    (tmp_path / "lobby" / f"{stem}.json").unlink()
    assert len(enforce(tmp_path, NOW, 30, 100 * KB)) == 2


def test_a_folder_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    assert enforce(tmp_path / "nowhere", NOW, 30, KB) == []


@pytest.mark.parametrize("kind", ["presence", "crossing", "motion"])
def test_a_name_tells_time_and_kind_and_no_more(kind: str) -> None:
    assert name_of(datetime(2026, 1, 2, 3, 4, 5, 67_890, UTC), kind, 2) == f"20260102T030405.067Z-{kind}-2"
