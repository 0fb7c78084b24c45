from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import ConfigError
from pipeline.core.params import SplitParams
from pipeline.core.partition import draw, partition, spans
from pipeline.core.types import Assignment, Frame, Split

TRAIN, VAL, BENCHMARK, GAP = Split.TRAIN, Split.VAL, Split.BENCHMARK, Split.GAP


def params(by: str, **changes: Any) -> SplitParams:
    values = {"seed": 0, "fractions": {"train": 0.6, "val": 0.2}, "segment_s": 10.0, "gap_s": 0.0}
    return SplitParams.parse("split", {"by": by, "near_duplicate_bits": 2, **values, **changes})


def clip(name: str, times: list[float], camera: str = "cam") -> list[Frame]:
    return [Frame(f"{name}@{t}", camera, name, i, t, 64, 64, f"{name}.mp4") for i, t in enumerate(times)]


def picture(name: str, phash: str = "", attributes: Mapping[str, str] | None = None) -> Frame:
    return Frame(name, "cam", "folder", 0, None, 64, 64, f"{name}.jpg", phash=phash, attributes=attributes or {})


def assign(frames: list[Frame], p: SplitParams) -> list[Assignment]:
    return partition(frames, spans(frames), p)


def splits(frames: list[Frame], p: SplitParams) -> list[Split]:
    return [a.split for a in assign(frames, p)]


def by_id(frames: list[Frame], p: SplitParams) -> dict[str, Split]:
    return {a.frame_id: a.split for a in assign(frames, p)}


@pytest.mark.parametrize(
    ("times", "gap_s", "expected"),
    [
        pytest.param(
            [0, 5.9, 6, 7.9, 8, 10], 0, [TRAIN, TRAIN, VAL, VAL, BENCHMARK, BENCHMARK], id="boundaries at 6, 8"
        ),
        pytest.param([0, 5.5, 5.6, 6.5, 7, 8.5, 10], 1, [TRAIN, TRAIN, GAP, VAL, VAL, BENCHMARK, BENCHMARK], id="gap"),
        pytest.param([100, 105.9, 110], 0, [TRAIN, TRAIN, BENCHMARK], id="a clip may start late"),
        pytest.param([3], 1, [TRAIN], id="a single moment"),
    ],
)
def test_chronological(times: list[float], gap_s: float, expected: list[Split]) -> None:
    assert splits(clip("a", times), params("chronological", gap_s=gap_s)) == expected


def test_chronological_boundaries_come_from_what_was_ingested() -> None:
    everything = clip("a", [float(t) for t in range(11)])
    few, more = everything[5:9], everything[1:10]
    early = partition(few, spans(everything), params("chronological"))
    late = {a.frame_id: a for a in partition(more, spans(everything), params("chronological"))}
    assert [late[a.frame_id] for a in early] == early
    assert [a.split for a in early] == [TRAIN, VAL, VAL, BENCHMARK]
    assert early[0].group == "a/train"


def test_segments_of_two_splits_are_the_gap_apart() -> None:
    frames = clip("a", [n / 4 for n in range(2000)])
    placed = assign(frames, params("segment", gap_s=2.0))
    assert {a.split for a in placed} == set(Split)
    kept = [(f.timestamp_s or 0, a.split) for f, a in zip(frames, placed, strict=True) if a.split is not GAP]
    crossings = [after - before for (before, a), (after, b) in pairwise(kept) if a is not b]
    assert crossings
    assert min(crossings) >= 2.0
    assert min(crossings) < 2.5  # frames come every 0.25 s: no more is left out than needed
    whole = {a.group for a in placed} - {a.group for a in placed if a.split is GAP}
    assert whole  # a segment between two of its own split loses nothing


def test_segments_shorter_than_the_gap_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"gap_s \(11\) must not be above split\.segment_s \(10\)"):
        assign(clip("a", [0]), params("segment", gap_s=11.0))


