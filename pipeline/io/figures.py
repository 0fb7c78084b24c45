"""Evaluation's figures as PNG bytes, drawn as `plots` says."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.core.calibration import Reliability
from pipeline.core.diagnosis import AlarmMap
from pipeline.io.plots import COLORS, DPI, GRID, INK, dress, plain, png

HEAT = "autumn_r"  # yellow to red: seen on a pale picture
MOST_GROUPS = 60  # rows that are still readable in one figure
MOST_MAPS = 12  # cameras


@plain
def precision_recall(curves: Mapping[str, NDArray[np.float64]], points: Mapping[str, tuple[float, float]]) -> bytes:
    """Precision over recall.

    Args:
        curves: precision at COCO's 101 recall points, by class.
        points: recall and precision at the operating point, by class.
    """
    figure, axes = _axes(6.4, 4.8, "Recall", "Precision", "Precision and recall at IoU 0.5")
    recalls = np.linspace(0, 1, 101)
    for i, (name, precision) in enumerate(curves.items()):
        color = COLORS[i % len(COLORS)]
        axes.plot(recalls, precision, color=color, lw=2, label=f"{name} (AP50 {precision.mean():.3f})")
        if name in points:
            axes.plot(*points[name], "o", color=color, ms=8, mec="white", mew=1.5, zorder=3, clip_on=False)
    if points:
        axes.plot([], [], "o", color="#777777", ms=8, mec="white", label="operating point")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    if curves:
        axes.legend(loc="lower left", frameon=False)
    return png(figure)


@plain
def confusion(counts: NDArray[np.int64], names: Sequence[str]) -> bytes:
    """Confusion matrix.

    Args:
        counts: (C + 1, C + 1) actual by predicted, the background last.
        names: C + 1 of them.
    """
    n = len(names)
    size = 2.6 + 0.9 * min(n, 12)
    figure, axes = _axes(size + 0.8, size, "Predicted", "Actual", "Confusion at the operating point")
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    share[-1] = 0  # false alarms are shares of nothing
    axes.grid(visible=False)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if share[row, column] > 0.55 else INK
        text = f"{count}\n{share[row, column]:.0%}" if row < n - 1 else f"{count}" if column < n - 1 else ""
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=9)
    axes.set_xticks(range(n), names, rotation=0 if n < 6 else 90)
    axes.set_yticks(range(n), names)
    return png(figure)


@plain
def iou_histogram(edges: NDArray[np.float64], counts: NDArray[np.int64], mean: float | None) -> bytes:
    """How well matched boxes fit. `edges` has one value more than `counts`."""
    figure, axes = _axes(6.4, 3.6, "IoU with the annotated box", "Objects", "Matched boxes at the operating point")
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=COLORS[0], edgecolor="white")
    if mean is not None:
        axes.axvline(mean, color=COLORS[1], lw=2, label=f"mean {mean:.3f}")
        axes.legend(loc="upper left", frameon=False)
    axes.set_xlim(float(edges[0]), float(edges[-1]))
    return png(figure)


@plain
def group_recall(groups: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> bytes:
    """Recall of every assessable group with its 95 % interval.

    Args:
        groups: attribute -> value -> figures, as in groups.json.
    """
    rows = [
        (attribute, value, figures)
        for attribute, values in groups.items()
        for value, figures in values.items()
        if figures["verdict"] == "assessable"
    ][:MOST_GROUPS]
    figure, axes = _axes(7.2, 1.5 + 0.28 * max(len(rows), 1), "Recall, 95 % interval", "", "Recall by group")
    attributes = list(groups)
    for y, (attribute, _, figures) in enumerate(rows):
        color = COLORS[attributes.index(attribute) % len(COLORS)]
        axes.plot([figures["recall_low"], figures["recall_high"]], [y, y], color=color, lw=2, alpha=0.6)
        axes.plot(figures["recall"], y, "o", color=color, ms=6, clip_on=False, zorder=3)
        axes.text(1.02, y, f"n = {figures['objects']}", va="center", color=INK, fontsize=8)
    axes.set_yticks(range(len(rows)), [f"{attribute}: {value}" for attribute, value, _ in rows])
    axes.set(xlim=(0, 1), ylim=(max(len(rows), 1) - 0.5, -0.5))
    return png(figure)


@plain
def error_costs(tide: Mapping[str, Any]) -> bytes:
    """What each of TIDE's errors costs, and all false alarms and all misses beside them; see `core.tide`."""
    counts = tide["count"]
    gains = tide.get("dAP", dict.fromkeys(counts, 0.0))
    figure, axes = _axes(7.2, 3.6, "AP50 to be gained by mending it", "", "What the errors cost (TIDE)")
    for y, (name, gain) in enumerate(gains.items()):
        axes.barh(y, gain, color=COLORS[0] if name in counts else "#999999", height=0.7)
        count = f"  ({counts[name]})" if name in counts else ""
        axes.text(gain, y, f"  {gain:.3f}{count}", va="center", color=INK, fontsize=8)
    axes.set_yticks(range(len(gains)), [name.replace("_", " ") for name in gains])
    axes.set(ylim=(len(gains) - 0.4, -0.6), xlim=(0, max([0.05, *gains.values()]) * 1.2))
    return png(figure)


