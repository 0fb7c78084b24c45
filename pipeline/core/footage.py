"""Which stretches of footage no training has seen, and at which times a camera was in doubt."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

from pipeline.core.types import Frame, Split


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a clip, in seconds from the clip's first frame."""

    clip: str
    camera: str
    start_s: float
    end_s: float  # infinite where it goes on to the clip's end


def held_out(clip: str, frames: Sequence[Frame], splits: Mapping[str, Split]) -> list[Stretch]:
    """The stretches of a clip that may be a field test.

    Labelled frames say to which split the moments around them belong. A stretch goes from the first to the last of a
    run of benchmark frames, or to the clip's begin or end where no other labelled frame lies before or behind. What was
    never ingested, or never labelled, was never trained on.

    Args:
        clip: its path below the clips, without suffix. Of one that was not ingested its folder is the camera, as for
            `ingest` without a manifest; directly below the clips, its own name is.
        frames: what was ingested of it, unusable ones left out.
        splits: of the labelled frames, by frame id.

    >>> held_out("gate", [], {})
    [Stretch(clip='gate', camera='gate', start_s=0.0, end_s=inf)]
    """
    path = PurePosixPath(clip)
    camera = frames[0].camera if frames else path.parent.name or path.name
    known = sorted((f.timestamp_s or 0.0, splits[f.frame_id]) for f in frames if f.frame_id in splits)
    if not known:
        return [Stretch(clip, camera, 0.0, math.inf)]
    first, last = known[0], known[-1]
    found = []
    for split, some in groupby(known, key=lambda it: it[1]):
        run = list(some)
        if split is Split.BENCHMARK:
            start = 0.0 if run[0] is first else run[0][0]
            end = math.inf if run[-1] is last else run[-1][0]
            found.append(Stretch(clip, camera, start, end))
    return found


@dataclass(frozen=True, slots=True)
class Doubt:
    """A time of which the camera may not have shown what it was set up to show."""

    clip: str
    start_s: float
    end_s: float  # infinite where it lasts
    severity: float  # 0..1
    why: str


def doubts_of(tested: Mapping[str, Any]) -> list[Doubt]:
    """The times that a field test (fieldtest.json) has found something wrong with a camera."""
    return [
        Doubt(
            it["clip"],
            found["start_s"],
            math.inf if found["end_s"] is None else found["end_s"],
            found["severity"],
            f"the camera was {found['kind']}: {found['detail']}",
        )
        for it in tested["health"]
        for found in it["findings"]
    ]


def doubt(frame: Frame, doubts: Iterable[Doubt]) -> Doubt | None:
    """The gravest doubt of the time of a frame; None where there is none, or the frame has no time."""
    mine = [
        it
        for it in doubts
        if it.clip == frame.clip and frame.timestamp_s is not None and it.start_s <= frame.timestamp_s <= it.end_s
    ]
    return max(mine, key=lambda it: it.severity, default=None)
