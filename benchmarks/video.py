"""What motion gating saves, and what it costs in events: gate + 5 detections a second against every frame, in one run.

    python benchmarks/video.py [--model models/export/cpu] [--artifact NAME] [--clips data/demo/clips] [--turns 3]

Both ways take the same clips through the same model, tracker and alarm rules on one thread, in turns; CPU seconds are
those of the whole process. `every frame` decodes and converts each frame and looks at it. `gated` is what `watch` does:
it takes at most 5 frames a second, lets the gate look at each, and looks where the gate says so. Events are judged as
the field test judges them, against the clips' truth; what `gated` may lose is measured against `every frame`, because
both share the model's faults.

A stream's cost is of the clips of 768 x 432 pixels, in CPU seconds a second of video, by part. Streams per core is its
reciprocal: `busy` with exactly 5 detections every second, as if something new came all the time, which is what a
machine must be built for; and `gated` as it was on these clips.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from pipeline.core.event_truth import incidents
from pipeline.core.events import Alarm, Figures, TruthEvent, figures, score
from pipeline.io.formats.events import read_events
from pipeline.runtime.alarms import GRACE_S
from pipeline.runtime.machine import this_machine
from pipeline.runtime.motion import MotionParams
from pipeline.runtime.session import open_session
from pipeline.runtime.site import Rules, Site
from pipeline.runtime.sources import open_source
from pipeline.runtime.watching import PARTS, CameraPipeline, Detector, detector_of

CLIPS, MODEL = Path("data/demo/clips"), Path("models/export/cpu")
LEAST_SAVED, LEAST_RECALL = 4.0, 0.98
TOLERANCE_S = 1.0
RATE, SIZE = 5.0, (768, 432)  # detections a second and frame size of the figure "streams per core"
WAYS: dict[str, MotionParams | None] = {"every frame": None, "gated": MotionParams(detect_fps=RATE)}
BUSY = MotionParams(detect_fps=RATE, floor_fps=1000.0)  # every frame that is left at this rate


@dataclass(slots=True)
class Tally:
    """What one way took over some clips."""

    cpu_s: float = 0.0
    video_s: float = 0.0
    frames: int = 0
    looks: int = 0
    parts: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    alarms: list[Alarm] = field(default_factory=list)


def watch(clips: Sequence[Path], detector: Detector, motion: MotionParams | None) -> Tally:
    """Take each clip through a pipeline of its own; decoding counts as the time between asking and having a frame."""
    tally = Tally()
    rules = Site.default(detector.classes)
    for path in clips:
        pipeline = CameraPipeline(path.stem, detector, rules.camera(path.stem), motion, clock=time.process_time)
        began = mark = time.process_time()
        events, times = [], [0.0]
        for frame in open_source(str(path), fps=motion.detect_fps if motion else 0).frames():
            it = pipeline.step(frame, time.process_time() - mark)
            events += it.events
            times.append(it.timestamp_s)
            tally.frames += 1
            tally.looks += it.detected
            for part, seconds in it.seconds.items():
                tally.parts[part] += seconds
            mark = time.process_time()
        events += pipeline.close()
        tally.cpu_s += time.process_time() - began
        tally.video_s += times[-1] + times[-1] - times[-2]
        ended = [it for it in events if it.alarm and it.end_s is not None]
        tally.alarms += [
            Alarm(it.camera, it.label, it.start_s, it.end_s or it.start_s, it.zone, it.confirmed_s, it.score)
            for it in ended
        ]
    return tally


def truth_of(clips: Sequence[Path], folder: Path, classes: Sequence[str]) -> tuple[TruthEvent, ...]:
    """The events of the clips of classes that the model knows; one for all who are there at once, as alarms are."""
    events = [event for path in clips for event in read_events(folder / f"{path.stem}.json") if event.label in classes]
    return incidents(events, max(GRACE_S, Rules().cooldown_s))


def judged(tally: Tally, events: Sequence[TruthEvent], cameras: Sequence[str]) -> Figures:
    return figures(
        score(events, tally.alarms, dict.fromkeys(cameras, tally.video_s / 3600 / len(cameras)), TOLERANCE_S)
    )


def size_of(path: Path) -> tuple[int, int]:
    return next(iter(open_source(str(path)).frames())).size


def tell(name: str, tally: Tally, it: Figures) -> None:
    spent = ", ".join(f"{part} {seconds:.2f}" for part, seconds in tally.parts.items())
    print(f"  {name}: {tally.cpu_s:.2f} CPU s for {tally.frames} frames, {tally.looks} detections ({spent})")
    print(f"    {it.found} of {it.events} events found, {it.false} false alarms, {it.duplicates} duplicates")


def tell_streams(name: str, parts: Mapping[str, float], looks: float) -> None:
    """Parts are CPU seconds a second of video, looks those in it."""
    cost = sum(parts.values())
    share = ", ".join(f"{part} {100 * seconds / cost:.0f} %" for part, seconds in parts.items())
    print(f"  {name}: {looks:.1f} detections/s, {100 * cost:.2f} % of a core a stream, {1 / cost:.0f} streams per core")
    print(f"    ({share})")


def busy(tally: Tally) -> dict[str, float]:
    """The parts of a second of video with exactly `RATE` looks."""
    each = {part: seconds / tally.video_s for part, seconds in tally.parts.items()}
    return each | {part: RATE * tally.parts[part] / tally.looks for part in ("detection", "tracking")}


def bar(text: str, value: float, least: float) -> bool:
    print(f"  {text}: {value:.3g} (asked: at least {least:g}): {'reached' if value >= least else 'NOT reached'}")
    return value >= least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--artifact", default="")
    parser.add_argument("--clips", type=Path, default=CLIPS)
    parser.add_argument("--events", type=Path, help="default: events/ beside the clips")
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    session = open_session(args.model, args.artifact, threads=1)
    detector = detector_of(session)
    clips = sorted(args.clips.glob("*.mp4"))
    events = truth_of(clips, args.events or args.clips.parent / "events", detector.classes)
    large = [path for path in clips if size_of(path) == SIZE]
    watch(clips[:1], detector, None)  # what is made at first use
    turns: dict[str, list[Tally]] = {name: [] for name in (*WAYS, "busy", "gated, large")}
    for _ in range(args.turns):
        for name, motion in WAYS.items():
            turns[name].append(watch(clips, detector, motion))
        turns["busy"].append(watch(large, detector, BUSY))
        turns["gated, large"].append(watch(large, detector, WAYS["gated"]))
    taken = {name: sorted(tallies, key=lambda it: it.cpu_s)[len(tallies) // 2] for name, tallies in turns.items()}
    found = {name: judged(taken[name], events, [path.stem for path in clips]) for name in WAYS}
    print(f"{session.contract.model}, {session.artifact}: {session.chosen}; {this_machine().cores} cores, 1 used")
    for name in WAYS:
        tell(name, taken[name], found[name])
    print(f"  a camera of {SIZE[0]} x {SIZE[1]}, clips {', '.join(path.stem for path in large)}:")
    large_gated = taken["gated, large"]
    tell_streams("busy", busy(taken["busy"]), RATE)
    parts = {part: seconds / large_gated.video_s for part, seconds in large_gated.parts.items()}
    tell_streams("gated", parts, large_gated.looks / large_gated.video_s)
    saved = [every.cpu_s / gated.cpu_s for every, gated in zip(turns["every frame"], turns["gated"], strict=True)]
    kept = found["gated"].found / max(1, found["every frame"].found)
    good = [
        bar("times less CPU, median over the turns", statistics.median(saved), LEAST_SAVED),
        bar("of the events that every frame finds", kept, LEAST_RECALL),
    ]
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
