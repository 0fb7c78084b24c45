"""How does each annotator work? Boxes drawn, agreement with the others, what only they drew and what they missed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.core.agreement import Version, agreement, match


@dataclass(frozen=True, slots=True)
class Share:
    """One annotator's part in one frame. What compares is None, or 0, where nobody else looked at it."""

    annotator: str
    boxes: int  # ignore regions included
    f1: float | None = None  # of matching with another's boxes, mean over the others
    iou: float | None = None  # of matched boxes, mean over the others; None also where no box matches
    disputed: int = 0  # boxes that nobody else drew
    missed: int = 0  # objects of the consensus that they did not draw


def shares(names: Sequence[str], versions: Sequence[Version], together: Version, min_iou: float) -> tuple[Share, ...]:
    """The parts in one frame of its annotators who have a name, in the order given.

    Args:
        names: one a version; "" for none.
        versions: what each drew.
        together: their consensus.
        min_iou: two boxes are one object from this IoU on.
    """
    return tuple(_share(i, name, versions, together, min_iou) for i, name in enumerate(names) if name)


def _share(i: int, name: str, versions: Sequence[Version], together: Version, min_iou: float) -> Share:
    own, others = versions[i], [*versions[:i], *versions[i + 1 :]]
    if not others:
        return Share(name, len(own))
    compared = [agreed for other in others if (agreed := agreement([own, other], min_iou))]
    shared = {j for other in others for j, _, _ in match(own, other, min_iou)}
    missed = len(together) - len(match(own, together, min_iou))
    f1, iou = _mean(it.f1 for it in compared), _mean(it.iou for it in compared)
    return Share(name, len(own), f1, iou, len(own) - len(shared), missed)


def by_annotator(parts: Iterable[Share]) -> dict[str, dict[str, Any]]:
    """Plain figures by annotator: sums of the counts, and means over the frames that others looked at too.

    `mean_f1` and `mean_iou` are None where there is no such frame; `shared` is the number of them.
    """
    mine: dict[str, list[Share]] = {}
    for part in parts:
        mine.setdefault(part.annotator, []).append(part)
    return {name: _figures(own) for name, own in sorted(mine.items())}


def _figures(parts: Sequence[Share]) -> dict[str, Any]:
    return {
        "tasks": len(parts),
        "shared": sum(part.f1 is not None for part in parts),
        "boxes": sum(part.boxes for part in parts),
        "mean_f1": _mean(part.f1 for part in parts),
        "mean_iou": _mean(part.iou for part in parts),
        "disputed": sum(part.disputed for part in parts),
        "missed": sum(part.missed for part in parts),
    }


def _mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are there; None where none is."""
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None
