from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.io.formats.record import Region, Task, Version, files_below, first_regions, pixels, size_of, whole_number

A, B = Region("a", 0, 0, 1, 1), Region("b", 0, 0, 1, 1)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        pytest.param(3, 3, id="int"),
        pytest.param(3.0, 3, id="float"),
        pytest.param(0, 0, id="zero"),
        pytest.param(3.5, None, id="half"),
        pytest.param(-1, None, id="negative"),
        pytest.param(float("nan"), None, id="nan"),
        pytest.param(float("inf"), None, id="infinite"),
        pytest.param(10**400, None, id="huge"),
        pytest.param(True, None, id="bool"),
        pytest.param("3", None, id="text"),
    ],
)
def test_whole_number(value: object, number: int | None) -> None:
    assert whole_number(value) == number


def test_size_needs_both_sides() -> None:
    assert size_of(4, 3) == (4, 3)
    assert size_of(4, 0) is None
    assert size_of(None, 3) is None


def test_pixels_leave_no_dust() -> None:
    assert pixels(Region("a", 0.1 + 0.2, 0, 0.7, 1), (10, 10)) == (3, 0, 7, 10)


# Worked out on paper for a picture of 200 x 100: turning happens in pixels, not in fractions.
@pytest.mark.parametrize(
    ("region", "box"),
    [
        pytest.param(Region("a", 0.3, 0.6, -0.2, -0.5), (20, 10, 40, 50), id="drawn-backwards"),
        pytest.param(Region("a", 0.5, 0.2, 0.3, 0.4, rotation=90), (60, 20, 40, 60), id="quarter"),
        # the box goes from (100, 20) to the left, 60 wide; a quarter turn stands it on its end, upwards
        pytest.param(Region("a", 0.5, 0.6, -0.3, 0.4, rotation=90), (60, 0, 40, 60), id="backwards-and-quarter"),
        # a square of 40 on its corner is 40 * sqrt(2) wide and high
        pytest.param(Region("a", 0.5, 0.2, 0.2, 0.4, rotation=45), (71.7157, 20, 56.5685, 56.5685), id="on-its-corner"),
    ],
)
def test_pixels_of_turned_and_backward_boxes(region: Region, box: tuple[float, ...]) -> None:
    assert pixels(region, (200, 100)) == box


@pytest.mark.parametrize(
    ("versions", "regions"),
    [
        pytest.param((), (), id="nobody"),
        pytest.param((Version((A,)), Version((B,))), (A,), id="first"),
        pytest.param((Version((A,)), Version((B,), ground_truth=True)), (B,), id="ground-truth"),
    ],
)
def test_which_version_counts(versions: tuple[Version, ...], regions: tuple[Region, ...]) -> None:
    assert first_regions(Task("1", versions=versions)) == regions


def test_files_below_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b/a.txt", "a/b.txt", "c.txt", "d.xml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [p.relative_to(tmp_path).as_posix() for p in files_below(tmp_path, ".txt")] == [
        "a/b.txt",
        "b/a.txt",
        "c.txt",
    ]
    with pytest.raises(DataError, match=r"holds no \.json file"):
        files_below(tmp_path, ".json")
    with pytest.raises(DataError, match="does not exist"):
        files_below(tmp_path / "none", ".json")
