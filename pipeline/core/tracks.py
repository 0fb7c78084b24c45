"""How well a tracker keeps objects apart and together: HOTA, IDF1 and MOTA with their parts.

- HOTA, DetA, AssA, LocA: Luiten et al. 2021 (https://arxiv.org/abs/2009.07736), the mean over IoU 0.05, 0.1 ... 0.95.
- IDF1, IDP, IDR: Ristani et al. 2016 (https://arxiv.org/abs/1609.01775).
- MOTA, MOTP, switches, fragmentations, mostly tracked, mostly lost: CLEAR MOT (Bernardin and Stiefelhagen 2008,
  https://doi.org/10.1155/2008/246309) and Wu and Nevatia 2006. MOTP is the mean IoU of the matches.

The last two take boxes for the same from IoU 0.5 on. All is counted, so several sequences are one benchmark by the sum
of their counts (`TrackCounts.__add__`), never by a mean of their scores: that is how MOTChallenge combines them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from pipeline.core.boxes import iou
from pipeline.core.errors import DataError

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
ALPHAS = np.arange(1, 20) / 20  # the IoU at which HOTA takes boxes for the same
SAME = 0.5  # the IoU at which the others do
EPSILON = float(np.finfo(np.float64).eps)  # an IoU this little below a limit reaches it
KEPT = 1000.0  # a match that goes on outweighs every new one
MOSTLY_TRACKED, MOSTLY_LOST = 0.8, 0.2  # share of its frames in which an object is matched


@dataclass(frozen=True, slots=True, eq=False)
class Identified:
    """What is in one frame, truly or by a tracker, each with the id that it keeps from frame to frame.

    Raises:
        DataError: the arrays do not fit together, or two boxes of the frame have one id.
    """

    ids: Indices  # (N,)
    boxes: Floats  # (N, 4) xyxy

    def __post_init__(self) -> None:
        n = len(self.ids)
        if self.ids.shape != (n,) or self.boxes.shape != (n, 4) or not np.isfinite(self.boxes).all():
            raise DataError(
                f"tracks: expected (N,) ids and finite (N, 4) boxes, got {self.ids.shape} and {self.boxes.shape}"
            )
        if len(np.unique(self.ids)) < n:
            values, count = np.unique(self.ids, return_counts=True)
            raise DataError(f"tracks: two boxes of one frame have the id {values[count > 1][0]}")


@dataclass(frozen=True, slots=True, eq=False)
class TrackCounts:
    """What scores are made of; the sum of two is that of both sequences together. A = number of `ALPHAS`."""

    frames: int
    objects: int  # true boxes
    found: int  # the tracker's boxes
    tracks: int  # true tracks
    hota_matches: Indices  # (A,) true positives
    association: Floats  # (A,) sum over matches of how well their two tracks agree, 0..1 each
    location: Floats  # (A,) sum of their IoU
    id_matches: int  # true positives of the best one-to-one assignment of tracks
    matches: int  # true positives of CLEAR MOT
    overlap: float  # sum of their IoU
    switches: int
    fragmentations: int
    mostly_tracked: int  # true tracks
    mostly_lost: int

    def __add__(self, other: "TrackCounts") -> "TrackCounts":
        """Both sequences together."""
        return TrackCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class TrackScores:
    """Scores of a tracker. Shares are 0..1 (MOTA may be below 0), None where there is nothing to take a share of."""

    hota: float | None
    deta: float | None
    assa: float | None
    loca: float | None
    idf1: float | None
    idp: float | None
    idr: float | None
    mota: float | None
    motp: float | None
    false_positives: int
    false_negatives: int
    switches: int
    fragmentations: int
    mostly_tracked: int
    mostly_lost: int
    tracks: int
    objects: int

    @classmethod
    def of(cls, c: TrackCounts) -> "TrackScores":
        """Scores of what was counted."""
        false_positives, false_negatives = c.found - c.matches, c.objects - c.matches
        hota, deta, assa, loca = _hota_scores(c)
        return cls(
            hota=hota,
            deta=deta,
            assa=assa,
            loca=loca,
            idf1=_share(2 * c.id_matches, c.objects + c.found),
            idp=_share(c.id_matches, c.found),
            idr=_share(c.id_matches, c.objects),
            mota=_share(c.matches - false_positives - c.switches, c.objects),
            motp=_share(c.overlap, c.matches),
            false_positives=false_positives,
            false_negatives=false_negatives,
            switches=c.switches,
            fragmentations=c.fragmentations,
            mostly_tracked=c.mostly_tracked,
            mostly_lost=c.mostly_lost,
            tracks=c.tracks,
            objects=c.objects,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """One frame. M true boxes, N of the tracker's."""

    truth: Indices  # (M,) place of each id among those of the sequence
    found: Indices  # (N,)
    iou: Floats  # (M, N)


def count_tracks(truth: Sequence[Identified], found: Sequence[Identified]) -> TrackCounts:
    """Compares the tracks of one sequence with the truth, frame by frame. All are of one class.

    Raises:
        DataError: not the same number of frames.
    """
    if len(truth) != len(found):
        raise DataError(f"tracks: {len(truth)} frames of truth, but {len(found)} of the tracker's")
    places, lengths = zip(*(_places(it) for it in (truth, found)), strict=True)
    overlaps = (iou(t.boxes, f.boxes) for t, f in zip(truth, found, strict=True))
    frames = [_Frame(*it) for it in zip(*places, overlaps, strict=True)]
    matches, association, location = _hota(frames, *lengths)
    clear, overlap = _clear(frames, lengths[0])
    return TrackCounts(
        frames=len(frames),
        objects=int(lengths[0].sum()),
        found=int(lengths[1].sum()),
        tracks=len(lengths[0]),
        hota_matches=matches,
        association=association,
        location=location,
        id_matches=_id_matches(frames, *lengths),
        overlap=overlap,
        **clear,
    )


