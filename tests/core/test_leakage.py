import time

import numpy as np
import pytest

from pipeline.core.errors import LeakageError
from pipeline.core.leakage import check, leaks, near_pairs
from pipeline.core.types import Assignment, Frame, Split

FAR = ("00000000ffffffff", "ffffffff00000000")  # hashes 64 bits apart


def picture(name: str, phash: str = "", sha256: str = "", camera: str = "cam") -> Frame:
    return Frame(name, camera, "folder", 0, None, 64, 64, f"{name}.jpg", phash=phash, sha256=sha256 or name)


def shot(clip: str, seconds: float, phash: str = "", camera: str = "") -> Frame:
    name = f"{clip}@{seconds}"
    return Frame(
        name, camera or clip, clip, round(seconds * 10), seconds, 64, 64, f"{clip}.mp4", phash=phash, sha256=name
    )


def kinds(*placed: tuple[Frame, Split, str], bits: int = 2, gap_s: float = 1.0) -> list[str]:
    frames = {frame.frame_id: frame for frame, _, _ in placed}
    return [leak.kind for leak in leaks(frames, [Assignment(f.frame_id, s, g) for f, s, g in placed], bits, gap_s)]


@pytest.mark.parametrize(
    ("a", "b", "found"),
    [
        pytest.param(picture("a", FAR[0]), picture("b", FAR[1]), [], id="nothing in common"),
        pytest.param(picture("a", sha256="s"), picture("b", sha256="s"), ["content"], id="same bytes"),
        pytest.param(picture("a", FAR[0]), picture("b", FAR[0]), ["look"], id="same look"),
        pytest.param(picture("a", FAR[0]), picture("b", "00000000fffffff8"), [], id="three bits apart"),
        pytest.param(picture("a", FAR[0]), picture("b", "10000000fffffffe"), ["look"], id="two bits apart"),
        pytest.param(picture("a"), picture("b"), [], id="no perceptual hash"),
        pytest.param(shot("x", 0, FAR[0]), shot("y", 0, FAR[0]), ["look"], id="two cameras show one scene"),
        pytest.param(shot("x", 0, FAR[0]), shot("x", 9, FAR[0]), [], id="one clip, same background"),
        pytest.param(shot("x", 0, FAR[0], "c"), shot("y", 0, FAR[0], "c"), [], id="one camera, same background"),
        pytest.param(shot("x", 0, FAR[0], "c"), picture("b", FAR[0], camera="c"), ["look"], id="a still of a clip"),
        pytest.param(shot("x", 0), shot("x", 0.9), ["time"], id="too close in time"),
        pytest.param(shot("x", 0.1), shot("x", 1.1), [], id="the gap apart"),
        pytest.param(shot("x", 0), shot("y", 0.1), [], id="two clips have no common time"),
    ],
)
def test_pairs_in_two_splits(a: Frame, b: Frame, found: list[str]) -> None:
    assert kinds((a, Split.TRAIN, "a"), (b, Split.BENCHMARK, "b")) == found
    assert kinds((a, Split.VAL, "a"), (b, Split.TRAIN, "b")) == found
    assert kinds((a, Split.TRAIN, "a"), (b, Split.TRAIN, "b")) == []
    assert kinds((a, Split.TRAIN, "a"), (b, Split.GAP, "b")) == []


def test_a_group_in_two_splits() -> None:
    a, b, c = picture("a"), picture("b"), picture("c")
    assert kinds((a, Split.TRAIN, "site 1"), (b, Split.VAL, "site 1"), (c, Split.VAL, "site 1")) == ["group"]
    assert kinds((a, Split.TRAIN, "site 1"), (b, Split.GAP, "site 1")) == []


def test_time_is_checked_between_neighbours_in_whatever_order_they_come() -> None:
    frames = [(shot("x", t), Split.TRAIN if t < 5 else Split.VAL, str(t)) for t in (9.0, 4.5, 0.0, 5.2, 1.0)]
    assert kinds(*frames) == ["time"]


def test_the_error_names_pairs_and_the_way_out() -> None:
    frames = {
        f.frame_id: f for n in range(12) for f in (picture(f"a{n}", sha256=f"{n}"), picture(f"b{n}", sha256=f"{n}"))
    }
    assignments = [Assignment(name, Split.TRAIN if name[0] == "a" else Split.BENCHMARK, name) for name in frames]
    with pytest.raises(LeakageError) as error:
        check(frames, assignments, 2, 1.0)
    lines = str(error.value).splitlines()
    assert lines[1] == "  same content: a0.jpg (train) and b0.jpg (benchmark)"
    assert lines[11] == "  ... and 2 more"
    assert "dvc repro -f ingest" in lines[12]


def test_no_leak_is_silent() -> None:
    check({"a": picture("a")}, [Assignment("a", Split.TRAIN, "a")], 2, 1.0)


@pytest.mark.parametrize("bits", [0, 1, 2, 5, 16])
def test_near_pairs_are_those_of_the_plain_comparison(bits: int) -> None:
    rng = np.random.default_rng(bits)
    base = rng.integers(0, 2**63, 20, np.uint64)
    flips = np.array([sum(1 << int(b) for b in rng.choice(64, n % 20, replace=False)) for n in range(200)], np.uint64)
    hashes = base[rng.integers(0, 20, 200)] ^ flips
    distance = np.bitwise_count(hashes[:, None] ^ hashes)
    plain = {(i, j) for i, j in np.argwhere(distance <= bits).tolist() if i < j}
    found = {pair for a, b in near_pairs(hashes, bits) for pair in zip(a.tolist(), b.tolist(), strict=True)}
    assert found == plain


def test_the_check_scales() -> None:
    rng = np.random.default_rng(0)
    scenes = rng.integers(0, 2**63, 1000, np.uint64)
    flips = (np.uint64(1) << rng.integers(0, 64, (2, 30_000), np.uint64)).tolist()
    frames, assignments = {}, []
    for n in range(30_000):  # 1,000 fixed cameras whose hashes flicker by up to two bits
        scene = n % 1000
        phash = int(scenes[scene]) ^ flips[0][n] ^ flips[1][n]
        name = f"cam{scene}"
        frame = Frame(f"{n}", name, name, n, n // 1000, 64, 64, name, sha256=f"{n}", phash=f"{phash:016x}")
        frames[frame.frame_id] = frame
        assignments.append(
            Assignment(frame.frame_id, Split.TRAIN if n < 15_000 else Split.VAL, f"{scene}/{n // 15_000}")
        )
    start = time.process_time()
    check(frames, assignments, 2, 1.0)
    assert time.process_time() - start < 10  # comparing all pairs would take minutes
