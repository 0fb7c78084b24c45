"""The figure of what a detector sees: its levels' fields against the objects to be found."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from pipeline.io.plots import COLORS, DPI, INK, dress, plain, png

POINTS = 2000  # of a class: more hide one another
LINES = ("-", "--", "-.", ":")


@plain
def fields(
    sizes: Mapping[str, NDArray[np.float64]],
    levels: Sequence[tuple[str, float, tuple[int, int]]],
    size: tuple[int, int],
) -> bytes:
    """Objects by width and height, and the receptive field of each level as a corner: what lies in it is seen whole.

    Args:
        sizes: by class, (N, 2) width and height of objects, input pixels.
        levels: label, side of the effective receptive field, and width and height of the whole one, input pixels.
        size: width and height of the input, pixels.
    """
    figure = Figure(figsize=(8.0, 6.2), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    dress(axes, "Width, input pixels", "Height, input pixels", "Objects to be found, and what the levels see of them")
    for (name, boxes), color in zip(sizes.items(), COLORS * len(sizes), strict=False):
        shown = boxes[:: max(1, -(-len(boxes) // POINTS))]
        axes.scatter(shown[:, 0], shown[:, 1], s=14, color=color, alpha=0.45, lw=0, label=f"{name} ({len(boxes)})")
    for i, (name, reach, whole) in enumerate(levels):
        style, shade = LINES[i % len(LINES)], str(0.55 * i / max(1, len(levels) - 1))
        axes.add_patch(Rectangle((0.1, 0.1), reach, reach, fill=False, ec=shade, lw=1.6, ls=style))
        side = "whole input" if whole >= size else f"{whole[0]} x {whole[1]} at most" if any(whole) else "not measured"
        axes.plot([], [], color=shade, lw=1.6, ls=style, label=f"{name}: {reach:.0f} px effective, {side}")
    least = min([4.0, *(float(boxes.min()) for boxes in sizes.values() if len(boxes))])
    axes.set(xscale="log", yscale="log", xlim=(max(1.0, least), size[0] * 1.1), ylim=(max(1.0, least), size[1] * 1.1))
    ticks = [tick for tick in (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024) if tick >= least]
    for axis, limit in ((axes.xaxis, size[0]), (axes.yaxis, size[1])):
        axis.set_ticks([t for t in ticks if t <= limit], [str(t) for t in ticks if t <= limit])
    axes.minorticks_off()
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8, labelcolor=INK)
    return png(figure)
