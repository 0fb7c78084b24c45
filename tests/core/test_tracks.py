"""Scores of trackers: small cases worked by hand, and figures of others on the same tracks."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.core.tracks import Identified, TrackCounts, TrackScores, count_tracks
from pipeline.io.formats.mot import read_mot

TUD = Path(__file__).parents[3] / "shared" / "data" / "mot15_tud"
FRAMES = {"TUD-Campus": 71, "TUD-Stadtmitte": 179}
A, B = (0, 0, 10, 10), (100, 0, 110, 10)  # two places
Scene = Sequence[Mapping[int, tuple[float, float, float, float]]]

# TrackEval 1.3.0's on the tracks of `scene()`.
TRACKEVAL_SCENE = {
    "hota": 0.2929307899870664,
    "deta": 0.41713027599089175,
    "assa": 0.20710632815559737,
    "loca": 0.7473827852694356,
    "idf1": 0.4435146443514644,
    "idp": 0.5549738219895288,
    "idr": 0.3693379790940767,
    "mota": 0.5470383275261324,
    "motp": 0.6993937464174813,
    "false_positives": 9,
    "false_negatives": 105,
    "switches": 16,
    "mostly_tracked": 1,
    "mostly_lost": 0,
}
# TrackEval 1.3.0's on mot15_tud.
TRACKEVAL_TUD = {
    "TUD-Campus": {
        "hota": 0.3913974378451139,
        "deta": 0.418047030142763,
        "assa": 0.36912068120832836,
        "loca": 0.770052227022172,
        "motp": 0.7227989153605385,
        "fragmentations": 7,
        "mostly_tracked": 1,
        "mostly_lost": 1,
    },
    "TUD-Stadtmitte": {
        "hota": 0.3978490169927877,
        "deta": 0.3922675723693166,
        "assa": 0.4088407518112996,
        "loca": 0.737521177178062,
        "motp": 0.6540957044559912,
        "fragmentations": 6,
        "mostly_tracked": 5,
        "mostly_lost": 1,
    },
}


def frames(scene: Scene) -> list[Identified]:
    return [Identified(np.array(list(it), np.int64), np.array(list(it.values()), float).reshape(-1, 4)) for it in scene]


def scores(truth: Scene, found: Scene) -> dict[str, float | None]:
    return asdict(TrackScores.of(count_tracks(frames(truth), frames(found))))


def scene() -> tuple[list[Identified], list[Identified]]:
    """Six objects in 50 frames, and a tracker that loses, swaps and makes up some."""
    rng = np.random.default_rng(7)
    names: NDArray[np.int64] = np.arange(6)
    place, speed = rng.uniform(0, 200, (6, 2)), rng.normal(0, 4, (6, 2))
    truth, found = [], []
    for _ in range(50):
        place = place + speed
        boxes = np.concatenate([place, place + np.array([30, 60])], axis=1)
        there = rng.random(6) < 0.95
        if rng.random() < 0.15:
            names[rng.permutation(6)[:2]] = names[rng.permutation(6)[:2]]
            names = np.where(np.arange(6) == rng.integers(6), names.max() + 1, names)
        first = np.unique(names, return_index=True)[1]
        seen = there & (rng.random(6) < 0.85) & np.isin(np.arange(6), first)
        truth.append(Identified(np.flatnonzero(there), boxes[there]))
        found.append(Identified(names[seen], (boxes + rng.normal(0, 5, boxes.shape))[seen]))
    return truth, found


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        pytest.param(
            [{1: A}] * 4,
            [{1: A}] * 4,
            {
                "hota": 1,
                "deta": 1,
                "assa": 1,
                "loca": 1,
                "idf1": 1,
                "mota": 1,
                "motp": 1,
                "switches": 0,
                "mostly_tracked": 1,
            },
            id="perfect",
        ),
        pytest.param(
            [{1: A}] * 4,
            [{1: A}] * 2 + [{2: A}] * 2,
            # each match agrees with its track in 2 of 4 frames; the better of the two halves is identified
            {"hota": 0.5**0.5, "deta": 1, "assa": 0.5, "idf1": 0.5, "mota": 0.75, "switches": 1, "fragmentations": 0},
            id="a new id in the middle",
        ),
        pytest.param(
            [{1: A, 2: B}] * 4,
            [{1: A, 2: B}] * 2 + [{2: A, 1: B}] * 2,
            # 2 frames matched of the 6 that either track has
            {"hota": (1 / 3) ** 0.5, "deta": 1, "assa": 1 / 3, "idf1": 0.5, "mota": 0.75, "switches": 2},
            id="ids change places",
        ),
        pytest.param(
            [{1: A}] * 2,
            [{1: (2.5, 0, 12.5, 10)}] * 2,
            # IoU 7.5 / 12.5 = 0.6: a match at 12 of 19 limits; where there is none, the location counts as 1
            {"hota": 12 / 19, "deta": 12 / 19, "assa": 12 / 19, "loca": (12 * 0.6 + 7) / 19, "motp": 0.6, "idf1": 1},
            id="beside it",
        ),
        pytest.param(
            [{1: A}] * 2,
            [{1: (5, 0, 15, 10)}] * 2,
            # IoU 1/3: HOTA matches at 6 limits, the others never
            {"hota": 6 / 19, "idf1": 0, "mota": -1, "motp": None, "false_positives": 2, "false_negatives": 2},
            id="too far for 0.5",
        ),
        pytest.param(
            [{1: A}] * 5,
            [{1: A}, {1: A}, {}, {1: A}, {1: A}],
            # 4 true positives of 5 boxes, one track of 4 frames: DetA 4/5, AssA 4/5
            {"hota": 0.8, "idf1": 8 / 9, "idp": 1, "idr": 0.8, "mota": 0.8, "fragmentations": 1, "mostly_tracked": 1},
            id="lost for a frame",
        ),
        pytest.param(
            [{1: A}, {1: A}, {}, {1: A}, {1: A}],
            [{1: A}, {1: A}, {}, {1: A}, {1: A}],
            {"mota": 1, "fragmentations": 0},
            id="not there for a frame",
        ),
        pytest.param(
            [{1: A}] * 6,
            [{1: A}] + [{}] * 5,
            {"mostly_lost": 1, "mostly_tracked": 0, "mota": 1 / 6, "false_negatives": 5},
            id="mostly lost",
        ),
        pytest.param(
            [{1: A}] * 2,
            [{7: A}, {7: A, 8: (1, 0, 11, 10)}],
            # a match that goes on is kept, though the other box is as good for the frame
            {"switches": 0, "mota": 0.5, "false_positives": 1},
            id="a second box",
        ),
        pytest.param(
            [{1: (1, 0, 11, 10)}] * 2,
            [{7: A}, {7: A, 8: (1, 0, 11, 10)}],
            {"switches": 0, "mota": 0.5, "motp": 9 / 11},
            id="a better box comes later",
        ),
    ],
)
def test_small_cases(truth: Scene, found: Scene, expected: dict[str, float | None]) -> None:
    got = scores(truth, found)
    assert {key: got[key] for key in expected} == {
        key: value if value is None else pytest.approx(value) for key, value in expected.items()
    }


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        pytest.param([{}], [{}], {"hota": None, "loca": None, "idf1": None, "mota": None, "motp": None}, id="nothing"),
        pytest.param([], [], {"hota": None, "idf1": None, "mota": None}, id="no frame"),
        pytest.param(
            [{1: A}], [{}], {"hota": 0, "idf1": 0, "idp": None, "idr": 0, "mota": 0, "motp": None}, id="blind"
        ),
        pytest.param([{}], [{1: A}], {"hota": 0, "idf1": 0, "idp": 0, "idr": None, "mota": None}, id="ghosts"),
    ],
)
def test_a_share_of_nothing_is_none(truth: Scene, found: Scene, expected: dict[str, float | None]) -> None:
    got = scores(truth, found)
    assert {key: got[key] for key in expected} == expected


def test_scores_are_trackevals() -> None:
    got = asdict(TrackScores.of(count_tracks(*scene())))
    assert {key: got[key] for key in TRACKEVAL_SCENE} == pytest.approx(TRACKEVAL_SCENE)


def test_counts_add_up_to_those_of_one_long_sequence() -> None:
    (truth, found), shift = scene(), 1000
    again = [[Identified(it.ids + shift, it.boxes) for it in part[:20]] for part in (truth, found)]
    both = count_tracks(truth, found) + count_tracks(*again)
    assert TrackScores.of(both) == TrackScores.of(count_tracks(truth + again[0], found + again[1]))
    assert both.frames == 70


def test_sequences_of_different_length_are_an_error() -> None:
    with pytest.raises(DataError, match="2 frames of truth, but 1 of the tracker's"):
        count_tracks(frames([{}, {}]), frames([{}]))


@pytest.mark.parametrize(
    ("ids", "boxes", "said"),
    [
        ([1, 1], [A, B], "two boxes of one frame have the id 1"),
        ([1], [A, B], r"got \(1,\) and \(2, 4\)"),
        ([1], [(0, 0, 1, float("nan"))], "finite"),
    ],
)
def test_what_is_no_frame_is_an_error(ids: list[int], boxes: list[tuple[float, ...]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        Identified(np.array(ids), np.array(boxes, float))


def tud(name: str) -> TrackCounts:
    truth, found = read_mot(TUD / name / "gt" / "gt.txt"), read_mot(TUD / "results" / f"{name}.txt")
    return count_tracks(truth.frames(FRAMES[name]), found.frames(FRAMES[name]))


@pytest.mark.skipif(not TUD.exists(), reason="needs ../shared/data/mot15_tud")
def test_both_tud_sequences_together_score_as_published() -> None:
    published = json.loads((TUD / "expected.json").read_text())["expected"]
    got = TrackScores.of(tud("TUD-Campus") + tud("TUD-Stadtmitte"))
    ours = {"IDF1": got.idf1, "IDP": got.idp, "MOTA": got.mota, "IDs": got.switches, "HOTA": got.hota}
    assert {key: round(value or 0, 3) for key, value in ours.items()} == published


@pytest.mark.skipif(not TUD.exists(), reason="needs ../shared/data/mot15_tud")
@pytest.mark.parametrize("name", TRACKEVAL_TUD)
def test_each_tud_sequence_scores_as_with_trackeval(name: str) -> None:
    got, expected = asdict(TrackScores.of(tud(name))), TRACKEVAL_TUD[name]
    assert {key: got[key] for key in expected} == pytest.approx(expected)
    told = json.loads((TUD / "expected.json").read_text())["per_sequence_recomputed_here"][name]
    ours = {"IDF1": "idf1", "IDP": "idp", "IDR": "idr", "MOTA": "mota", "IDs": "switches", "gt_tracks": "tracks"}
    assert {key: got[it] for key, it in ours.items()} == pytest.approx({key: told[key] for key in ours})
