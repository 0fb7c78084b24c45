"""How every figure is drawn: same figures, same bytes (no date, no version, one font, no screen)."""

import functools
import io
from collections.abc import Callable
from typing import ParamSpec

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

P = ParamSpec("P")
DPI = 120
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito: safe for colour-blind eyes
INK, GRID = "#222222", "#DDDDDD"


def plain(draw: Callable[P, bytes]) -> Callable[P, bytes]:
    """Draw in matplotlib's default style, whatever the user has chosen."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> bytes:
        with style.context("default"):
            return draw(*args, **kwargs)

    return drawn


def dress(axes: Axes, x: str, y: str, title: str) -> None:
    """Labels, a quiet grid, and no frame."""
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.set_title(title, color=INK, fontsize=11, loc="left")
    axes.grid(color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def png(figure: Figure) -> bytes:
    """The figure as PNG, without a trace of time or version."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
