"""The labels of several splits to look at again, with where they are: the content of label_issues.json."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.core.label_quality import Corners, Issue, Kind, label_issues
from pipeline.core.types import Frame, Sample, Split


@dataclass(frozen=True, slots=True)
class Suspect:
    """A label to look at again, and where it is."""

    issue: Issue
    frame: Frame
    split: Split


def suspects(samples: Mapping[Split, Sample], thresholds: Mapping[str, float], match_iou: float) -> list[Suspect]:
    """Labels on which people and the model disagree, the most suspect first.

    The model has learned from no frame of these splits, so it does not repeat their faults.
    """
    at = np.array([thresholds[name] for name in next(iter(samples.values())).classes])
    home = {frame.frame_id: (frame, split) for split, sample in samples.items() for frame in sample.frames}
    truths = [truth for sample in samples.values() for truth in sample.truths]
    found = [detections for sample in samples.values() for detections in sample.found]
    return [Suspect(issue, *home[issue.frame_id]) for issue in label_issues(list(home), truths, found, at, match_iou)]


def issue_report(found: Sequence[Suspect], samples: Mapping[Split, Sample], most: int) -> dict[str, Any]:
    """The content of label_issues.json: counts of all, and the first `most` of the list."""
    classes = next(iter(samples.values())).classes
    counted = Counter(suspect.issue.kind for suspect in found)
    return {
        "frames": {str(split): len(sample.frames) for split, sample in samples.items()},
        "objects": sum(int((~truth.ignore).sum()) for sample in samples.values() for truth in sample.truths),
        "counts": {str(kind): counted[kind] for kind in Kind},
        "issues": [_issue_row(suspect, classes) for suspect in found[:most]],
    }


def _issue_row(suspect: Suspect, classes: Sequence[str]) -> dict[str, Any]:
    """One issue as plain values; boxes are left, top, width, height in pixels of the upright frame."""
    issue, frame = suspect.issue, suspect.frame
    human = None
    if issue.human_box is not None and issue.human_label is not None:
        human = {"label": classes[issue.human_label], "box": _xywh(issue.human_box)}
    return {
        "frame_id": issue.frame_id,
        "split": str(suspect.split),
        "camera": frame.camera,
        "clip": frame.clip,
        "index": frame.index,
        "kind": str(issue.kind),
        "suspicion": round(issue.suspicion, 4),
        "label": classes[issue.label],
        "score": round(issue.score, 4),
        "box": _xywh(issue.box),
        "human": human,
        "iou": None if issue.iou is None else round(issue.iou, 4),
    }


def _xywh(box: Corners) -> list[float]:
    left, top, right, bottom = (round(value, 2) for value in box)  # the corners: so no side leaves the frame
    return [left, top, round(right - left, 2), round(bottom - top, 2)]