def _places(frames: Sequence[Identified]) -> tuple[list[Indices], Indices]:
    """For each frame the place of its ids among all; and how many boxes each id has."""
    every = np.concatenate([np.zeros(0, np.int64), *(it.ids for it in frames)])
    _, place, length = np.unique(every, return_inverse=True, return_counts=True)
    ends = np.cumsum([len(it.ids) for it in frames], dtype=np.int64)
    return [place[end - len(it.ids) : end] for it, end in zip(frames, ends, strict=True)], length


def _hota(frames: Sequence[_Frame], long: Indices, found_long: Indices) -> tuple[Indices, Floats, Floats]:
    """Matches, sum of their association and sum of their IoU at each of `ALPHAS`."""
    either = long[:, None] + found_long[None, :]
    agreement = _agreement(frames, either)
    pairs = [_assigned(it, agreement[np.ix_(it.truth, it.found)] * it.iou) for it in frames]
    t, f, overlap = (np.concatenate(values) for values in zip(*pairs, strict=True)) if pairs else _NOTHING
    reached = overlap[None, :] >= ALPHAS[:, None] - EPSILON
    association = [_association(t[kept], f[kept], either) for kept in reached]
    return reached.sum(1), np.array(association), (reached * overlap).sum(1)


def _agreement(frames: Sequence[_Frame], either: Indices) -> Floats:
    """How well each true track and each of the tracker's lie together over the whole sequence, whatever is matched."""
    together = np.zeros(either.shape)
    for it in frames:
        rivals = it.iou.sum(0)[None, :] + it.iou.sum(1)[:, None] - it.iou
        together[np.ix_(it.truth, it.found)] += np.divide(it.iou, rivals, out=np.zeros_like(it.iou), where=rivals > 0)
    return np.asarray(together / (either - together))


def _association(t: Indices, f: Indices, either: Indices) -> float:
    """Sum over matches of the Jaccard index of their two tracks: frames matched, of the frames that either has."""
    matched = np.zeros(either.shape)
    np.add.at(matched, (t, f), 1)
    return float((matched * matched / (either - matched)).sum())


def _hota_scores(c: TrackCounts) -> tuple[float | None, ...]:
    """HOTA, DetA, AssA, LocA. As in the authors' code, without a match the association is 0 and the location 1."""
    if not c.objects + c.found:
        return None, None, None, None
    n = np.maximum(c.hota_matches, 1)
    deta, assa = c.hota_matches / (c.objects + c.found - c.hota_matches), c.association / n
    loca = np.where(c.hota_matches > 0, c.location / n, 1)
    return tuple(float(it.mean()) for it in (np.sqrt(deta * assa), deta, assa, loca))


def _id_matches(frames: Sequence[_Frame], long: Indices, found_long: Indices) -> int:
    """Boxes that agree when each true track is given to one of the tracker's, as well as can be for the whole."""
    agree = np.zeros((len(long), len(found_long)), np.int64)
    for it in frames:
        agree[np.ix_(it.truth, it.found)] += it.iou >= SAME - EPSILON
    return int(agree[linear_sum_assignment(agree, maximize=True)].sum())


def _clear(frames: Sequence[_Frame], long: Indices) -> tuple[dict[str, int], float]:
    """CLEAR MOT's counts, and the sum of the matches' IoU.

    In every frame the matches of the frame before go on where they can, and the rest is assigned anew.
    """
    ever, before = np.full(len(long), -1), np.full(len(long), -1)  # the match: latest, and in the frame before
    matched, begun = np.zeros(len(long), np.int64), np.zeros(len(long), np.int64)
    switches, overlap = 0, 0.0
    for it in frames:
        worth = it.iou + KEPT * (before[it.truth][:, None] == it.found[None, :])
        t, f, shared = _assigned(it, np.where(it.iou >= SAME - EPSILON, worth, 0))
        switches += int(((ever[t] >= 0) & (ever[t] != f)).sum())
        overlap += float(shared.sum())
        matched[t] += 1
        begun[t] += before[t] < 0
        before[it.truth] = -1
        ever[t] = before[t] = f
    share = matched / long
    counts = {
        "matches": int(matched.sum()),
        "switches": switches,
        "fragmentations": int(np.maximum(begun - 1, 0).sum()),
        "mostly_tracked": int((share >= MOSTLY_TRACKED).sum()),
        "mostly_lost": int((share < MOSTLY_LOST).sum()),
    }
    return counts, overlap


def _assigned(it: _Frame, worth: Floats) -> tuple[Indices, Indices, Floats]:
    """Tracks, the tracker's tracks and IoU of the one-to-one assignment that is worth most; what is worth 0 is none."""
    r, c = linear_sum_assignment(worth, maximize=True)
    r, c = (index[worth[r, c] > 0] for index in (r, c))
    return it.truth[r], it.found[c], it.iou[r, c]


_NOTHING = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