@plain
def reliability(curves: Mapping[str, tuple[Reliability, Reliability]]) -> bytes:
    """What scores mean, a panel a class: mean IoU over mean score, before and after calibration."""
    names = list(curves) or [""]
    columns = min(len(names), 4)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(0.8 + 3.2 * columns, 0.4 + 3.3 * rows), dpi=DPI, layout="constrained")
    largest = max([1, *(int(part.count.max()) for pair in curves.values() for part in pair)])
    for i, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, i + 1)
        dress(axes, "Score", "Mean IoU with its object, 0 for none", name or "No class has enough detections")
        axes.plot([0, 1], [0, 1], color="#999999", lw=1, ls="--")
        for part, color, when in zip(curves.get(name, ()), COLORS[1::-1], ("as it is", "calibrated"), strict=False):
            axes.plot(part.score, part.gain, color=color, lw=1.5, label=when)
            axes.scatter(part.score, part.gain, 12 + 90 * part.count / largest, color=color, alpha=0.8, lw=0)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        if name:
            axes.legend(loc="upper left", frameon=False, fontsize=8, markerscale=0.5)
    return png(figure)


@plain
def alarm_maps(maps: Sequence[AlarmMap], images: Sequence[NDArray[np.uint8]]) -> bytes:
    """Where false alarms are, a panel a camera: how many touch each cell, over an example frame (H, W, 3) RGB."""
    columns = min(max(len(maps), 1), 3)
    rows = max(1, -(-len(maps) // columns))
    figure = Figure(figsize=(3.1 * columns + 0.7, 2.15 * rows + 0.3), dpi=DPI, layout="constrained")
    most = max([1, *(int(it.cells.max()) for it in maps)])
    panels, drawn = [], None
    for i, (it, image) in enumerate(zip(maps, images, strict=True)):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.set_title(f"{it.camera}: {it.alarms} in {it.frames} frames", color=INK, fontsize=9, loc="left")
        height, width = image.shape[:2]
        axes.imshow(image.mean(axis=2), cmap="gray", vmin=-160, vmax=340)  # pale: the map is what counts
        cells = np.where(it.cells > 0, it.cells.astype(np.float64), np.nan)
        drawn = axes.imshow(cells, cmap=HEAT, vmin=1, vmax=most, alpha=0.55, extent=(0, width, height, 0))
        axes.set(xticks=[], yticks=[])
        panels.append(axes)
    if drawn is not None and most > 1:
        bar = figure.colorbar(drawn, ax=panels, shrink=0.8, label="False alarms that touch the place")
        bar.locator = MaxNLocator(integer=True)
        bar.update_ticks()
    return png(figure)


@plain
def recall_by_height(preconditions: Mapping[str, Any]) -> bytes:
    """Recall by box height with its 95 % band, and the floor asked for; heights not assessed are grey.

    Args:
        preconditions: as in preconditions.json.
    """
    parts = next(it for it in preconditions["conditions"] if it["condition"] == "height")["parts"]
    figure, axes = _axes(7.2, 3.8, "Box height, pixels of the source frame", "Recall", "Recall by box height")
    edges = [part["low"] for part in parts[1:]] or [1.0]
    ends = [edges[0] / 2, *edges, edges[-1] * 2]
    for part, low, high in zip(parts, ends, ends[1:], strict=False):
        middle = (low * high) ** 0.5
        if part["recall"] is None:
            axes.axvspan(low, high, color=GRID, alpha=0.5, lw=0)
            axes.text(middle, 0.5, "not assessed", rotation=90, ha="center", va="center", color="#666666", fontsize=8)
        else:
            axes.fill_between([low, high], part["recall_low"], part["recall_high"], color=COLORS[0], alpha=0.25, lw=0)
            axes.plot([low, high], [part["recall"]] * 2, color=COLORS[0], lw=2)
        axes.text(middle, -0.03, f"n = {part['objects']}", ha="center", va="top", color=INK, fontsize=7)
    floor = preconditions["recall_floor"]
    axes.axhline(floor, color=COLORS[1], lw=1.2, ls="--")
    axes.text(ends[0], floor + 0.01, f" asked for: {floor:g}", color=COLORS[1], fontsize=8, va="bottom")
    axes.set_xscale("log")
    axes.set_xticks(edges, [f"{edge:g}" for edge in edges])
    axes.minorticks_off()
    axes.set(xlim=(ends[0], ends[-1]), ylim=(-0.1, 1.02), yticks=[0, 0.2, 0.4, 0.6, 0.8, 1])
    return png(figure)


def _axes(width: float, height: float, x: str, y: str, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    dress(axes, x, y, title)
    return figure, axes
