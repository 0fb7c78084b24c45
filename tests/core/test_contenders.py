import pytest

from pipeline.core.contenders import COLUMNS, Contender, best, columns, fields, latency, size, table

AP, MACS = COLUMNS[0], next(column for column in COLUMNS if column.key == "macs")


def row(model: str, version: int, benchmark: str = "b1", **figures: float) -> Contender:
    return Contender(f"run{version}", model, version, "demo", benchmark, figures, "camera hall")


NANO = row("nano", 1, AP=0.7, macs=0.25e9)
FCOS = row("fcos", 2, AP=0.6, macs=7.1e9)
OTHER = row("ssdlite", 3, "b2", AP=0.9)
UNSCORED = row("hog_svm", 4)


def test_only_what_was_measured_on_the_same_frames_is_ranked_together() -> None:
    found = fields([FCOS, OTHER, UNSCORED, NANO])
    assert [(it.benchmark, [member.model for member in it.rows]) for it in found] == [
        ("b1", ["nano", "fcos", "hog_svm"]),
        ("b2", ["ssdlite"]),
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([NANO, FCOS], (0.7, 0.25e9), id="the highest AP, the lowest cost"),
        pytest.param([NANO, UNSCORED], (None, None), id="nothing to choose from"),
        pytest.param([NANO, row("nano", 5, AP=0.7, macs=0.25e9)], (None, None), id="all equal"),
    ],
)
def test_the_best_of_a_column(rows: list[Contender], expected: tuple[float | None, float | None]) -> None:
    assert (best(rows, AP), best(rows, MACS)) == expected


def test_columns_are_those_that_somebody_has_targets_last() -> None:
    figures = {latency("intel"): 3.0, latency("cpu"): 5.0, size("cpu"): 4e6, "AP": 0.5}
    shown = columns([Contender("r", "nano", 1, "demo", "b", figures), FCOS])
    assert [column.title for column in shown] == ["AP", "MACs, G", "cpu, ms", "intel, ms", "cpu, MB"]


def test_the_table_at_the_terminal() -> None:
    assert table([NANO, FCOS]).splitlines() == [
        "model  version  AP      MACs, G  worst group",
        "nano   1        0.700*  0.25*    camera hall",
        "fcos   2        0.600   7.10     camera hall",
    ]
