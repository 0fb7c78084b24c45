import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from pipeline.io.plots import dress, plain, png


@plain
def line() -> bytes:
    figure = Figure()
    axes = figure.add_subplot()
    axes.plot(np.arange(3))
    dress(axes, "x", "y", "title")
    return png(figure)


def test_the_users_style_changes_nothing() -> None:
    before = line()
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30}):
        assert line() == before


def test_no_trace_of_time_and_version() -> None:
    data = line()
    assert data.startswith(b"\x89PNG")
    assert b"tEXt" not in data
    assert b"tIME" not in data
