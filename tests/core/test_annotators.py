"""By hand: three annotators, boxes that agree by a third or wholly, and somebody who draws alone."""

import pytest

from pipeline.core.agreement import Version
from pipeline.core.annotators import Share, by_annotator, shares
from pipeline.core.types import Annotation


def box(x: float, label: str = "person") -> Annotation:
    return Annotation("f", label, x, 0, 30, 10)


A, B, A_BESIDE = box(0), box(100), box(15)  # A_BESIDE shares a third with A


@pytest.mark.parametrize(
    ("versions", "together", "expected"),
    [
        pytest.param([[A, B]], [A, B], [Share("1", 2)], id="alone"),
        pytest.param([[A], [A]], [A], [Share("1", 1, 1.0, 1.0), Share("2", 1, 1.0, 1.0)], id="agreed"),
        pytest.param([[], []], [], [Share("1", 0, 1.0, None), Share("2", 0, 1.0, None)], id="both-found-nothing"),
        pytest.param(
            [[A, B], [A_BESIDE]],
            [A, B],
            [Share("1", 2, 2 / 3, 1 / 3, 1, 0), Share("2", 1, 2 / 3, 1 / 3, 0, 1)],
            id="one-drew-more",
        ),
        pytest.param(
            [[A], [box(0, "vehicle")]],
            [A, box(0, "vehicle")],
            [Share("1", 1, 0.0, None, 1, 1), Share("2", 1, 0.0, None, 1, 1)],
            id="named-otherwise",
        ),
        pytest.param(
            [[A, B], [A], [A]],
            [A],
            [Share("1", 2, 2 / 3, 1.0, 1, 0), *(Share(n, 1, (2 / 3 + 1) / 2, 1.0, 0, 0) for n in "23")],
            id="outvoted",
        ),
    ],
)
def test_one_frame(versions: list[Version], together: Version, expected: list[Share]) -> None:
    found = shares("123"[: len(versions)], versions, together, 0.3)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.annotator, ours.boxes, ours.disputed, ours.missed) == (
            theirs.annotator, theirs.boxes, theirs.disputed, theirs.missed,
        )  # fmt: skip
        assert (ours.f1, ours.iou) == pytest.approx((theirs.f1, theirs.iou))


def test_who_has_no_name_has_no_share_but_is_compared_with() -> None:
    (known,) = shares(["", "2"], [[A, B], [A]], [A, B], 0.3)
    assert known == Share("2", 1, 2 / 3, 1.0, 0, 1)


def test_figures_by_annotator() -> None:
    parts = [Share("b", 2, 0.5, None, 1, 0), Share("a", 4), Share("b", 3, 1.0, 0.8, 0, 2), Share("b", 1)]
    assert by_annotator(parts) == {
        "a": {"tasks": 1, "shared": 0, "boxes": 4, "mean_f1": None, "mean_iou": None, "disputed": 0, "missed": 0},
        "b": {"tasks": 3, "shared": 2, "boxes": 6, "mean_f1": 0.75, "mean_iou": 0.8, "disputed": 1, "missed": 2},
    }
    assert list(by_annotator(parts)) == ["a", "b"]
