"""Which labels should people look at again? Boxes on which the model and the annotators disagree, worst first.

The three kinds are those of ObjectLab (Tkachenko, Thyagarajan and Mueller 2023, arXiv 2309.00832): overlooked, swapped,
badly located. Which of them a disagreement is follows from overlap and class, as the errors of TIDE do (Bolya et al.
2020). A disagreement is no proof: the model errs as well, and its score is no probability. Look before you correct.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from pipeline.core.boxes import iou, nms
from pipeline.core.matching import Floats, Indices, Mask, Matches, greedy, match
from pipeline.core.types import Detections, Truth

NEAR = 0.1  # boxes that overlap less are of different things; TIDE's bound between bad place and background
TIGHT = 0.7  # boxes that overlap more differ by no more than people do among themselves

Corners = tuple[float, float, float, float]


class Kind(StrEnum):
    """What may be wrong with a label."""

    MISSING_LABEL = "missing_label"  # the model sees something where people drew nothing
    WRONG_CLASS = "wrong_class"  # the model names the same box otherwise
    LOOSE_BOX = "loose_box"  # the model names it alike and draws it elsewhere


@dataclass(frozen=True, slots=True)
class Issue:
    """One disagreement. Boxes are pixel xyxy, labels index into the classes."""

    frame_id: str
    kind: Kind
    suspicion: float  # 0..1, see `frame_issues`
    label: int  # what the model says
    score: float
    box: Corners  # the model's
    human_label: int | None = None  # None, as what follows, for a missing label
    human_box: Corners | None = None
    iou: float | None = None  # of the two boxes


def label_issues(
    frame_ids: Sequence[str],
    truths: Sequence[Truth],
    found: Sequence[Detections],
    thresholds: Floats,
    match_iou: float,
) -> list[Issue]:
    """The issues of many frames, the most suspect first; ties in the order of frame, then box.

    Args:
        frame_ids: one a frame.
        truths: what people say is in each.
        found: what a model that did not learn from these frames found in each.
        thresholds: (C,) operating threshold by class; detections below are no evidence against people.
        match_iou: two boxes are one object from this IoU on.
    """
    issues = [
        issue
        for frame_id, truth, detections in zip(frame_ids, truths, found, strict=True)
        for issue in frame_issues(frame_id, truth, detections, thresholds, match_iou)
    ]
    return sorted(issues, key=lambda issue: (-issue.suspicion, issue.frame_id, issue.box, issue.label))


def frame_issues(frame_id: str, truth: Truth, found: Detections, thresholds: Floats, match_iou: float) -> list[Issue]:
    """The issues of one frame: at most one a detection, and at most one a human box.

    A detection that found its object (its class, IoU from `match_iou` on), lies in an ignore region, or doubles another
    one on a human box is explained. Of the others, and with s the score:

    - `wrong_class`: overlaps a box of another class from `match_iou` on, and scores higher than b, the score of the
      model's own detection of the human class there (0 where there is none). Suspicion s * IoU * (1 - b).
    - `loose_box`: overlaps a box of its class, from 0.1 on and below 0.7. Suspicion s * (1 - IoU).
    - `missing_label`: anything else; of several on one place the best. Suspicion s * (1 - the greatest IoU with any
      human box).

    Args:
        frame_id: of the frame.
        truth: what people say.
        found: what the model found.
        thresholds: (C,) operating threshold by class.
        match_iou: two boxes are one object from this IoU on.
    """
    view = _compare(truth, found, thresholds, match_iou)
    swapped = view.swapped()
    misplaced = view.misplaced(swapped)
    pairs = [(Kind.WRONG_CLASS, swapped), (Kind.LOOSE_BOX, misplaced)]
    beside = [
        _issue(frame_id, kind, view, int(d), int(other[d])) for kind, other in pairs for d in np.flatnonzero(other >= 0)
    ]
    return beside + [_issue(frame_id, Kind.MISSING_LABEL, view, int(d), -1) for d in view.overlooked(misplaced)]


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """Model and people side by side in one frame. N = number of detections, M = number of truths."""

    truth: Truth
    found: Detections
    own: Matches  # within a class
    overlap: Floats  # (N, M) IoU, 0 with ignore regions
    kept: Mask  # (N,) at or above the operating threshold
    match_iou: float

    def same(self) -> Mask:
        """Which detections and truths (N, M) have one class."""
        return np.asarray(self.found.labels[:, None] == self.truth.labels[None, :])

    def free(self) -> Mask:
        """Detections (N,) at the operating point that neither found their object nor lie in an ignore region."""
        return self.kept & (self.own.truth < 0) & ~self.own.ignored

    def backing(self) -> Floats:
        """Score of the detection that found each truth, (M,), 0 where there is none; its threshold does not count."""
        return np.append(self.found.scores, np.float32(0))[self.own.detection].astype(np.float64)

    def swapped(self) -> Indices:
        """The human box, (N,), whose class each free detection denies; -1 for none."""
        stronger = self.found.scores[:, None] > self.backing()[None, :]
        rivals = ~self.same() & self.free()[:, None] & stronger
        return greedy(np.where(rivals, self.overlap, 0.0), self.found.scores, self.match_iou)[0]

    def misplaced(self, swapped: Indices) -> Indices:
        """The human box of its class, (N,), that each detection places otherwise; -1 for none."""
        own = np.where(self.kept, self.own.truth, -1)
        settled = np.isin(np.arange(len(self.truth)), np.append(own, swapped))
        open_pairs = self.same() & self.unclaimed()[:, None] & ~settled[None, :]
        near = greedy(np.where(open_pairs, self.overlap, 0.0), self.found.scores, NEAR)[0]
        truth = np.where(own >= 0, own, near)
        denied = np.isin(truth, swapped[swapped >= 0])
        return np.where(denied | (_at(self.overlap, truth) >= TIGHT), -1, truth)

    def unclaimed(self) -> Mask:
        """Free detections (N,) that are on no human box of any class."""
        return self.free() & ~(self.overlap >= min(self.match_iou, TIGHT)).any(axis=1)

    def overlooked(self, misplaced: Indices) -> Indices:
        """Detections that nothing explains, the best of each place."""
        left = np.flatnonzero(self.unclaimed() & (misplaced < 0))
        return left[nms(self.found.boxes[left], self.found.scores[left], self.match_iou)]


def _compare(truth: Truth, found: Detections, thresholds: Floats, match_iou: float) -> _View:
    overlap = np.where(truth.ignore[None, :], 0.0, iou(found.boxes, truth.boxes))
    kept = found.scores >= thresholds[found.labels]
    return _View(truth, found, match(truth, found, match_iou), overlap, kept, match_iou)


def _at(overlap: Floats, truth: Indices) -> Floats:
    """Overlap (N,) of each detection with its truth, 0 for none."""
    padded = np.hstack([overlap, np.zeros((len(overlap), 1))])
    return np.asarray(padded[np.arange(len(overlap)), truth])


def _issue(frame_id: str, kind: Kind, view: _View, d: int, t: int) -> Issue:
    """Detection `d` against the human box `t`, -1 for none."""
    found, truth, score = view.found, view.truth, float(view.found.scores[d])
    label, box = int(found.labels[d]), _corners(found.boxes[d])
    if t < 0:
        return Issue(frame_id, kind, score * (1 - float(view.overlap[d].max(initial=0.0))), label, score, box)
    shared = float(view.overlap[d, t])
    doubt = shared * (1 - float(view.backing()[t])) if kind is Kind.WRONG_CLASS else 1 - shared
    return Issue(
        frame_id, kind, score * doubt, label, score, box, int(truth.labels[t]), _corners(truth.boxes[t]), shared
    )


def _corners(box: NDArray[np.float32]) -> Corners:
    left, top, right, bottom = (float(value) for value in box)
    return left, top, right, bottom
