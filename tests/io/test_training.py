import contextlib
import os
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.io.training import Example, TrainingSet, TrainingWriter

SIZE = (64, 32)  # width, height


def example(number: int, boxes: int = 1) -> Example:
    rng = np.random.default_rng(number)
    return Example(
        f"frame{number}",
        number % 2,
        rng.integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8),
        rng.uniform(0, 30, (boxes, 4)).astype(np.float32),
        rng.integers(0, 2, boxes),
        rng.integers(0, 2, boxes).astype(bool),
    )


def write(folder: Path, examples: list[Example], shard_frames: int = 2) -> None:
    folder.mkdir()
    with TrainingWriter(folder, len(examples), SIZE, shard_frames) as writer:
        for e in examples:
            writer.write(e)


@pytest.mark.parametrize(
    ("count", "shards"),
    [
        pytest.param(1, [1], id="less than a shard"),
        pytest.param(4, [2, 2], id="full"),
        pytest.param(5, [2, 2, 1], id="rest"),
    ],
)
def test_what_goes_in_comes_out(tmp_path: Path, count: int, shards: list[int]) -> None:
    examples = [example(n, boxes=n) for n in range(count)]
    write(tmp_path / "set", examples)
    opened = TrainingSet.open(tmp_path / "set")
    assert len(opened) == count
    assert [len(np.load(p)) for p in sorted((tmp_path / "set").glob("*.npy"))] == shards
    for i, e in enumerate(examples):
        assert (opened.frame_ids[i], opened.copies[i]) == (e.frame_id, e.copy)
        assert np.array_equal(opened.picture(i), e.image)
        assert np.array_equal(opened.boxes[i], e.boxes)
        assert opened.boxes[i].dtype == np.float32
        assert np.array_equal(opened.labels[i], e.labels)
        assert opened.labels[i].dtype == np.int64
        assert np.array_equal(opened.ignore[i], e.ignore)
        assert opened.ignore[i].dtype == np.bool_


def test_a_picture_is_read_only(tmp_path: Path) -> None:
    write(tmp_path / "set", [example(0)])
    picture = TrainingSet.open(tmp_path / "set").picture(0)
    assert type(picture) is np.ndarray
    assert not picture.flags.writeable


def resident_mb() -> float:
    """Memory of this process that is in use, mapped files included, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def test_a_set_that_was_read_is_not_in_memory(tmp_path: Path) -> None:
    size = (640, 400)
    image = np.full((size[1], size[0], 3), 7, np.uint8)
    nothing = example(0, boxes=0)
    with TrainingWriter(tmp_path, 256, size, 64) as writer:  # 188 MB
        for number in range(256):
            writer.write(Example(f"{number}", 0, image, nothing.boxes, nothing.labels, nothing.ignore))
    opened = TrainingSet.open(tmp_path)
    before = resident_mb()
    assert sum(int(opened.picture(i)[-1, -1, -1]) + int(opened.picture(i).max()) for i in range(256)) == 256 * 14
    assert resident_mb() - before < 50


def test_a_set_is_read_as_it_was_opened(tmp_path: Path) -> None:
    write(tmp_path / "set", [example(0), example(1)])
    opened = TrainingSet.open(tmp_path / "set")
    shard = tmp_path / "set" / "training-00000.npy"
    shard.unlink()  # as `dvc checkout` does
    np.save(shard, np.zeros((2, 32, 64, 3), np.uint8))
    assert np.array_equal(opened.picture(1), example(1).image)


def test_a_shard_that_was_cut_after_it_was_opened_is_named(tmp_path: Path) -> None:
    write(tmp_path / "set", [example(0), example(1)])
    opened = TrainingSet.open(tmp_path / "set")
    os.truncate(tmp_path / "set" / "training-00000.npy", 500)
    with pytest.raises(DataError, match=r"training-00000\.npy was cut off"):
        opened.picture(1)


def test_same_examples_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, [example(n) for n in range(3)])
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_an_interrupted_set_is_not_a_set(tmp_path: Path) -> None:
    with contextlib.suppress(KeyboardInterrupt), TrainingWriter(tmp_path, 2, SIZE, 2) as writer:
        writer.write(example(0))
        raise KeyboardInterrupt
    with pytest.raises(DataError, match=r"training\.parquet does not exist"):
        TrainingSet.open(tmp_path)


def test_fewer_than_announced_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="2 training pictures were announced, 1 came"),
        TrainingWriter(tmp_path, 2, SIZE, 2) as w,
    ):
        w.write(example(0))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "is missing", id="missing"),
        pytest.param(b"", "no training shard", id="empty"),
        pytest.param(b"garbage, not an array", "no training shard", id="garbage"),
        pytest.param("float", "expected .N, H, W, 3. uint8", id="other type"),
        pytest.param("columns", "expected .N, H, W, 3. uint8", id="other order of bytes"),
        pytest.param("short", "shorter than its table", id="too few pictures"),
        pytest.param("cut", "no training shard", id="cut off"),
    ],
)
def test_broken_shards(tmp_path: Path, content: bytes | str | None, message: str) -> None:
    write(tmp_path / "set", [example(0), example(1)])
    shard = tmp_path / "set" / "training-00000.npy"
    match content:
        case None:
            shard.unlink()
        case "float":
            np.save(shard, np.zeros((2, 32, 64, 3)))
        case "columns":
            np.save(shard, np.asfortranarray(np.zeros((2, 32, 64, 3), np.uint8)))
        case "short":
            np.save(shard, np.zeros((1, 32, 64, 3), np.uint8))
        case "cut":
            shard.write_bytes(shard.read_bytes()[:500])
        case bytes():
            shard.write_bytes(content)
    with pytest.raises(DataError, match=message):
        TrainingSet.open(tmp_path / "set")
