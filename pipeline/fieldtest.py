"""What would the operator have seen?

Tries the artifact that ships on held-out footage, as a camera would run it: motion gate, detector, tracker, alarms.
Reads the clips, their events and tracks and the site's rules from --footage, the model from --export, and which
stretches no training has seen from --frames, --annotations and --splits. Writes to --out: fieldtest.json (event recall,
false alarms an hour and time to detect with exact intervals; tracking; camera health and drift), curve.csv (missed
against false alarms by operating threshold), a clip and a still of missed events and alarms, and a picture of what was
found wrong with a camera. Footage that is missing or too short is no failure: the report says what cannot be assessed.
"""

import csv
import io
import math
from argparse import Namespace
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core import field_figures
from pipeline.core.errors import DataError
from pipeline.core.event_truth import TINY, Truth, from_tracks
from pipeline.core.events import Mark, TruthEvent
from pipeline.core.footage import held_out
from pipeline.core.parallel import map_ordered
from pipeline.core.params import ComputeParams, FieldtestParams
from pipeline.core.progress import progress
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.core.tracks import Identified
from pipeline.core.types import Annotation, Frame
from pipeline.io.files import whole_folder, write_bytes, write_json
from pipeline.io.formats.events import read_events
from pipeline.io.formats.mot import NO_CLASS, read_mot
from pipeline.io.images import encode_jpeg
from pipeline.io.tables import read_annotations, read_frames, read_splits
from pipeline.runtime.alarms import GRACE_S
from pipeline.runtime.clips import write_timed_clip
from pipeline.runtime.contract import CONTRACT, Contract
from pipeline.runtime.health import HealthFinding
from pipeline.runtime.recording import Replay, replay
from pipeline.runtime.session import open_session
from pipeline.runtime.site import SITE, Site, read_site
from pipeline.runtime.tracking import Track
from pipeline.runtime.trial import Setting, Take, Trial, Tried, between, curve, drifted, tracking, trial, try_take
from pipeline.runtime.video import SUFFIXES
from pipeline.vision.before_after import before_after
from pipeline.vision.draw import caption, draw_boxes

GREEN, ORANGE = (0, 158, 115), (230, 159, 0)  # RGB, told apart by colour-blind eyes
WIDTH = 480  # pixels of a clip
SETTLED_S = 1.0  # after a finding's begin, when what is wrong can be seen
QUALITY = 85  # of a still, JPEG's 0..100

Image = NDArray[np.uint8]
Values = dict[str, Any]


def takes(args: Namespace, setting: Setting) -> tuple[list[Take], dict[str, str]]:
    """The clips that can be tried, and why others cannot, by file name.

    Raises:
        DataError: a file of events or tracks is not as it must be.
    """
    ingested: dict[str, list[Frame]] = {}
    for frame in read_frames(args.frames / "frames.parquet"):
        if frame.usable:
            ingested.setdefault(frame.clip, []).append(frame)
    splits = {it.frame_id: it.split for it in read_splits(args.splits / "splits.parquet")}
    labels: dict[str, list[Annotation]] = {frame_id: [] for frame_id in splits}
    for annotation in read_annotations(args.annotations / "annotations.parquet"):
        labels.setdefault(annotation.frame_id, []).append(annotation)
    found, left_out = [], {}
    for path in _clips(args.footage / "clips"):
        name = path.relative_to(args.footage / "clips")
        clip = name.with_suffix("").as_posix()
        frames = ingested.get(clip, [])
        stretches = held_out(clip, frames, splits)
        truth = _truth(args.footage / "events" / f"{clip}.json", frames, labels, setting)
        if truth is None:
            left_out[name.as_posix()] = "no events: neither a file of them, nor tracks in its annotations"
        elif not stretches:
            left_out[name.as_posix()] = "nothing of it is held out: no frame of it is in the benchmark split"
        else:
            camera = stretches[0].camera
            tracks = _tracks(args.footage / "tracks" / f"{clip}.txt", len(setting.classes))
            found.append(Take(path, name.as_posix(), camera, tuple(stretches), _of_camera(truth, camera), tracks))
    return found, left_out