@pytest.mark.parametrize("by", ["clip", "camera", "segment", "site"])
def test_shares_are_met_and_seeds_differ(by: str) -> None:
    frames = [
        Frame(f"{n}", f"camera {n}", f"clip {n}", 0, 0.0, 64, 64, f"{n}.mp4", attributes={"site": f"site {n}"})
        for n in range(4000)
    ]
    counts = Counter(splits(frames, params(by)))
    for split, share in ((TRAIN, 0.6), (VAL, 0.2), (BENCHMARK, 0.2)):
        assert counts[split] / 4000 == pytest.approx(share, abs=0.03)  # more than four standard deviations
    assert splits(frames, params(by)) == splits(frames, params(by))
    assert splits(frames, params(by)) != splits(frames, params(by, seed=1))


@pytest.mark.parametrize("by", ["clip", "camera", "segment", "chronological"])
def test_nothing_moves_when_cameras_and_clips_are_added(by: str) -> None:
    times = [float(t) for t in range(60)]
    old = [f for n in range(20) for f in clip(f"clip {n}", times, f"camera {n % 5}")]
    new = [f for n in range(20, 40) for f in clip(f"clip {n}", times, f"camera {n % 10}")]
    before, after = by_id(old, params(by, gap_s=1.0)), by_id(new + old, params(by, gap_s=1.0))
    assert {name: after[name] for name in before} == before


def test_pictures_that_look_alike_go_together() -> None:
    rng = np.random.default_rng(0)
    frames = []
    for n in range(300):
        phash = int(rng.integers(0, 2**63))
        frames += [
            picture(f"{n}-{k}", f"{phash ^ ((1 << 2 * k) - 1):016x}") for k in range(3)
        ]  # a chain, 2 bits a step
    placed = assign(frames, params("image"))
    for n in range(300):
        assert len({(a.split, a.group) for a in placed[3 * n : 3 * n + 3]}) == 1
    assert len({a.group for a in placed}) == 300
    assert {a.split for a in placed} == {TRAIN, VAL, BENCHMARK}


def test_without_perceptual_hash_a_picture_is_its_own_group() -> None:
    assert [a.group for a in assign([picture("a"), picture("b")], params("image"))] == ["a", "b"]


def test_a_copy_that_comes_later_never_moves_a_picture_out_of_the_benchmark() -> None:
    rank = {BENCHMARK: 0, VAL: 1, TRAIN: 2}
    rng = np.random.default_rng(0)
    hashes = [f"{int(h):016x}" for h in rng.integers(0, 2**63, 200)]
    old = [picture(f"old {n}", phash) for n, phash in enumerate(hashes)]
    copies = [picture(f"copy {n}", phash) for n, phash in enumerate(hashes)]
    before, after = by_id(old, params("image")), by_id(copies + old, params("image"))
    assert all(rank[after[name]] <= rank[split] for name, split in before.items())
    assert any(after[name] != split for name, split in before.items())


@pytest.mark.parametrize(
    ("by", "frame", "message"),
    [
        pytest.param("image", clip("a", [0])[0], "image is for single pictures", id="frames of a clip by image"),
        pytest.param("segment", picture("a"), "segment needs times, and a.jpg has none", id="pictures by segment"),
        pytest.param("chronological", picture("a"), "chronological needs times", id="pictures by time"),
        pytest.param(
            "site", picture("a", attributes={"weather": "dry"}), "columns there are: weather;", id="no column"
        ),
        pytest.param("site", picture("a", attributes={"site": ""}), "a.jpg has no value", id="no value"),
        pytest.param("site", picture("a"), "columns there are: none; or use one of: chronological,", id="no manifest"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_way_out(by: str, frame: Frame, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        assign([frame], params(by))


def test_spans_take_every_frame_with_a_time() -> None:
    assert spans([*clip("a", [3, 1, 2]), *clip("b", [5]), picture("c")]) == {"a": (1, 3), "b": (5, 5)}


def test_the_number_of_a_group_is_its_hash() -> None:
    assert draw(0, "lobby") == 0x6017CC4A84759227 / 2**64  # printf 0/lobby | sha256sum
    assert draw(0, "lobby") != draw(1, "lobby")
