"""Runs norfair's tracker on detections, in an environment of its own: `norfair_peer.py` makes it and calls this.

Each line on stdin is a piece of work: {"sequences": [[[[left, top, right, bottom, score, label], ...] a frame], ...],
"settings": {...}}. Each line on stdout is its answer: {"tracks": the same with [left, top, right, bottom, id, label],
"seconds": those spent in the tracker's own calls}.
"""

import json
import sys
import time
from typing import Any

import numpy as np
from norfair import Detection, Tracker
from norfair.filter import FilterPyKalmanFilterFactory, OptimizedKalmanFilterFactory

FILTERS = {"optimized": OptimizedKalmanFilterFactory, "filterpy": FilterPyKalmanFilterFactory}


def follow(frames: list[list[list[float]]], settings: dict[str, Any]) -> tuple[list[list[list[float]]], float]:
    """The tracks in each frame, and the seconds that they took."""
    own = dict(settings)
    live_only, score = own.pop("live_only"), own.pop("score")
    tracker = Tracker(distance_function="iou", filter_factory=FILTERS[own.pop("filter")](R=own.pop("R")), **own)
    seconds, told = 0.0, []
    for rows in frames:
        points = [(np.array(row[:4]).reshape(2, 2), row[4], int(row[5])) for row in rows if row[4] >= score]
        start = time.perf_counter()
        found = [Detection(points=it, scores=np.array([s, s]), label=label) for it, s, label in points]
        tracks = tracker.update(detections=found)
        seconds += time.perf_counter() - start
        kept = [it for it in tracks if not live_only or it.last_detection in found]
        told.append([[*it.estimate.ravel().tolist(), it.id, it.label] for it in kept])
    return told, seconds


def main() -> None:
    for line in sys.stdin:
        work = json.loads(line)
        runs = [follow(frames, work["settings"]) for frames in work["sequences"]]
        print(json.dumps({"tracks": [told for told, _ in runs], "seconds": sum(it for _, it in runs)}), flush=True)


if __name__ == "__main__":
    main()
