"""Progress: a bar that moves in a terminal, few lines in a log."""

import io

import pytest

from pipeline.core.progress import progress


def written(seconds: int, monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> list[str]:
    """What the bar of as many steps of a second looked like on stderr, one after the other."""
    now = 0.0
    monkeypatch.setattr("tqdm.std.time", lambda: now)
    monkeypatch.setattr("sys.stderr", stderr := io.StringIO())
    monkeypatch.setattr(stderr, "isatty", lambda: terminal)
    for second in progress(range(1, seconds + 1), desc="work"):
        now = float(second)
    return [it for it in stderr.getvalue().split("\r") if it]


@pytest.mark.parametrize(
    ("seconds", "terminal", "times"),
    [
        pytest.param(20, False, 0, id="over soon, a log stays as it is"),
        pytest.param(3600, False, 121, id="a log gets an hour in lines of 30 seconds, and how it ended"),
        pytest.param(20, True, 22, id="a terminal sees the beginning, every step and how it ended"),
    ],
)
def test_how_often_progress_is_written(
    seconds: int, times: int, monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    told = written(seconds, monkeypatch, terminal=terminal)
    assert len(told) == times
    assert not told or told[-1].startswith("work: 100%")
    assert not told or f" {seconds}/{seconds} " in told[-1]
