"""Detections of one camera, frame by frame, made into tracks with ids.

ByteTrack (Zhang et al. 2022, https://arxiv.org/abs/2110.06864): a Kalman filter says where each track should be now,
confident detections are assigned to tracks first, then unsure ones to what is left, so an object that is half hidden
keeps its id. It differs where detection runs a few times a second, at uneven times and seldom when nothing moves: time
is in seconds, not in frames; a track grows old only while it is looked for; unsure detections may bring back what was
lost, and one that is beyond doubt confirms its track alone. docs/tracking.md has the figures for each.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from pipeline.core.boxes import iou
from pipeline.core.errors import ConfigError, DataError
from pipeline.core.types import Detections

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]
INFO = np.dtype(
    [
        ("track_id", "i8"),
        ("label", "i8"),
        ("score", "f4"),
        ("first_s", "f8"),
        ("last_s", "f8"),
        ("hits", "i8"),
        ("confirmed", "?"),
        ("missed_s", "f8"),  # the first look in vain since the latest detection, else inf
    ]
)
# Noise as shares of the box height, as in DeepSORT (Wojke et al. 2017), but in seconds; set as docs/tracking.md says.
MEASURED = 0.1  # of a detection's centre, width and height
DRIFT = 0.2  # of these by themselves, in a second
ACCELERATION = 0.7  # change of speed, heights a second, in a second
FIRST_SPEED = 1.9  # of a new track, heights a second
FADING_S = 3.0  # seconds in which a speed falls to 1/e by itself
CLOSE_IOU, CLOSE_S = 0.4, 0.4  # the least IoU of looks at one moment, and the seconds in which it would fall to 0
YOUNG_S = 0.4  # any track is searched for so long


@dataclass(frozen=True, slots=True)
class TrackerParams:
    """How detections become tracks.

    Raises:
        ConfigError: a value is out of range.
    """

    high_score: float | tuple[float, ...] = 0.5  # from here on a detection may begin a track; or one for each class
    low_score: float = 0.1  # from here on it may go on with one
    sure_score: float = 0.6  # from here on one detection makes a track more than a flicker
    confirm_hits: int = 2  # below it, so many do
    min_iou: float = 0.2  # of a detection with where its track should be; more where looks follow closely
    max_age_s: float = 2.0  # a track ends after so long a search in vain; a younger one after its own age
    max_gap_s: float = 5.0  # nothing is known of what was there before so long a time without a look

    def __post_init__(self) -> None:
        ranges = {"low_score": (0, 1), "min_iou": (0, 1), "confirm_hits": (1, 1e9)}
        ranges |= {"max_age_s": (0, 1e9), "max_gap_s": (0, 1e9)}
        bad = [
            f"{name} must be in {low:g}..{high:g}, got {value:g}"
            for name, (low, high) in ranges.items()
            if not low <= (value := getattr(self, name)) <= high
        ]
        if bad:
            raise ConfigError(f"tracker: {'; '.join(bad)}")


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One object that is followed, as it stands now."""

    track_id: int
    label: int  # index into the classes
    box: NDArray[np.float32]  # (4,) pixel xyxy, smoothed; where it should be now if it is not visible
    score: float  # of its latest detection
    first_s: float  # seconds: first and latest detection
    last_s: float
    hits: int  # detections so far
    confirmed: bool
    visible: bool  # has a detection in this very frame


