"""What stage `fieldtest` leaves of two cameras, as it writes it: figures by its own code, the rest by hand."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from pipeline.core.events import Alarm, TruthEvent, operating_curve, score
from pipeline.core.field_figures import curve, overall

TRACKING = {
    "hota": 0.612, "deta": 0.58, "assa": 0.65, "loca": 0.9, "idf1": 0.7, "mota": 0.5, "switches": 3,
    "fragmentations": 4, "tracks": 12,
}  # fmt: skip
FINDING = {
    "kind": "defocused",
    "start_s": 31.5,
    "end_s": None,
    "severity": 0.42,
    "detail": "edges lost 60%",
    "picture": "health/1-0-defocused.jpg",
}
NOTHING = overall(score([], [], {}, 1.0)) | {
    "target": "cpu", "artifact": "int8", "weights": "ef" * 32, "watched": [], "left_out": {},
    "curve": curve(operating_curve([], {0.5: []}, {}, 1.0)), "tracking": None, "health": [], "drift": [],
    "cases": [],
}  # fmt: skip


def tried(camera: str) -> dict[str, Any]:
    """fieldtest.json: two of three events found and one false alarm in half an hour; nothing asked of the yard."""
    events = [TruthEvent(camera, "person", start, start + 10, "door", "night") for start in (60, 120, 180)]
    alarms = [Alarm(camera, "person", at, at + 9, "door", at + 0.8, 0.9) for at in (60, 180, 1500)]
    hours = {camera: 0.5, "yard": 0.25}
    points = operating_curve(events, {0.4: alarms, 0.8: alarms[:1]}, hours, 1.0)
    return NOTHING | overall(score(events, alarms, hours, 1.0)) | {
        "watched": [
            {"camera": name, "footage": f"{name}.mp4", "start_s": 20.0, "end_s": 1820.0, "frames": 18000,
             "frames_detected": 2345}
            for name in (camera, "yard")
        ],
        "left_out": {"old.mp4": "broken video: no frame"},
        "curve": curve(points),
        "tracking": TRACKING | {"camera": {camera: TRACKING}},
        "health": [
            {"camera": camera, "footage": f"{camera}.mp4", "clip": camera, "judged": True, "findings": [FINDING]},
            {"camera": "gate", "footage": "gate.mp4", "clip": "gate", "judged": True, "findings": []},
            {"camera": "yard", "footage": "yard.mp4", "clip": "yard", "judged": False, "findings": []},
        ],
        "drift": [
            {"camera": camera, "footage": f"{camera}.mp4", "result": "drift", "reason": "confidence fell: delta -0.61"},
            {"camera": "yard", "footage": "yard.mp4", "result": "not assessable", "reason": "1 block of 60 s"},
        ],
        "cases": [
            case("missed", 1, 120.0, 130.0, None) | {"camera": camera, "footage": f"{camera}.mp4"},
            case("false alarm", 2, 1500.0, 1509.0, 0.9) | {"camera": camera, "footage": f"{camera}.mp4"},
        ],
    }  # fmt: skip


def case(kind: str, number: int, start_s: float, end_s: float, score: float | None) -> dict[str, Any]:
    name = f"clips/{number:02d}-{kind.replace(' ', '-')}"
    files = {"clip": f"{name}.mp4", "still": f"{name}.jpg"}
    return {"kind": kind, "label": "person", "zone": "door", "start_s": start_s, "end_s": end_s, "score": score} | files


def write_clips(folder: Path, found: dict[str, Any]) -> None:
    """A second of grey growing brighter as H.264 in MP4, and a still, for each case; a picture for each finding."""
    still = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
    for name in ("clips", "health"):
        (folder / name).mkdir(parents=True)
    for it in found["cases"]:
        (folder / it["still"]).write_bytes(still)
        write_clip(folder / it["clip"])
    for finding in (finding for it in found["health"] for finding in it["findings"]):
        (folder / finding["picture"]).write_bytes(still)


def write_clip(path: Path) -> None:
    """Ten frames, 64 x 48."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 64, 48, "yuv420p", Fraction(1, 10)
        for n in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 25 * n, np.uint8), format="rgb24")
            frame.pts = n
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
