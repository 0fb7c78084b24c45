"""A camera's health: is what it shows still what it was set up to show?

A monitor takes looks at low resolution, two a second, and compares them with the camera's reference picture
(`health_signs`). Each look names at most one cause, the most likely. A finding opens when a fault has shown for some
seconds, and closes when it has been gone for some: who stands before the lens for a moment is no fault.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.runtime.health_motion import Luma
from pipeline.runtime.health_signs import Comparison, Reference, Signs, make_reference

__all__ = ["HealthFinding", "HealthMonitor", "HealthParams", "Reference", "make_reference"]

MEDIAN_OF = 5  # looks: who is at a place for less than half of them is not seen
UNCHANGED = 0.05  # grey levels, mean difference: below what a sensor's noise leaves, whatever the encoder does
UNCHANGED_LOOKS = 4  # so many looks like the same one: a picture that stands still, not chance
BLACK, WHITE = 12, 230  # grey levels: below, nothing can be seen; above, light leaves the sensor no noise
FLAT = 1.5  # grey levels, standard deviation: a picture of nothing
MOST = 0.8  # share of the looks in a window that must agree
FEWEST = 5  # looks in a window

SETTLING, SETTLED = 3, 0.05  # looks within which the level changes by less than this share, if contrast is to mean much

SIGNAL, FROZEN = "no signal", "frozen"
SUBTLE = {"defocused", "dirt", "web"}  # while the exposure changes, encoders leave detail out: only if plain


@dataclass(frozen=True, slots=True)
class HealthParams:
    """When to look, and how long a fault must last. Seconds."""

    look_s: float = 0.5  # between two looks
    open_s: float = 4.0  # a fault shows for so long before it is a finding
    close_s: float = 4.0  # and is gone for so long before the finding ends


@dataclass(frozen=True, slots=True)
class HealthFinding:
    """Something is wrong with a camera. Given once when it is found, and once more, with its end, when it is over."""

    kind: str  # covered, moved, defocused, too dark, too bright, frozen, dirt, web, no signal
    start_s: float  # when it first showed, seconds of the source's clock
    end_s: float | None  # when it last showed; None while it lasts
    severity: float  # 0..1: 0.1 just beyond what is tolerated, 1 as bad as it gets; the highest so far
    detail: str  # what was seen, in words


@dataclass(frozen=True, slots=True)
class _Vote:
    """What one look says."""

    time_s: float
    kind: str  # "" for nothing wrong
    severity: float = 0.0
    detail: str = ""


class HealthMonitor:
    """Watches one camera. Give it every frame, or `None` where the source gives none; it takes what it needs."""

    def __init__(self, reference: Reference, p: HealthParams = HealthParams()) -> None:
        self._p = p
        self._shape = reference.picture.shape
        self._comparison = Comparison(reference)
        self._looks: deque[Luma] = deque(maxlen=MEDIAN_OF)
        self._votes: deque[_Vote] = deque()
        self._levels: deque[float] = deque(maxlen=SETTLING)  # of the pictures judged
        self._anchor: Luma | None = None
        self._unchanged = 0
        self._heard: float | None = None  # when a frame last came
        self._next = -np.inf
        self.current: HealthFinding | None = None  # what is wrong at present

    def step(self, luma: Luma | None, timestamp_s: float) -> list[HealthFinding]:
        """Findings that began (`end_s` None) or ended with this frame; mostly none.

        Args:
            luma: (h, w) uint8, best as wide as the reference's; None: the source gives no picture at this time.
            timestamp_s: seconds; never less than before.
        """
        gap = [] if self._heard is None or luma is None else self._gap(timestamp_s)
        if luma is not None:
            self._heard = timestamp_s
        if timestamp_s < self._next and not gap:
            return []
        self._next = timestamp_s + self._p.look_s * 0.999  # clocks in floating point
        vote = self._lost(timestamp_s) if luma is None else self._vote(luma, timestamp_s)
        if vote:
            self._votes.append(vote)
        return gap + self._concluded(timestamp_s)

    def _gap(self, now: float) -> list[HealthFinding]:
        """No frame came for long, and nobody said so: found and over at once."""
        heard = now if self._heard is None else self._heard
        if now - heard < self._p.open_s or (self.current and self.current.kind == SIGNAL):
            return []
        ended = self._end(heard)
        self._forget()
        return [*ended, HealthFinding(SIGNAL, heard, now, 1.0, f"no picture for {now - heard:.1f} s")]

    def _lost(self, now: float) -> _Vote:
        self._looks.clear()
        return _Vote(now, SIGNAL, 1.0, "the source gives no picture")

    def _vote(self, luma: Luma, now: float) -> _Vote | None:
        """None where the look says nothing."""
        if luma.shape != self._shape:
            luma = np.asarray(cv2.resize(luma, self._shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)
        self._looks.append(luma)
        still, level = self._stands_still(luma), float(luma.mean())
        if still and level < WHITE and float(luma.std()) < FLAT:
            return _Vote(now, SIGNAL, 1.0, f"one flat grey of level {level:.0f}, without noise")
        if still and level < WHITE:
            return _Vote(now, FROZEN, 1.0, "the picture does not change at all, not even by the sensor's noise")
        if len(self._looks) < MEDIAN_OF:
            return _Vote(now, "")
        signs = self._comparison.measure(_median(*self._looks))
        self._levels.append(signs.level)
        settled = max(self._levels) <= min(self._levels) * (1 + SETTLED)
        sure = settled or signs.flat > 0.4 or _new_lines(signs) > 0.02
        for kind, severity, detail in CAUSES:
            if (share := severity(signs)) > 0:
                return _Vote(now, kind, share, detail(signs)) if sure or kind not in SUBTLE else None
        return _Vote(now, "")

    def _stands_still(self, luma: Luma) -> bool:
        anchor = luma if self._anchor is None else self._anchor
        if cv2.norm(luma, anchor, cv2.NORM_L1) > UNCHANGED * luma.size or self._anchor is None:
            self._anchor, self._unchanged = luma.copy(), 0
            return False
        self._unchanged += 1
        return self._unchanged >= UNCHANGED_LOOKS

    def _concluded(self, now: float) -> list[HealthFinding]:
        """What follows from the votes of the last seconds."""
        longest = max(self._p.open_s, self._p.close_s)
        while self._votes and self._votes[0].time_s < now - longest - 1e-6:
            self._votes.popleft()
        opening, closing = self._since(now - self._p.open_s), self._since(now - self._p.close_s)
        bad = [vote for vote in opening if vote.kind]
        if self.current is None:
            return self._begin(bad) if self._enough(len(bad), opening) else []
        if self._enough(sum(not vote.kind for vote in closing), closing):
            return self._end(max((vote.time_s for vote in closing if vote.kind), default=now - self._p.close_s))
        other = Counter(vote.kind for vote in bad if vote.kind != self.current.kind).most_common(1)
        if other and self._enough(other[0][1], opening):
            changed = [vote for vote in bad if vote.kind == other[0][0]]
            return self._end(changed[0].time_s) + self._begin(changed)
        self._worsen(bad)
        return []

    def _since(self, start: float) -> list[_Vote]:
        return [vote for vote in self._votes if vote.time_s >= start - 1e-6]

    def _enough(self, count: int, window: list[_Vote]) -> bool:
        """Whether so many of a window's votes decide, and the window is full."""
        full = len(window) >= FEWEST and window[-1].time_s - window[0].time_s >= self._p.open_s - 1.5 * self._p.look_s
        return full and count >= MOST * len(window)

    def _begin(self, bad: list[_Vote]) -> list[HealthFinding]:
        kind = Counter(vote.kind for vote in bad).most_common(1)[0][0]
        worst = max((vote for vote in bad if vote.kind == kind), key=lambda vote: vote.severity)
        self.current = HealthFinding(kind, bad[0].time_s, None, worst.severity, worst.detail)
        return [self.current]

    def _worsen(self, bad: list[_Vote]) -> None:
        it = self.current
        if it and bad and bad[-1].kind == it.kind and bad[-1].severity > it.severity:
            self.current = HealthFinding(it.kind, it.start_s, None, bad[-1].severity, bad[-1].detail)

    def _end(self, at: float) -> list[HealthFinding]:
        it, self.current = self.current, None
        return [HealthFinding(it.kind, it.start_s, max(at, it.start_s), it.severity, it.detail)] if it else []

    def _forget(self) -> None:
        self._looks.clear()
        self._votes.clear()
        self._anchor = None