class Tracker:
    """The tracks of one camera. Not for several threads at once."""

    def __init__(self, p: TrackerParams = TrackerParams()) -> None:
        self.p = p
        self.reset()

    def reset(self) -> None:
        """Forgets all tracks; ids and time begin anew, so nothing links what follows to what was."""
        self._info: NDArray[np.void] = np.zeros(0, INFO)
        self._state: Floats = np.zeros((0, 5, 4))
        self._now = -math.inf
        self._next_id = 1

    def update(self, found: Detections, timestamp_s: float) -> list[Track]:
        """All tracks after one look at the scene, oldest first: those not yet confirmed or not visible too.

        Args:
            found: what the detector found, from the low score up.
            timestamp_s: seconds of the source's clock; frames may come at any interval.

        Raises:
            DataError: time goes back, or is no number.
        """
        gate = self._advance(timestamp_s)
        measured = _centred(found.boxes.astype(np.float64))
        high, low = self._high(found), found.scores >= self.p.low_score
        confirmed = self._info["confirmed"]
        detection, left = np.full(len(self._info), -1), np.ones(len(found), np.bool_)
        for tracks, detections in ((confirmed, high), (confirmed, low), (~confirmed, high)):
            t, d = self._pairs(tracks & (detection < 0), detections & left, found, gate)
            detection[t], left[d] = d, False
        seen = detection >= 0
        _correct(self._state, seen, measured[detection[seen]])
        self._note(seen, found, detection)
        stays = self._now - self._info["missed_s"] < self._patience()
        self._info, self._state, seen = self._info[stays], self._state[stays], seen[stays]
        born = np.flatnonzero(high & left)
        self._begin(found, measured, born)
        return self._tracks(np.concatenate([seen, np.ones(len(born), np.bool_)]))

    def _advance(self, timestamp_s: float) -> float:
        """Moves all tracks to where they should be now; the least IoU with it follows from the time since."""
        if not (math.isfinite(timestamp_s) and timestamp_s >= self._now):
            raise DataError(f"tracker: time must not go back, got {timestamp_s} s after {self._now} s; reset it first")
        gap, self._now = timestamp_s - self._now, timestamp_s
        if gap > self.p.max_gap_s:
            self._info, self._state = self._info[:0], self._state[:0]
        _predict(self._state, min(gap, self.p.max_gap_s))
        return max(self.p.min_iou, CLOSE_IOU * (1 - gap / CLOSE_S))

    def _high(self, found: Detections) -> Mask:
        """Which detections (N,) may begin a track."""
        high = np.asarray(self.p.high_score)
        return np.asarray(found.scores >= (high[found.labels] if high.ndim else high))

    def _pairs(self, tracks: Mask, detections: Mask, found: Detections, gate: float) -> tuple[Indices, Indices]:
        """Which of the tracks (T,) and the detections (N,) belong together: one round.

        Both are of one class and their IoU is not below the least; the sum of IoU is the largest that can be.
        """
        rows, columns = np.flatnonzero(tracks), np.flatnonzero(detections)
        if not (rows.size and columns.size):
            return rows[:0], columns[:0]
        shared = iou(_corners(self._state[rows, 0]), found.boxes[columns])
        shared[(self._info["label"][rows, None] != found.labels[columns]) | (shared < gate)] = 0
        r, c = linear_sum_assignment(shared, maximize=True)
        good = shared[r, c] > 0
        return rows[r[good]], columns[c[good]]

    def _note(self, seen: Mask, found: Detections, detection: Indices) -> None:
        """Writes down who was seen and who was looked for in vain."""
        info, which = self._info, detection[seen]
        info["score"][seen] = found.scores[which]
        info["last_s"][seen] = self._now
        info["hits"] += seen
        info["confirmed"] |= (info["hits"] >= self.p.confirm_hits) | (seen & (info["score"] >= self.p.sure_score))
        info["missed_s"] = np.where(seen, np.inf, np.minimum(info["missed_s"], self._now))

    def _patience(self) -> Floats:
        """Seconds (T,) for which each track is searched for: what was there for a moment is not missed for long."""
        followed = self._info["last_s"] - self._info["first_s"]
        return np.asarray(np.minimum(self.p.max_age_s, followed + YOUNG_S))

    def _begin(self, found: Detections, measured: Floats, born: Indices) -> None:
        new = np.zeros(len(born), INFO)
        new["track_id"] = np.arange(self._next_id, self._next_id + len(born))
        new["label"], new["score"] = found.labels[born], found.scores[born]
        new["first_s"] = new["last_s"] = self._now
        new["hits"], new["missed_s"] = 1, np.inf
        new["confirmed"] = (new["score"] >= self.p.sure_score) | (self.p.confirm_hits == 1)
        self._next_id += len(born)
        self._info = np.concatenate([self._info, new])
        self._state = np.concatenate([self._state, _first(measured[born])])

    def _tracks(self, seen: Mask) -> list[Track]:
        boxes = _corners(self._state[:, 0]).astype(np.float32)
        return [
            Track(track_id, label, box, score, first, last, hits, confirmed, visible)
            for (track_id, label, score, first, last, hits, confirmed, _), box, visible in zip(
                self._info.tolist(), boxes, seen.tolist(), strict=True
            )
        ]


# The filter. A state is (T, 5, 4): value, speed, and their variances (of the value, of both, of the speed) for the
# centre's x and y, the width and the height of T boxes. The four are independent of one another in SORT's model, so the
# usual 8 x 8 matrices fall apart into 2 x 2 ones, which are written out.


def _first(measured: Floats) -> Floats:
    """States of new tracks."""
    state = np.zeros((len(measured), 5, 4))
    height = np.maximum(measured[:, 3:], 1)
    state[:, 0] = measured
    state[:, 2] = (MEASURED * height) ** 2
    state[:, 4] = (FIRST_SPEED * height) ** 2
    return state


def _predict(state: Floats, dt: float) -> None:
    """Where the boxes are after `dt` seconds, at a speed that fades and is disturbed by white noise.

    Who walks may stop: without fading, a box that is not looked at for seconds goes far astray.
    """
    value, speed, var, cov, var_speed = (state[:, i] for i in range(5))
    height = np.maximum(value[:, 3:], 1)
    drift, pushed = (DRIFT * height) ** 2, (ACCELERATION * height) ** 2
    left = math.exp(-dt / FADING_S)  # of the speed
    way = FADING_S * (1 - left)  # seconds at the speed of before
    value += way * speed
    np.maximum(value[:, 2:], 1, out=value[:, 2:])
    speed *= left
    var += 2 * way * cov + way**2 * var_speed + dt * drift + dt**3 / 3 * pushed
    cov += way * var_speed
    cov *= left
    cov += dt**2 / 2 * pushed
    var_speed *= left**2
    var_speed += dt * pushed


def _correct(state: Floats, seen: Mask, measured: Floats) -> None:
    """What detections (K, 4) say of the K tracks that were seen."""
    value, speed, var, cov, var_speed = (state[seen, i] for i in range(5))
    total = var + (MEASURED * np.maximum(measured[:, 3:], 1)) ** 2
    gain, gain_speed, off = var / total, cov / total, measured - value
    after = value + gain * off, speed + gain_speed * off
    doubt = (1 - gain) * var, (1 - gain) * cov, var_speed - gain_speed * cov
    state[seen] = np.stack([*after, *doubt], axis=1)


def _centred(boxes: Floats) -> Floats:
    """Centre, width, height of xyxy boxes."""
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def _corners(centred: Floats) -> Floats:
    half = centred[:, 2:] / 2
    return np.concatenate([centred[:, :2] - half, centred[:, :2] + half], axis=1)
