"""The figure of robustness: apart from evaluation's, so that a new metric does not run the stage again."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from pipeline.io.plots import COLORS, DPI, INK, dress, plain, png

COLUMNS = 6


@plain
def severity_curves(scores: Mapping[str, Any]) -> bytes:
    """AP and AP50 over severity, a panel a corruption; dashed, what the plain frames give.

    Args:
        scores: as in robustness.json.
    """
    corruptions = scores["corruptions"]
    rows = max(1, -(-len(corruptions) // COLUMNS))
    figure = Figure(figsize=(1.9 * COLUMNS, 0.5 + 1.6 * rows), dpi=DPI, layout="constrained")
    for i, (name, it) in enumerate(corruptions.items()):
        axes = figure.add_subplot(rows, COLUMNS, i + 1)
        dress(axes, "", "", "")
        axes.set_title(name.replace("_", " "), color=INK, fontsize=9, loc="left")
        for key, color in (("AP", COLORS[0]), ("AP50", COLORS[1])):
            points = [(int(severity), values[key]) for severity, values in it["severity"].items() if key in values]
            axes.plot([x for x, _ in points], [y for _, y in points], "o-", color=color, ms=3, lw=1.5, label=key)
            if key in scores["plain"]:
                axes.axhline(scores["plain"][key], color=color, lw=0.8, ls="--")
        axes.set(xlim=(0.7, 5.3), ylim=(0, 1.02), xticks=range(1, 6), yticks=[0, 0.5, 1])
        axes.tick_params(labelsize=7)
    if figure.axes:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False, fontsize=8)
    figure.supxlabel("Severity; dashed: plain frames", color=INK, fontsize=9)
    return png(figure)