def _median(a: Luma, b: Luma, c: Luma, d: Luma, e: Luma) -> Luma:
    """Pixelwise median of five, by exchanges: a tenth of the time that sorting takes."""
    low, high = (
        cv2.max(cv2.min(a, b), cv2.min(c, d)),
        cv2.min(cv2.max(a, b), cv2.max(c, d)),
    )
    return np.asarray(cv2.max(cv2.min(low, high), cv2.min(cv2.max(low, high), e)), np.uint8)


def _beyond(value: float, tolerated: float, worst: float) -> float:
    """0 up to what is tolerated, from there 0.1 to 1 at the worst; `worst` may lie on either side.

    >>> [round(_beyond(value, 0.6, 0.2), 2) for value in (0.7, 0.6, 0.4, 0.1)]
    [0.0, 0.0, 0.55, 1.0]
    """
    share = (value - tolerated) / (worst - tolerated)
    return min(1.0, 0.1 + 0.9 * share) if share > 0 else 0.0


def _hidden(it: Signs) -> float:
    """Neither dark nor bright enough for light to be the reason."""
    return _beyond(it.lost, 0.8, 1.0) if it.level > BLACK and it.bright < 0.3 and it.flat > 0.3 else 0.0


def _dark(it: Signs) -> float:
    return _beyond(it.level, min(55.0, 0.42 * it.usual), 0.0) if it.high < 0.5 else 0.0


