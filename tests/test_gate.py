"""Every kind of limit on reports as the stages write them; what is missing never passes; a refusal ends well."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import gate
from pipeline.core.errors import DataError
from pipeline.core.params import GateParams
from pipeline.core.verdict import Line, Promotion, Result
from pipeline.io.documents import Folder

METRICS = {
    "AP": 0.6, "objects": 82, "frames": 96, "false_alarms_per_frame": 0.25, "class": {
        "person": {"AP50": 0.85, "objects": 74}, "vehicle": {"AP50": 0.9, "objects": 8}, "train": {"objects": 0},
        "semi.truck": {"AP50": 0.7, "objects": 400},
    },
}  # fmt: skip
CLUSTERS = {"verdict": "assessable", "clusters": 12, "unit": "time block"}
PERSON = {**CLUSTERS, "objects": 74, "AP50": 0.85, "AP50_low": 0.75, "AP50_high": 0.92}
HALL = {**CLUSTERS, "objects": 90, "recall": 0.9, "recall_low": 0.8, "recall_high": 0.95}
FEW = {"verdict": "not assessable", "reason": "8 of 30 objects", "objects": 8, "needed": 30}
GROUPS = {
    "class": {
        "person": PERSON, "vehicle": FEW, "train": FEW | {"objects": 0},
        "semi.truck": PERSON | {"AP50": 0.7, "AP50_low": 0.65, "AP50_high": 0.75},
    },
    "camera": {"hall": HALL, "lobby": FEW},
}  # fmt: skip
GAP = {
    "attribute": "camera", "value": "lobby", "reference": "hall", "objects": 60, "unit": "time block", "p_holm": 0.001,
    "raw": {"gap": 0.3, "low": 0.2, "high": 0.4}, "stratified": None, "more_objects": 0, "more_clusters": 0,
}  # fmt: skip
PARITY = {"passed": True, "max_abs_difference": 0.0001, "frames": 16}
VERIFIED = {
    "precision": "fp32", "verified": True, "reasons": [], "not_assessed": "",
    "drop_AP": 0.0, "drop_AP_low": -0.0005, "drop_AP_high": 0.0005,
}  # fmt: skip
ROBUSTNESS = {"objects": 40, "frames": 48, "rPC": {"all": {"AP": 0.7}}}
EVENTS = {  # 45 of 50 found, 2 false alarms in an hour; the intervals are exact
    "events": 50,
    "found": 45,
    "event_recall": 0.9,
    "event_recall_low": 0.7819,
    "event_recall_high": 0.9667,
    "false_alarms": 2,
    "hours": 1.0,
    "false_alarms_per_hour": 2.0,
    "false_alarms_per_hour_low": 0.2422,
    "false_alarms_per_hour_high": 7.2247,
    "time_to_detect_s": {"median": 1.0, "p90": 2.5, "max": 4.0},
}
UNHEARD = {  # 3 minutes in which nothing was asked for, and no alarm was raised
    "events": 0,
    "found": 0,
    "event_recall": None,
    "event_recall_low": None,
    "event_recall_high": None,
    "false_alarms": 0,
    "hours": 0.05,
    "false_alarms_per_hour": 0.0,
    "false_alarms_per_hour_low": 0.0,
    "false_alarms_per_hour_high": 73.78,
    "time_to_detect_s": None,
}
FIELDTEST = EVENTS | {
    "tracking": {"hota": 0.6},
    "class": {"semi.truck": EVENTS},
    "camera": {"lobby": EVENTS, "yard": UNHEARD},
    "condition": {
        "night": UNHEARD
        | {
            "hours": None,
            "events": 1,
            "found": 1,
            "event_recall": 1.0,
            "event_recall_low": 0.025,
            "event_recall_high": 1.0,
            "false_alarms_per_hour": None,
        }
    },
}
NO_FOOTAGE = UNHEARD | {"hours": 0.0, "false_alarms_per_hour": None, "tracking": None}
NOTHING: dict[str, Any] = {
    "strict": False, "limits": [], "floors": [], "gaps": {"max": 0.1, "of": []}, "robustness": [], "fieldtest": [],
    "max_regression": 0.01,
}  # fmt: skip


class World:
    """The reports that the gate reads, in the folder where the test runs."""

    def __init__(self) -> None:
        self.json("evaluate/metrics.json", METRICS)
        self.json("evaluate/groups.json", GROUPS)
        self.gaps(GAP)
        self.json("robustness/robustness.json", ROBUSTNESS)
        self.json("export/parity.json", PARITY)
        self.json("fieldtest/fieldtest.json", FIELDTEST)
        self.verified()
        self.params()

    def json(self, name: str, value: object) -> None:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(json.dumps(value))

    def gaps(self, *rows: dict[str, Any]) -> None:
        self.json("evaluate/comparisons.json", {"max_gap": 0.1, "comparisons": rows})

    def verified(self, **artifacts: dict[str, Any]) -> None:
        """verify.json of one target, whose default is fp32."""
        found = {f"cpu/{name}": VERIFIED | it for name, it in {"fp32": {}, **artifacts}.items()}
        limits = {"max_ap_drop": {"fp32": 0.001, "int8": 0.01}}
        good = [name.partition("/")[2] for name, it in found.items() if it["verified"]]
        target = {"cpu": {"default": "fp32", "verified": good}}
        report = {"objects": 82, "frames": 96, "limits": limits, "targets": target, "artifacts": found}
        self.json("verify/verify.json", report)

    def artifacts(self) -> dict[str, Line]:
        """The lines of the artifacts."""
        lines = gate.verdict(self.reports(), GateParams.parse("gate", NOTHING)).lines
        return {line.limit: line for line in lines if line.limit.startswith("verify.")}

    def reports(self) -> gate.Reports:
        names = ("evaluate", "robustness", "export", "verify", "fieldtest")
        return gate.read_reports(*(Folder(Path(name)) for name in names))

    def params(self, **changes: Any) -> None:
        Path("params.yaml").write_text(yaml.safe_dump({"gate": NOTHING | changes}))

    def lines(self, **changes: Any) -> list[Line]:
        """Lines of a verdict, those of parity and of the one artifact left out."""
        return list(gate.verdict(self.reports(), GateParams.parse("gate", NOTHING | changes)).lines)[2:]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.chdir(tmp_path)
    return World()


HOLDS, FAILS, OPEN = Result.HOLDS, Result.FAILS, Result.NOT_ASSESSED


@pytest.mark.parametrize(
    ("limit", "result", "reason"),
    [
        pytest.param({"metric": "AP", "min": 0.6}, HOLDS, "", id="exactly"),
        pytest.param({"metric": "AP", "min": 0.7}, FAILS, "0.6 is below 0.7", id="below"),
        pytest.param({"metric": "false_alarms_per_frame", "max": 0.2}, FAILS, "0.25 is above 0.2", id="above"),
        pytest.param({"metric": "class.person.AP50", "min": 0.7}, HOLDS, "", id="a class, its whole interval"),
        pytest.param(
            {"metric": "class.person.AP50", "min": 0.8},
            OPEN,
            "0.85 meets it, but its interval goes on to 0.75",
            id="a class, its point value only",
        ),
        pytest.param(
            {"metric": "class.vehicle.AP50", "min": 0.8},
            OPEN,
            "0.9 meets it, but rests on 8 of 30 objects",
            id="a class with few objects",
        ),
        pytest.param({"metric": "class.vehicle.AP50", "min": 0.95}, FAILS, "0.9 is below 0.95", id="few, and below"),
        pytest.param(
            {"metric": "class.train.AP50", "min": 0.1}, OPEN, "the benchmark has no such object", id="no object"
        ),
        pytest.param({"metric": "class.perzon.AP50", "min": 0.1}, FAILS, "not measured", id="a slip of the pen"),
        pytest.param({"metric": "class.person", "min": 0.0}, FAILS, "not measured", id="no figure but a mapping"),
        pytest.param({"metric": "class.semi.truck.AP50", "min": 0.6}, HOLDS, "", id="a dot in a class name"),
    ],
)
def test_absolute_limits(world: World, limit: dict[str, Any], result: Result, reason: str) -> None:
    (line,) = world.lines(limits=[limit])
    assert (line.limit, line.result, line.reason) == (limit["metric"], result, reason)


@pytest.mark.parametrize("value", [True, "0.9", None], ids=str)
def test_what_is_no_number_was_not_measured(world: World, value: object) -> None:
    world.json("evaluate/metrics.json", METRICS | {"AP": value})
    (line,) = world.lines(limits=[{"metric": "AP", "min": 0.0}])
    assert (line.figure, line.result, line.reason) == (None, FAILS, "not measured")


@pytest.mark.parametrize(
    ("limit", "interval", "evidence", "source"),
    [
        pytest.param({"metric": "AP", "min": 0.1}, (None, None), "82 objects in 96 frames", "evaluate/metrics.json",
                     id="overall"),
        pytest.param({"metric": "class.person.AP50", "min": 0.1}, (0.75, 0.92),
                     "74 objects in 12 clusters (time block)", "evaluate/metrics.json, evaluate/groups.json",
                     id="class"),
    ],
)  # fmt: skip
def test_a_line_names_its_evidence(
    world: World, limit: dict[str, Any], interval: tuple[float | None, float | None], evidence: str, source: str
) -> None:
    (line,) = world.lines(limits=[limit])
    assert (line.low, line.high) == interval
    assert (line.evidence, line.source) == (evidence, source)


@pytest.mark.parametrize(
    ("floor", "told"),
    [
        pytest.param(
            {"figure": "recall", "min": 0.75, "of": ["camera"]},
            [("camera hall: recall", HOLDS, ""), ("camera lobby: recall", OPEN, "8 of 30 objects")],
            id="the lower bound reaches it",
        ),
        pytest.param(
            {"figure": "recall", "min": 0.85, "of": ["camera"]},
            [
                ("camera hall: recall", OPEN, "0.9 meets it, but its interval goes on to 0.8"),
                ("camera lobby: recall", OPEN, "8 of 30 objects"),
            ],
            id="the point value alone does not",
        ),
        pytest.param(
            {"figure": "miss_rate", "max": 0.05, "of": ["camera"]},
            [
                ("camera hall: miss_rate", FAILS, "0.1 is above 0.05"),
                ("camera lobby: miss_rate", OPEN, "8 of 30 objects"),
            ],
            id="misses are what recall leaves",
        ),
        pytest.param(
            {"figure": "precision", "min": 0.5, "of": ["camera"]},
            [
                ("camera hall: precision", OPEN, "it has no such figure"),
                ("camera lobby: precision", OPEN, "8 of 30 objects"),
            ],
            id="a figure that the group does not have",
        ),
        pytest.param(
            {"figure": "recall", "min": 0.5, "of": ["object age"]},
            [("object age: recall", OPEN, "the benchmark has no such attribute")],
            id="an attribute that nobody annotated",
        ),
    ],
)
def test_floors_stand_on_bounds(world: World, floor: dict[str, Any], told: list[tuple[str, Result, str]]) -> None:
    assert [(line.limit, line.result, line.reason) for line in world.lines(floors=[floor])] == told


def test_the_miss_rate_has_its_interval_turned_round(world: World) -> None:
    line = world.lines(floors=[{"figure": "miss_rate", "max": 0.3, "of": ["camera"]}])[0]
    assert (line.figure, line.low, line.high) == pytest.approx((0.1, 0.05, 0.2))
    assert line.result == HOLDS


SMALL = GAP | {"value": "aisle", "raw": {"gap": 0.02, "low": -0.03, "high": 0.07}, "p_holm": 0.9}
CHANCE = GAP | {"value": "shop", "p_holm": 0.2}
UNSEEN = GAP | {"value": "yard", "raw": None, "p_holm": None, "more_objects": 40, "more_clusters": 3}
EQUAL = GAP | {"stratified": {"gap": 0.05, "low": 0.02, "high": 0.08}}


@pytest.mark.parametrize(
    ("rows", "result", "figure", "reason"),
    [
        pytest.param([SMALL], HOLDS, 0.02, "", id="the whole interval is within"),
        pytest.param([SMALL, GAP], FAILS, 0.3, "0.3 is above 0.1", id="one gap is shown"),
        pytest.param([EQUAL], HOLDS, 0.05, "", id="at equal conditions it is small"),
        pytest.param(
            [CHANCE], OPEN, 0.3, "0.3 for shop, which chance may give (p 0.2)", id="many pairs were looked at"
        ),
        pytest.param(
            [SMALL, UNSEEN], OPEN, None, "yard needs 40 more objects and 3 more clusters", id="one is too little seen"
        ),
        pytest.param([], OPEN, None, "the benchmark has no two groups of it", id="nothing to compare"),
    ],
)
def test_the_largest_gap_decides(
    world: World, rows: list[dict[str, Any]], result: Result, figure: float | None, reason: str
) -> None:
    world.gaps(*rows, GAP | {"attribute": "time"})
    (line,) = world.lines(gaps={"max": 0.1, "of": ["camera"]})
    assert (line.limit, line.result, line.figure, line.reason) == ("camera: gap in recall", result, figure, reason)


def test_a_gap_says_whose_it_is_and_how_the_others_stand(world: World) -> None:
    world.gaps(SMALL, GAP, UNSEEN)
    (line,) = world.lines(gaps={"max": 0.1, "of": ["camera"]})
    assert line.evidence == (
        "60 objects of lobby, by time block, against hall; of its gaps 1 fails, 1 not assessed, 1 holds"
    )


@pytest.mark.parametrize(
    ("report", "minimum", "result", "reason"),
    [
        pytest.param(ROBUSTNESS, 0.6, HOLDS, "", id="holds"),
        pytest.param(ROBUSTNESS, 0.8, FAILS, "0.7 is below 0.8", id="fails"),
        pytest.param(None, 0.0, OPEN, "robustness was not measured", id="not run"),
        pytest.param({"objects": 0}, 0.0, OPEN, "the benchmark has no such object", id="no object"),
        pytest.param({"objects": 40}, 0.0, FAILS, "not measured", id="not in the report"),
    ],
)
def test_robustness(world: World, report: object, minimum: float, result: Result, reason: str) -> None:
    path = Path("robustness/robustness.json")
    path.unlink() if report is None else path.write_text(json.dumps(report))
    (line,) = world.lines(robustness=[{"metric": "rPC.all.AP", "min": minimum}])
    assert (line.limit, line.result, line.reason) == ("robustness.rPC.all.AP", result, reason)


HOUR = "false_alarms_per_hour"
NOT_TRIED = "no held-out footage of it was tried"
UNMEASURED = "there is nothing to measure it by"


@pytest.mark.parametrize(
    ("limit", "result", "reason"),
    [
        pytest.param({"metric": "event_recall", "min": 0.75}, HOLDS, "", id="recall, its whole interval"),
        pytest.param({"metric": "event_recall", "min": 0.92}, FAILS, "0.9 is below 0.92", id="recall below"),
        pytest.param(
            {"metric": "event_recall", "min": 0.95},
            OPEN,
            "at least 180 events more",
            id="50 found of 50 were too few too",
        ),
        pytest.param(
            {"metric": "event_recall", "min": 0.85},
            OPEN,
            "45 of 50 events found only show a share above 0.782, not 0.85; at least 25 events more are needed",
            id="recall, its point value only",
        ),
        pytest.param({"metric": HOUR, "max": 8}, HOLDS, "", id="rate, its whole interval"),
        pytest.param({"metric": HOUR, "max": 1}, OPEN, "at least 6.22 h more are needed", id="an hour is too little"),
        pytest.param({"metric": f"camera.lobby.{HOUR}", "max": 8}, HOLDS, "", id="a camera"),
        pytest.param(
            {"metric": f"camera.yard.{HOUR}", "max": 10},
            OPEN,
            "0 false alarms in 0.05 h only show a rate below 73.8 an hour, not 10; at least 0.319 h more are needed",
            id="a camera watched for minutes",
        ),
        pytest.param(
            {"metric": "camera.yard.event_recall", "min": 0.5}, OPEN, UNMEASURED, id="a camera without events"
        ),
        pytest.param(
            {"metric": "camera.gate.event_recall", "min": 0.5}, OPEN, NOT_TRIED, id="a camera without footage"
        ),
        pytest.param({"metric": "zone.door.event_recall", "min": 0.5}, OPEN, NOT_TRIED, id="no zone at all"),
        pytest.param({"metric": "class.semi.truck.event_recall", "min": 0.75}, HOLDS, "", id="a dot in a class name"),
        pytest.param({"metric": "condition.night.event_recall", "min": 0.5}, OPEN, "at least", id="a condition"),
        pytest.param({"metric": f"condition.night.{HOUR}", "max": 5}, OPEN, UNMEASURED, id="no rate of a condition"),
        pytest.param({"metric": "time_to_detect_s.p90", "max": 3}, HOLDS, "", id="a figure without an interval"),
        pytest.param({"metric": "camera.lobby.time_to_detect_s.p90", "max": 2}, FAILS, "2.5 is above 2", id="late"),
        pytest.param({"metric": "camera.yard.time_to_detect_s.p90", "max": 2}, OPEN, UNMEASURED, id="nothing found"),
        pytest.param({"metric": "tracking.hota", "min": 0.5}, HOLDS, "", id="tracking"),
        pytest.param({"metric": "event_recal", "min": 0.5}, FAILS, "not measured", id="a slip of the pen"),
    ],
)
def test_the_field_test_by_its_exact_intervals(
    world: World, limit: dict[str, Any], result: Result, reason: str
) -> None:
    (line,) = world.lines(fieldtest=[limit])
    assert (line.limit, line.result) == (f"fieldtest.{limit['metric']}", result)
    assert reason in line.reason
    assert bool(reason) == bool(line.reason)


@pytest.mark.parametrize("metric", ["event_recall", "tracking.hota", "camera.lobby.event_recall"])
def test_without_footage_the_field_test_is_not_assessed(world: World, metric: str) -> None:
    world.json("fieldtest/fieldtest.json", NO_FOOTAGE)
    (line,) = world.lines(fieldtest=[{"metric": metric, "min": 0.1}])
    assert (line.result, line.figure, line.reason) == (OPEN, None, NOT_TRIED)
    world.params(fieldtest=[{"metric": metric, "min": 0.1}])
    gate.main(ARGUMENTS)
    assert json.loads(Path("out/gate.json").read_bytes())["verdict"] == "promote with conditions"


@pytest.mark.parametrize(
    ("metric", "evidence", "interval"),
    [
        ("event_recall", "50 events in 60 minutes", (0.7819, 0.9667)),
        ("condition.night.event_recall", "1 events", (0.025, 1.0)),
        ("tracking.hota", "50 events in 60 minutes", (None, None)),
    ],
)
def test_a_line_of_the_field_test_names_its_evidence(
    world: World, metric: str, evidence: str, interval: tuple[float | None, float | None]
) -> None:
    (line,) = world.lines(fieldtest=[{"metric": metric, "min": 0.1}])
    assert (line.evidence, line.source) == (evidence, "fieldtest/fieldtest.json")
    assert (line.low, line.high) == interval


@pytest.mark.parametrize("limit", [{"metric": HOUR, "max": 0}, {"metric": "event_recall", "min": 1.0}])
def test_a_limit_that_nothing_can_show_is_an_error(world: World, limit: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="can never be shown to hold"):
        world.lines(fieldtest=[limit])


@pytest.mark.parametrize("parity", [{"passed": False}, {"passed": "yes"}, {}], ids=["failed", "odd", "empty"])
def test_without_parity_nothing_is_promoted(world: World, parity: dict[str, Any]) -> None:
    world.json("export/parity.json", parity)
    gate.main(ARGUMENTS)
    assert json.loads(Path("out/gate.json").read_bytes())["reasons"] == [
        "export.parity: the exported model does not give what the trained one gives"
    ]


ARGUMENTS = [
    *("--evaluation", "evaluate", "--robustness", "robustness", "--export", "export"),
    *("--verify", "verify", "--fieldtest", "fieldtest", "--out", "out/gate.json"),
]
THIN = {"metric": "class.vehicle.AP50", "min": 0.8}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({}, "gate: promote; 2 of 2 limits hold\n", id="promote"),
        pytest.param(
            {"limits": [THIN]},
            "gate: promote with conditions; 2 of 3 limits hold\n"
            "  not assessed: class.vehicle.AP50: 0.9 meets it, but rests on 8 of 30 objects\n",
            id="promote with conditions",
        ),
        pytest.param(
            {"limits": [THIN], "strict": True},
            "gate: refuse; 2 of 3 limits hold\n  class.vehicle.AP50: 0.9 meets it, but rests on 8 of 30 objects\n",
            id="strict",
        ),
        pytest.param(
            {"limits": [{"metric": "AP", "min": 0.9}]},
            "gate: refuse; 2 of 3 limits hold\n  AP: 0.6 is below 0.9\n",
            id="refuse",
        ),
    ],
)
def test_three_verdicts_end_well(
    world: World, changes: dict[str, Any], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    world.params(**changes)
    gate.main(ARGUMENTS)
    assert capsys.readouterr().out == told
    first = Path("out/gate.json").read_bytes()
    gate.main(ARGUMENTS)
    assert Path("out/gate.json").read_bytes() == first


@pytest.mark.parametrize("content", [None, "[]", "{"], ids=["missing", "no-object", "broken"])
@pytest.mark.parametrize(
    "name",
    [
        "evaluate/metrics.json",
        "evaluate/groups.json",
        "evaluate/comparisons.json",
        "export/parity.json",
        "verify/verify.json",
        "fieldtest/fieldtest.json",
    ],
)
def test_a_broken_input_is_named(world: World, name: str, content: str | None) -> None:
    path = Path(name)
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(DataError, match=path.name):
        gate.main(ARGUMENTS)
    assert not Path("out").exists()


LOST = {"precision": "int8", "verified": False, "reasons": ["loses 3 points of AP", "a batch of 8 gives other boxes"]}
NO_DEVICE = {"precision": "int8", "verified": False, "not_assessed": "measured on ONNX Runtime, not on the engine"}


def test_a_refused_artifact_is_withheld_while_another_of_its_target_ships(world: World) -> None:
    world.verified(int8=LOST | {"drop_AP": 0.03})
    lines = world.artifacts()
    assert {name: line.result for name, line in lines.items()} == {
        "verify.cpu/fp32: AP lost": HOLDS,
        "verify.cpu/int8: AP lost": Result.WITHHELD,
    }
    line = lines["verify.cpu/int8: AP lost"]
    assert (line.figure, line.max, line.evidence) == (0.03, 0.01, "82 objects in 96 frames")
    it = gate.verdict(world.reports(), GateParams.parse("gate", NOTHING))
    assert (it.verdict, it.reasons) == (Promotion.PROMOTE, ())
    assert it.withheld == ("verify.cpu/int8: AP lost: loses 3 points of AP; a batch of 8 gives other boxes",)
    assert "withheld: verify.cpu/int8" in gate.told(it)


def test_a_target_of_which_nothing_ships_refuses(world: World) -> None:
    world.verified(fp32={"verified": False, "reasons": ["raw heads differ"]}, int8=LOST)
    it = gate.verdict(world.reports(), GateParams.parse("gate", NOTHING))
    assert (it.verdict, it.reasons) == (Promotion.REFUSE, ("verify.cpu/fp32: AP lost: raw heads differ",))
    assert [line.result for line in world.artifacts().values()] == [FAILS, Result.WITHHELD]


@pytest.mark.parametrize("strict", [False, True])
def test_what_no_device_has_run_is_a_condition(world: World, strict: bool) -> None:  # noqa: FBT001
    world.verified(fp32=NO_DEVICE)
    it = gate.verdict(world.reports(), GateParams.parse("gate", NOTHING | {"strict": strict}))
    assert world.artifacts()["verify.cpu/fp32: AP lost"].result == OPEN
    assert it.verdict == (Promotion.REFUSE if strict else Promotion.CONDITIONS)