def _clips(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def _truth(
    events: Path, frames: Sequence[Frame], labels: Mapping[str, Sequence[Annotation]], setting: Setting
) -> Truth | None:
    """Events of the file, or of the annotated tracks; moments under ignore regions come from the annotations.

    Before the first and after the last annotated frame nobody has said what happens, so nothing is asked there.
    """
    classes = setting.classes
    marked = [frame for frame in frames if frame.frame_id in labels]
    regions = {frame.frame_id: [it for it in labels[frame.frame_id] if it.ignore] for frame in marked}
    ignored = from_tracks(marked, regions, classes, 0.0).ignored
    if events.is_file():
        return Truth(tuple(it for it in read_events(events) if it.label in classes), ignored)
    objects = [it for frame in marked for it in labels[frame.frame_id] if not it.ignore]
    if not marked or not all(it.track_id for it in objects):
        return None
    times = [frame.timestamp_s or 0.0 for frame in marked]
    unknown = (TruthEvent("", "", -math.inf, min(times)), TruthEvent("", "", max(times), math.inf))
    found = from_tracks(marked, labels, classes, GRACE_S, setting.places)
    return Truth(found.events, (*ignored, *unknown))


def _of_camera(truth: Truth, camera: str) -> Truth:
    """The truth under the camera's name; a file of events bears the clip's."""
    events, ignored = (tuple(replace(it, camera=camera) for it in some) for some in (truth.events, truth.ignored))
    return Truth(events, ignored)


def _tracks(path: Path, classes: int) -> tuple[tuple[Identified, ...], ...]:
    """True boxes with ids, of each class in each frame; none where there is no file.

    Raises:
        DataError: the file is none of tracks, or its lines name no class.
    """
    if not path.is_file():
        return ()
    rows = read_mot(path)
    if (rows.labels == NO_CLASS).any():
        raise DataError(f"{path}: a line has no class; give frame,id,left,top,width,height,1,class,visibility")
    count = int(rows.frame.max(initial=0))
    considered = [rows.where((rows.labels == label + 1) & (rows.confidence > 0)) for label in range(classes)]
    return tuple(tuple(it.frames(count)) for it in considered)


def attempt(take: Take, setting: Setting) -> list[Tried] | str:
    """Every stretch of a clip, looked at, or why it could not be. A model that does not run is no fault of the clip."""
    session = open_session(setting.model, threads=1)
    try:
        return try_take(take, session, setting)
    except DataError as problem:
        return str(problem)


@dataclass(frozen=True, slots=True)
class Case:
    """A missed event or an alarm, in its clip's seconds."""

    kind: str  # missed, false alarm, found
    stretch: int  # of the trial
    label: str
    zone: str
    start_s: float
    end_s: float
    score: float | None  # of an alarm


def cases(it: Trial) -> list[Case]:
    """Missed events and false alarms in turn, then true alarms; each kind in order of camera and time."""
    missed = [
        Case("missed", i, event.label, event.zone, event.start_s - it.shift_s[i], event.end_s - it.shift_s[i], None)
        for event, by, i in zip(it.scored.events, it.scored.found_by, it.event_of, strict=True)
        if by < 0
    ]
    pairs = zip_longest(missed, _raised(it, Mark.FALSE, "false alarm"))
    return [case for case in chain.from_iterable(pairs) if case is not None] + _raised(it, Mark.TRUE, "found")


def _raised(it: Trial, mark: Mark, kind: str) -> list[Case]:
    return [
        Case(kind, i, a.label, a.zone, a.start_s - it.shift_s[i], a.end_s - it.shift_s[i], a.score)
        for a, judged, i in zip(it.scored.alarms, it.scored.marks, it.alarm_of, strict=True)
        if judged is mark
    ]


def show(
    case: Case, it: Tried, told: Replay, p: FieldtestParams, classes: Sequence[str]
) -> Iterator[tuple[float, Image]]:
    """Seconds and picture of a case's clip: what was followed in orange, what is true in green."""
    times = [look.timestamp_s for look in it.recording.looks]
    start = _shown(times, case.start_s - p.margin_s)
    end = _shown(times, min(case.end_s + p.margin_s, start + p.max_clip_s))
    followed = {look.index: tracks for look, tracks in zip(it.recording.looks, told.tracks, strict=True)}
    latest: Sequence[Track] = ()
    for frame in between(it.take.path, start, end):
        canvas = frame.rgb()
        for label, frames in enumerate(it.take.tracks):
            if frame.index < len(frames):
                true = frames[frame.index].boxes
                canvas = draw_boxes(canvas, true, [classes[label]] * len(true), GREEN)
        latest = followed.get(frame.index, latest)  # as it stands until the next look
        tracks = [track for track in latest if track.confirmed]
        words = [f"{classes[track.label]} {track.score:.2f}" for track in tracks]
        canvas = draw_boxes(canvas, np.array([track.box for track in tracks]).reshape(-1, 4), words, ORANGE)
        yield frame.timestamp_s, canvas


def _shown(times: Sequence[float], at_s: float) -> float:
    """The time of the frame that is seen at a moment: the latest one before it, or the first of all."""
    return times[max(0, bisect_right(times, at_s + TINY) - 1)]


def write_case(out: Path, number: int, case: Case, whole: Trial, told: Replay, setting: Setting) -> Values:
    """Write a case's clip and still; what the report says of it. Sides are even, as the codec asks."""
    it = whole.tried[case.stretch]
    shots = [(at, _scaled(image)) for at, image in show(case, it, told, setting.p, setting.classes)]
    name = f"{number:02d}-{case.kind.replace(' ', '-')}-{it.take.camera}-{case.label or 'motion'}"
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    middle = (case.start_s + case.end_s) / 2 if case.kind == "missed" else case.start_s
    still = min(shots, key=lambda shot: abs(shot[0] - middle))[1]
    rate = (len(shots) - 1) / (shots[-1][0] - shots[0][0]) if len(shots) > 1 else 1.0
    write_timed_clip(out / "clips" / f"{name}.mp4", shots, rate)
    write_bytes(out / "clips" / f"{name}.jpg", encode_jpeg(caption(still, f"{case.kind}: {case.label}"), QUALITY))
    values = {key: value for key, value in asdict(case).items() if key != "stretch"}
    files = {"clip": f"clips/{name}.mp4", "still": f"clips/{name}.jpg"}
    return values | {"camera": it.take.camera, "footage": it.take.name} | files


def _scaled(image: Image) -> Image:
    height = round(image.shape[0] * WIDTH / image.shape[1] / 2) * 2
    return np.asarray(cv2.resize(image, (WIDTH, max(2, height)), interpolation=cv2.INTER_AREA), np.uint8)


def write_cases(out: Path, whole: Trial, setting: Setting, thresholds: Mapping[str, float]) -> list[Values]:
    """A clip and a still of the first cases, in a folder that is there without a case too."""
    (out / "clips").mkdir()
    chosen = cases(whole)[: setting.p.cases]
    told = {
        i: replay(it.recording, it.take.camera, setting.rules(it.take.camera), setting.classes, thresholds)
        for i, it in enumerate(whole.tried)
        if any(case.stretch == i for case in chosen)
    }
    bar = progress(chosen, desc="fieldtest: clips", unit="clip")
    return [write_case(out, n, case, whole, told[case.stretch], setting) for n, case in enumerate(bar, 1)]


def health(out: Path, whole: Trial) -> list[Values]:
    """What was found wrong with each stretch's camera, each with a picture of before and then."""
    (out / "health").mkdir()
    return [
        {
            "camera": it.take.camera,
            "footage": it.take.name,
            "clip": it.take.stretches[0].clip,
            "judged": it.judged,
            "findings": [
                asdict(finding) | {"picture": _before_after(out, f"{n}-{k}", it, finding)}
                for k, finding in enumerate(it.findings)
            ],
        }
        for n, it in enumerate(whole.tried, 1)
    ]


def _before_after(out: Path, name: str, it: Tried, finding: HealthFinding) -> str:
    """Write the camera as it was and as it is when a finding has begun; the file's name."""
    looks = [*it.recording.before, *it.recording.looks]
    then = _shown([look.timestamp_s for look in looks], finding.start_s + SETTLED_S)
    pictures = [next(between(it.take.path, at, at)).rgb() for at in (looks[0].timestamp_s, then)]
    file = f"health/{name}-{finding.kind.replace(' ', '-')}.jpg"
    write_bytes(out / file, encode_jpeg(before_after(pictures[0], pictures[1]), QUALITY))
    return file


def drifts(whole: Trial, thresholds: NDArray[np.float64]) -> list[Values]:
    """Whether the detector says something else in each stretch than before it, while the camera is sound."""
    told = ((it, drifted(it, thresholds)) for it in whole.tried)
    return [{"camera": it.take.camera, "footage": it.take.name} | asdict(found) for it, found in told]


def watched(whole: Trial) -> list[Values]:
    """What was looked at."""
    return [
        {
            "camera": it.take.camera,
            "footage": it.take.name,
            "start_s": it.segment.start_s,
            "end_s": it.segment.end_s,
            "frames": len(it.recording.looks),
            "frames_detected": sum(look.found is not None for look in it.recording.looks),
        }
        for it in whole.tried
    ]


def figures(out: Path, whole: Trial, setting: Setting, contract: Contract, left_out: Mapping[str, str]) -> Values:
    """fieldtest.json, with the pictures that it names."""
    return {
        **field_figures.overall(whole.scored),
        "watched": watched(whole),
        "left_out": dict(left_out),
        "curve": field_figures.curve(curve(whole, setting)),
        "tracking": tracking(whole),
        "health": health(out, whole),
        "drift": drifts(whole, np.array([contract.thresholds[name] for name in contract.classes])),
        "cases": write_cases(out, whole, setting, contract.thresholds),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """CSV of the curve."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def tried_all(found: Sequence[Take], setting: Setting, left_out: dict[str, str]) -> list[Tried]:
    """Every take's stretches; a clip of which nothing can be judged is added to those left out."""
    workers = ComputeParams.load("compute").workers
    results = map_ordered(partial(attempt, setting=setting), found, workers)
    tried: list[Tried] = []
    for take, result in zip(found, progress(results, desc="fieldtest", total=len(found), unit="clip"), strict=True):
        if isinstance(result, str):
            left_out[take.name] = result
        else:
            tried += result
    return tried


def main(argv: list[str] | None = None) -> None:
    """Run the stage."""
    names = ("footage", "export", "frames", "annotations", "splits", "out")
    args = stage_arguments(__doc__, *names).parse_args(argv)
    p = FieldtestParams.load("fieldtest")
    model = args.export / p.target
    contract = Contract.read(model / CONTRACT)
    site = read_site(args.footage / SITE) if (args.footage / SITE).is_file() else Site.default(contract.classes)
    setting = Setting(model, site, p, contract.classes)
    found, left_out = takes(args, setting)
    site.check(contract.classes, [take.camera for take in found])
    tried = tried_all(found, setting, left_out)
    whole = trial(tried, setting, contract.thresholds)
    about: Values = {"target": p.target, "artifact": contract.default, "weights": contract.weights}
    with whole_folder(args.out) as out:
        values = about | figures(out, whole, setting, contract, left_out)
        write_json(out / "fieldtest.json", values)
        write_bytes(out / "curve.csv", table(values["curve"]))
    summary("fieldtest", told_shortly(values))


def told_shortly(values: Mapping[str, Any]) -> str:
    """The figures that an operator would ask for."""
    if not values["hours"]:
        return "nothing was assessed: no held-out footage with events; see data/fieldtest/README.md"
    rate = values["false_alarms_per_hour"]
    return (
        f"{values['found']} of {values['events']} events found, {values['false_alarms']} false alarms in "
        f"{values['hours'] * 60:.2f} minutes ({rate:.3g} an hour, "
        f"{values['false_alarms_per_hour_low']:.3g} to {values['false_alarms_per_hour_high']:.3g})"
    )


if __name__ == "__main__":
    run(main)