def _bright(it: Signs) -> float:
    return _beyond(it.level, max(190.0, it.usual + 45.0), 255.0) if it.bright > 0.3 else 0.0


def _moved(it: Signs) -> float:
    """Only where the reference was found again."""
    return max(_beyond(it.shift, 0.04, 0.3), _beyond(abs(it.turn), 1.2, 6.0))


def _new_lines(it: Signs) -> float:
    """Share of the picture, less what a changed scene brings along."""
    return it.lines - 0.1 * it.lost


def _web(it: Signs) -> float:
    """A web adds to what was there; a lens out of focus leaves less of it."""
    return _beyond(_new_lines(it), 0.01, 0.2) if it.flat < 0.3 else 0.0


def _covered(it: Signs) -> float:
    return _beyond(it.lost, 0.33, 1.0) if it.flat > 0.3 else 0.0


def _elsewhere(it: Signs) -> float:
    return _beyond(it.lost, 0.35, 1.0)


def _defocused(it: Signs) -> float:
    """What is coarse must be where it was: fine detail of another view does not match either."""
    return _beyond(it.sharp, 0.72, 0.1) if it.lost < 0.25 else 0.0


def _dirty(it: Signs) -> float:
    return _beyond(it.smeared, 0.12, 0.6)


def _hidden_words(it: Signs) -> str:
    return f"nothing is seen of {100 * it.lost:.0f} % of the scene"


# The first that applies is the cause: darkness takes away the contrast too, and a moved picture has new lines.
CAUSES: tuple[tuple[str, Callable[[Signs], float], Callable[[Signs], str]], ...] = (
    ("covered", _hidden, _hidden_words),
    ("too dark", _dark, lambda it: f"mean level {it.level:.0f}, usually {it.usual:.0f}"),
    ("too bright", _bright, lambda it: f"mean level {it.level:.0f}, usually {it.usual:.0f}"),
    ("moved", _moved, lambda it: f"shifted by {100 * it.shift:.0f} % of the width, turned by {it.turn:.1f} degrees"),
    ("web", _web, lambda it: f"thin bright lines that do not move, over {100 * it.lines:.1f} % of the picture"),
    ("covered", _covered, _hidden_words),
    ("moved", _elsewhere, lambda it: f"another view: {100 * it.lost:.0f} % of the scene is not where it was"),
    ("defocused", _defocused, lambda it: f"fine detail is down to {100 * it.sharp:.0f} %"),
    ("dirt", _dirty, lambda it: f"{100 * it.smeared:.0f} % of the picture has lost its contrast"),
)
