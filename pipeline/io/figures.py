"""Figures as PNG bytes: same figures, same bytes (no date, no version, one font, no screen)."""

import functools
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

P = ParamSpec("P")
DPI = 120
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito: safe for colour-blind eyes
INK, GRID = "#222222", "#DDDDDD"
MOST_GROUPS = 60  # rows that are still readable in one figure


def _plain(draw: Callable[P, bytes]) -> Callable[P, bytes]:
    """Draw in matplotlib's default style, whatever the user has chosen."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> bytes:
        with style.context("default"):
            return draw(*args, **kwargs)

    return drawn


@_plain
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
    return _png(figure)


@_plain
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
    return _png(figure)


@_plain
def iou_histogram(edges: NDArray[np.float64], counts: NDArray[np.int64], mean: float | None) -> bytes:
    """How well matched boxes fit. `edges` has one value more than `counts`."""
    figure, axes = _axes(6.4, 3.6, "IoU with the annotated box", "Objects", "Matched boxes at the operating point")
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=COLORS[0], edgecolor="white")
    if mean is not None:
        axes.axvline(mean, color=COLORS[1], lw=2, label=f"mean {mean:.3f}")
        axes.legend(loc="upper left", frameon=False)
    axes.set_xlim(float(edges[0]), float(edges[-1]))
    return _png(figure)


@_plain
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
    return _png(figure)


def _axes(width: float, height: float, x: str, y: str, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.set_title(title, color=INK, fontsize=11, loc="left")
    axes.grid(color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
