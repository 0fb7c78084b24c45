import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import yaml

from pipeline import register
from pipeline.core.errors import DataError, SightlineError
from pipeline.core.params import Bounds
from pipeline.core.types import Annotation, Assignment, Detections, Frame, Split
from pipeline.core.verdict import Line, Measured, conclude, judge
from pipeline.io.tables import write_annotations, write_detections, write_frames, write_splits
from pipeline.register import Decision
from pipeline.runtime.golden import write_golden
from pipeline.services import tracking
from pipeline.services.champion import Champion
from pipeline.services.comparing import contenders
from pipeline.services.tracking import LiveRun, connect

ROOT = Path(__file__).parents[1]
WriteExport = Callable[..., Path]
GROUPS: dict[str, dict[str, dict[str, Any]]] = {
    "camera": {
        "hall": {"verdict": "assessable", "AP50": 0.9, "recall": 0.8, "objects": 40},
        "lobby": {"verdict": "not assessable", "objects": 2},
    }
}
PASSED = judge("AP", Bounds(min=0.4), Measured(0.5, "evaluate/metrics.json"))
REFUSED = judge("class.person.AP50", Bounds(min=0.8), Measured(0.7, "evaluate/metrics.json"))
THIN = judge("camera lobby: recall", Bounds(min=0.5), Measured(None, "evaluate/groups.json", thin="2 of 30 objects"))
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


COSTS = {"parameters": 1000, "macs": 2_000_000, "bytes": {"weights": 4000, "cpu": {"fp32": 4100, "fp32-b1": 4050}}}
LOSSES = {"AP": 0.5, "drop_AP": 0.0}
TRIED = {
    "target": "cpu", "events": 12, "found": 9, "event_recall": 0.75, "false_alarms_per_hour": 4.0, "precision": None,
    "time_to_detect_s": {"median": 0.6, "p90": 1.4}, "tracking": {"hota": 0.6, "idf1": 0.7, "mota": 0.5, "deta": 0.6},
    "camera": {"lobby": {"found": 9}}, "cases": [], "left_out": {},
}  # fmt: skip


class World:
    """One iteration on disk, with a store of its own; parts of it can be changed."""

    def __init__(self, root: Path, write_export: WriteExport) -> None:
        self.root, self._write_export = root, write_export
        folders = ("reports/evaluate/figures", "reports/robustness", "models/train")
        for name in (*folders, "data/frames", "data/splits", "data/annotations"):
            (root / name).mkdir(parents=True)
        self.json("reports/evaluate/groups.json", GROUPS)
        self.json("reports/evaluate/preconditions.json", {"recall_floor": 0.9, "conditions": []})
        (root / "reports/evaluate/figures/pr.png").write_bytes(b"picture")
        self.counts(frames=100, labels=60)
        self.json("models/train/train.json", {"epochs": 2})
        rows = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "val/AP": 0.4}]
        (root / "models/train/curves.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.params()
        self.weights(b"first")
        self.evaluation(0.5)
        self.robustness(0.8)
        (root / "reports/explain").mkdir()
        self.json("reports/explain/costs.json", COSTS)
        self.fieldtest(TRIED)
        self.verdict(PASSED)
        self.benchmark()
        self.detects(20)

    def json(self, name: str, value: object) -> None:
        (self.root / name).write_text(json.dumps(value))

    def params(self, **changes: Any) -> None:
        (self.root / "params.yaml").write_text(yaml.safe_dump(PARAMS | changes))

    def weights(self, data: bytes) -> str:
        (self.root / "models/train/best.safetensors").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        folder = self._write_export(self.root / "models/export/cpu", weights=digest)
        write_golden(folder, [np.full((8, 8, 3), 200, np.uint8)])
        self.verified("fp32", "fp32-b1")
        self.json("models/export/parity.json", {"passed": True})
        self.json("models/export/export.json", {"targets": {"cpu": {}}})
        return digest

    def verified(self, *names: str) -> None:
        """verify.json and latency.json, where these artifacts are verified."""
        contract = json.loads((self.root / "models/export/cpu/contract.json").read_bytes())
        artifacts = {
            f"cpu/{name}": {"files": it["files"], "verified": name in names, "AP": 0.5, "drop_AP": 0.0}
            for name, it in contract["artifacts"].items()
        }
        (self.root / "reports/verify").mkdir(exist_ok=True)
        targets = {"cpu": {"default": "fp32", "verified": list(names)}}
        self.json("reports/verify/verify.json", {"targets": targets, "artifacts": artifacts})
        self.json("reports/verify/latency.json", {"artifacts": {"cpu/fp32": {"milliseconds": {"total": {"p50": 8.5}}}}})

    def fieldtest(self, found: dict[str, Any]) -> None:
        """fieldtest.json, its curve and a clip."""
        (self.root / "reports/fieldtest/clips").mkdir(parents=True, exist_ok=True)
        self.json("reports/fieldtest/fieldtest.json", found)
        (self.root / "reports/fieldtest/curve.csv").write_text("threshold\n0.5\n")
        (self.root / "reports/fieldtest/clips/01-missed.mp4").write_bytes(b"a person's picture")

    def evaluation(self, ap: float) -> None:
        figures = {"AP": ap, "frames": 3, "class": {"person": {"AP50": 0.9}, "fire+smoke": {"note": "none"}}}
        self.json("reports/evaluate/metrics.json", figures)

    def robustness(self, share: float) -> None:
        figures = {"plain": {"AP": 0.5}, "mPC": {"all": {"AP": share / 2}}, "rPC": {"all": {"AP": share}}}
        self.json("reports/robustness/robustness.json", figures)

    def verdict(self, *lines: Line, strict: bool = False) -> None:
        self.json("reports/gate.json", conclude(lines, strict=strict).model_dump(mode="json"))

    def counts(self, frames: int, labels: int) -> None:
        self.json("data/frames/ingest.json", {"usable": frames})
        self.json("data/annotations/annotate.json", {"boxes": {"person": labels - 10, "vehicle": 10}})

    def benchmark(self, prefix: str = "b", more: int = 0) -> None:
        """Forty pictures with a person each, and more of other names; a picture is a cluster."""
        self.frames = [f"{prefix}{i:02}" for i in range(40)] + [f"more{i}" for i in range(more)]
        rows = [Assignment("a", Split.TRAIN, "g"), *(Assignment(it, Split.BENCHMARK, "g") for it in self.frames)]
        write_splits(self.root / "data/splits/splits.parquet", rows)
        boxes = [Annotation(frame, "person", 5, 0, 9, 9) for frame in ("a", *self.frames)]
        write_annotations(self.root / "data/annotations/annotations.parquet", boxes)
        frames = [Frame(it, "hall", "hall", i, None, 32, 32, f"{it}.png") for i, it in enumerate(("a", *self.frames))]
        write_frames(self.root / "data/frames/frames.parquet", frames)

    def detects(self, count: int) -> None:
        """The persons of so many of the first pictures are found, exactly; there is no false alarm."""
        hit = Detections(np.array([[5, 0, 14, 9]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
        found = {it: hit if i < count else Detections.empty() for i, it in enumerate(self.frames)}
        write_detections(self.root / "reports/evaluate/detections.parquet", found)

    def turn(self) -> Decision:
        names = {"gate": "reports/gate.json", "evaluation": "reports/evaluate", "robustness": "reports/robustness"}
        names |= {
            "costs": "reports/explain/costs.json",
            "train": "models/train",
            "export": "models/export",
            "verify": "reports/verify",
            "fieldtest": "reports/fieldtest",
            "data": "data",
        }
        names |= {"ledger": "reports/ledger.json", "out": "reports/register.json"}
        register.main([part for name, path in names.items() for part in (f"--{name}", path)])
        return Decision.model_validate_json((self.root / "reports/register.json").read_bytes())

    def ledger(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads((self.root / "reports/ledger.json").read_bytes())["iterations"]
        return rows

    def aliases(self) -> dict[str, int]:
        (model,) = connect().search_registered_models("name = 'sightline'")
        return {alias: int(version) for alias, version in model.aliases.items()}

    def runs(self) -> list[Any]:
        client = connect()
        return list(client.search_runs([tracking.experiment_id(client, "sightline")]))


@pytest.fixture
def world(mlflow_store: str, write_export: WriteExport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    root = tmp_path / "site"
    root.mkdir()
    monkeypatch.chdir(root)
    return World(root, write_export)


def test_the_first_that_the_gate_promotes_is_champion(world: World) -> None:
    decision = world.turn()
    assert decision.champion
    assert decision.met is None
    assert decision.reason == "the gate promotes it, and there is no champion yet"
    assert world.aliases() == {"challenger": 1, "champion": 1}


def test_a_refused_one_is_challenger_only(world: World) -> None:
    world.verdict(REFUSED)
    decision = world.turn()
    assert not decision.champion
    assert decision.reason == "refused: class.person.AP50: 0.7 is below 0.8"
    assert world.aliases() == {"challenger": 1}


def test_conditions_go_with_the_version_and_into_its_preconditions(world: World) -> None:
    world.verdict(PASSED, THIN)
    decision = world.turn()
    assert decision.champion
    assert decision.verdict == "promote with conditions"
    assert decision.reason == "the gate promotes it under 1 condition, and there is no champion yet"
    tags = connect().get_model_version("sightline", "1").tags
    assert tags["sightline.verdict"] == "promote with conditions"
    assert json.loads(tags["sightline.conditions"]) == ["camera lobby: recall: 2 of 30 objects"]
    (run,) = world.runs()
    assert run.data.tags["sightline.verdict"] == "promote with conditions"
    sheet = json.loads((Path(run.info.artifact_uri) / "preconditions.json").read_bytes())
    assert sheet["recall_floor"] == 0.9
    assert sheet["limits_not_assessed"] == ["camera lobby: recall: 2 of 30 objects"]


# AP of so many of 40 persons found without a false alarm: COCO's recall points up to that share, of 101.
AP_OF = {20: 51 / 101, 40: 1.0, 19: 48 / 101, 10: 26 / 101}


@pytest.mark.parametrize(
    ("found", "strict", "verdict", "told"),
    [
        pytest.param(40, False, "promote", "the gate promotes it; AP +0.4950", id="better"),
        pytest.param(20, True, "promote", "the gate promotes it; AP +0.0000 (+0.0000 to +0.0000)", id="equal"),
        pytest.param(
            19, False, "promote with conditions", "the gate promotes it under 1 condition; AP -0.0297", id="unclear"
        ),
        pytest.param(
            19, True, "refuse", "refused: AP against the champion: -0.0297 meets it, but", id="unclear, strict"
        ),
        pytest.param(
            10, False, "refuse", "refused: AP against the champion: -0.2475 is below -0.05", id="worse than is allowed"
        ),
    ],
)
def test_a_challenger_meets_the_champion(world: World, found: int, strict: bool, verdict: str, told: str) -> None:  # noqa: FBT001
    first = world.weights(b"first")
    world.turn()
    world.weights(b"second")
    world.verdict(PASSED, strict=strict)
    world.detects(found)
    decision = world.turn()
    assert decision.met is not None
    assert (decision.met.weights, decision.met.comparable) == (first, True)
    assert decision.met.AP is not None
    assert abs(decision.met.AP - AP_OF[20]) < 1e-9
    assert decision.comparison is not None
    assert decision.comparison.figure == pytest.approx(AP_OF[found] - AP_OF[20])
    assert decision.comparison.evidence == (
        "40 objects in 40 clusters (image); 40 of 40 benchmark frames are the champion's too"
    )
    assert decision.verdict == verdict
    assert decision.reason.startswith(told)
    assert decision.champion is (verdict != "refuse")
    assert world.aliases() == {"challenger": 2, "champion": 2 if decision.champion else 1}


def test_on_a_grown_benchmark_they_are_compared_where_both_were_measured(world: World) -> None:
    world.turn()
    world.weights(b"second")
    world.benchmark(more=10)  # none of which the second one finds
    world.detects(40)
    decision = world.turn()
    assert decision.comparison is not None
    assert decision.comparison.figure == pytest.approx(AP_OF[40] - AP_OF[20])
    assert "; 40 of 50 benchmark frames" in decision.comparison.evidence
    assert decision.champion


@pytest.mark.parametrize("strict", [False, True])
def test_on_another_benchmark_the_champion_stays(world: World, strict: bool) -> None:  # noqa: FBT001
    world.turn()
    world.weights(b"second")
    world.verdict(PASSED, strict=strict)
    world.benchmark("c")
    world.detects(40)
    decision = world.turn()
    assert decision.met is not None
    assert not decision.met.comparable
    assert decision.met.AP is None
    assert "another benchmark: no frame is in both" in decision.reason
    assert decision.verdict == ("refuse" if strict else "promote with conditions")
    assert world.aliases() == {"challenger": 2, "champion": 1}


def test_a_champion_set_by_hand_is_not_comparable(world: World) -> None:
    client = connect()
    client.create_registered_model("sightline")
    client.create_model_version("sightline", str(world.root))
    client.set_registered_model_alias("sightline", "champion", "1")
    decision = world.turn()
    assert decision.met == Champion(weights="", AP=None, comparable=False)
    assert decision.reason == (
        "the champion's detections are not kept in MLflow; compare them and set the alias champion in MLflow by hand"
    )
    assert world.aliases() == {"challenger": 2, "champion": 1}


def test_the_same_iteration_is_one_version_with_one_decision(world: World) -> None:
    world.turn()
    report = (world.root / "reports/register.json").read_bytes()
    world.turn()
    assert (world.root / "reports/register.json").read_bytes() == report
    assert world.aliases() == {"challenger": 1, "champion": 1}
    assert len(world.runs()) == 1
    world.params(compute={"engine": "local", "workers": 7, "processes": 1, "address": ""})  # changes no result
    world.turn()
    assert len(world.runs()) == 1


def test_an_iteration_that_comes_back_does_not_undo_a_later_champion(world: World) -> None:
    world.turn()
    world.evaluation(0.6)
    world.turn()
    world.evaluation(0.5)
    assert world.turn().champion  # what was decided then
    assert world.aliases() == {"challenger": 1, "champion": 2}


def test_killed_before_the_aliases_the_next_run_sets_them(world: World) -> None:
    decision = world.turn()
    client = connect()
    for alias in ("challenger", "champion"):
        client.delete_registered_model_alias("sightline", alias)
    assert world.turn() == decision
    assert world.aliases() == {"challenger": 1, "champion": 1}


def test_the_decision_names_no_run_no_time_and_no_place(world: World, mlflow_store: str) -> None:
    world.turn()
    text = (world.root / "reports/register.json").read_text()
    (run,) = world.runs()
    assert run.info.run_id not in text
    assert str(world.root) not in text
    shutil.rmtree(Path(mlflow_store.removeprefix("sqlite:///")).parent / "mlartifacts")
    elsewhere = world.root.parent / "elsewhere"
    elsewhere.mkdir()
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{elsewhere}/mlflow.db"  # restored by the fixture of the store
    world.turn()
    assert (world.root / "reports/register.json").read_text() == text


def test_the_run_holds_the_whole_iteration(world: World) -> None:
    world.json("dvc.lock", {"stages": {"ingest": {"outs": [{"path": "data/frames", "hash": "md5", "md5": "f.dir"}]}}})
    world.params(data=PARAMS["data"] | {"path": "s3://me:secret@bucket/clips"})
    world.turn()
    (run,) = world.runs()
    assert run.info.status == "FINISHED"
    assert run.info.run_name.startswith("brightness ")  # the model, to tell iterations apart
    assert run.data.metrics == {
        "AP": 0.5, "frames": 3, "class/person/AP50": 0.9, "loss": 1.0, "val/AP": 0.4,
        "robustness/mPC/all/AP": 0.4, "robustness/rPC/all/AP": 0.8,
        "iteration/frames": 100, "iteration/frames_added": 100, "iteration/labels": 60, "iteration/labels_added": 60,
        "iteration/worst_recall": 0.8, "verify/cpu/fp32/milliseconds/total/p50": 8.5,
        "explain/parameters": 1000, "explain/macs": 2_000_000, "explain/bytes/weights": 4000,
        "explain/bytes/cpu/fp32": 4100, "explain/bytes/cpu/fp32-b1": 4050,
        "fieldtest/events": 12, "fieldtest/found": 9, "fieldtest/event_recall": 0.75,
        "fieldtest/false_alarms_per_hour": 4.0, "fieldtest/time_to_detect_s/median": 0.6,
        "fieldtest/time_to_detect_s/p90": 1.4, "fieldtest/tracking/hota": 0.6, "fieldtest/tracking/idf1": 0.7,
        "fieldtest/tracking/mota": 0.5,
        "targets/cpu/milliseconds": 8.5, "targets/cpu/bytes": 4100,
        **{f"verify/cpu/{name}/{key}": value for name in ("fp32", "fp32-b1") for key, value in LOSSES.items()},
    }  # fmt: skip
    assert run.data.tags["sightline.worst_group"] == "camera hall"
    assert run.data.params["train.optimizer.lr"] == str(PARAMS["train"]["optimizer"]["lr"])
    assert run.data.params["data.path"] == "s3://***@bucket/clips"
    assert run.data.tags["sightline.data/frames"] == "f.dir"
    folder = Path(run.info.artifact_uri)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {
        *("evaluate/metrics.json", "evaluate/groups.json", "evaluate/figures/pr.png", "tables/groups.json"),
        *("export/cpu/contract.json", "export/parity.json", "export/export.json"),
        *("verify/verify.json", "verify/latency.json"),
        *("fieldtest/fieldtest.json", "fieldtest/curve.csv"),  # clips show people, and stay here
        *("train/curves.jsonl", "train/train.json", "data/ingest.json"),
        *("gate.json", "params.yaml", "lineage.json", "preconditions.json", "benchmark.json", "data/annotate.json"),
        *("evaluate/preconditions.json", "evaluate/detections.parquet", "robustness/robustness.json"),
    }
    assert "secret" not in (folder / "params.yaml").read_text()
    lineage = json.loads((folder / "lineage.json").read_bytes())
    assert lineage["dvc"] == {"data/frames": "f.dir"}
    assert sorted(lineage["tables"]) == [
        *("annotations/annotations.parquet", "frames/frames.parquet", "splits/splits.parquet")
    ]
    history = connect().get_metric_history(run.info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 2.0), (2, 1.0)]


def test_a_field_test_of_nothing_has_no_figures(world: World) -> None:
    world.fieldtest({"events": 0, "event_recall": None, "time_to_detect_s": None, "tracking": None})
    world.turn()
    (run,) = world.runs()
    assert {it: v for it, v in run.data.metrics.items() if it.startswith("fieldtest/")} == {"fieldtest/events": 0}


def test_another_field_test_is_another_iteration(world: World) -> None:
    world.turn()
    world.fieldtest(TRIED | {"found": 10})
    world.turn()
    assert len(world.runs()) == 2


def test_the_run_of_the_training_becomes_the_run_of_the_iteration(world: World) -> None:
    with LiveRun("sightline", "f1", {"train": PARAMS["train"]}) as live:
        live.log({"epoch": 1, "loss": 2.0}, 1)
        live.finish(weights=world.weights(b"first"), minutes=1.5)
    world.turn()
    (run,) = world.runs()
    assert run.data.params["augment.policy"] == PARAMS["augment"]["policy"]
    world.verdict(REFUSED)  # the same weights again: a run of their own
    world.turn()
    assert len(world.runs()) == 2


def test_a_training_with_other_parameters_keeps_its_run(world: World) -> None:
    with LiveRun("sightline", "f1", {"train": PARAMS["train"] | {"seed": 99}}) as live:
        live.finish(weights=world.weights(b"first"), minutes=1.5)
    world.turn()
    assert len(world.runs()) == 2


def test_the_registered_model_predicts_on_an_array(world: World) -> None:
    world.turn()
    found = mlflow.pyfunc.load_model("models:/sightline@champion").predict(np.full((32, 32, 3), 255, np.uint8))
    assert found[["label", "score", "x1", "y1", "x2", "y2"]].to_numpy().tolist() == [["person", 1.0, 8, 8, 24, 24]]


def test_the_registered_model_holds_what_was_verified_alone(world: World) -> None:
    world.verified("fp32-b1")
    world.turn()
    model = mlflow.pyfunc.load_model("models:/sightline@champion").unwrap_python_model()
    assert list(model._session.contract.artifacts) == ["fp32-b1"]
    assert model._session.artifact == "fp32-b1"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("models/train/best.safetensors", b"other", "was not made of the weights", id="other weights"),
        pytest.param("models/train/best.safetensors", None, "does not exist", id="no weights"),
        pytest.param("reports/gate.json", b"[]", "expected a JSON object", id="verdict"),
        pytest.param("reports/gate.json", b"{}", "is no verdict: 6 wrong values", id="verdict of another version"),
        pytest.param("reports/evaluate/detections.parquet", b"x", "no readable Parquet", id="detections"),
        pytest.param("reports/evaluate/metrics.json", b"{", "is not JSON", id="metrics"),
        pytest.param("models/export/cpu/contract.json", b"{}", "is no contract", id="contract"),
    ],
)
def test_a_broken_input_is_named_before_mlflow_gets_anything(
    world: World, mlflow_store: str, name: str, content: bytes | None, message: str
) -> None:
    path = world.root / name
    path.write_bytes(content) if content is not None else path.unlink()
    with pytest.raises(DataError, match=message):
        world.turn()
    with sqlite3.connect(mlflow_store.removeprefix("sqlite:///")) as database:
        assert database.execute("select count(*) from runs").fetchone() == (0,)
    assert not (world.root / "reports/register.json").exists()


def test_a_version_whose_decision_was_changed_is_refused(world: World) -> None:
    world.turn()
    connect().set_model_version_tag("sightline", "1", register.DECISION, "yes")
    with pytest.raises(SightlineError, match="carries no decision"):
        world.turn()


def test_without_a_robustness_run_nothing_is_said_of_it(world: World) -> None:
    (world.root / "reports/robustness/robustness.json").unlink()
    world.turn()
    (run,) = world.runs()
    assert not [name for name in run.data.metrics if name.startswith("robustness")]
    assert world.ledger()[0]["robustness"] is None


def test_the_ledger_has_a_row_an_iteration(world: World) -> None:
    with LiveRun("sightline", "f1", {"train": PARAMS["train"]}) as live:
        live.finish(weights=world.weights(b"first"), minutes=1.5)
    world.turn()
    assert [(row["date"], row["minutes"]) for row in world.ledger()] == [(None, None)]  # the same whenever written
    first = (world.root / "reports/ledger.json").read_bytes()
    world.weights(b"second")
    world.counts(frames=130, labels=75)
    world.evaluation(0.6)
    world.verdict(REFUSED)
    world.turn()
    one, two = world.ledger()
    assert (one["version"], one["frames_added"], one["labels_added"]) == (1, 100, 60)
    assert (one["AP"], one["worst_group"], one["worst_recall"], one["robustness"]) == (0.5, "camera hall", 0.8, 0.8)
    assert one["verdict"] == "promote"
    registered = datetime.fromisoformat(one["date"]).replace(tzinfo=UTC)
    assert timedelta(0) <= datetime.now(UTC) - registered < timedelta(days=1, minutes=5)
    assert one["minutes"] == 1.5
    assert (two["version"], two["frames_added"], two["labels_added"], two["AP"]) == (2, 30, 15, 0.6)
    assert (two["verdict"], two["date"], two["minutes"]) == ("refuse", None, None)
    world.weights(b"first")  # the first iteration comes back: its ledger ends with it
    world.counts(frames=100, labels=60)
    world.evaluation(0.5)
    world.verdict(PASSED)
    world.turn()
    assert (world.root / "reports/ledger.json").read_bytes() == first


def test_mlflow_has_the_figures_that_the_files_have(world: World) -> None:
    """What `dvc metrics show` prints, what the page compares, and what MLflow draws are one figure."""
    world.turn()
    (row,) = contenders(connect(), "sightline")
    metrics, costs, latency = (
        json.loads((world.root / f"reports/{name}.json").read_bytes())
        for name in ("evaluate/metrics", "explain/costs", "verify/latency")
    )
    assert row.figures == {
        "AP": metrics["AP"],
        "worst_recall": GROUPS["camera"]["hall"]["recall"],
        "parameters": costs["parameters"],
        "macs": costs["macs"],
        "bytes": costs["bytes"]["weights"],
        "bytes/cpu": costs["bytes"]["cpu"]["fp32"],  # the target's default
        "milliseconds/cpu": latency["artifacts"]["cpu/fp32"]["milliseconds"]["total"]["p50"],
    }
    assert (row.model, row.data, row.worst_group) == ("nano", "demo", "camera hall")


def test_minutes_stay_with_the_weights(world: World) -> None:
    """A second iteration from the same weights has a run of its own: its training took as long."""
    with LiveRun("sightline", "f1", PARAMS["train"]) as live:
        live.finish(weights=world.weights(b"first"), minutes=1.5)
    world.turn()
    world.evaluation(0.6)
    world.turn()
    later, first = world.runs()
    assert later.info.run_id != first.info.run_id
    assert later.data.metrics[tracking.MINUTES] == first.data.metrics[tracking.MINUTES] == 1.5
    assert tracking.TRAINING not in later.data.tags  # the second iteration trained nothing: the ledger counts none


def test_groups_become_a_table() -> None:
    assert register.group_table(GROUPS) == {
        "attribute": ["camera", "camera"],
        "value": ["hall", "lobby"],
        "verdict": ["assessable", "not assessable"],
        "AP50": [0.9, None],
        "recall": [0.8, None],
        "objects": [40, 2],
    }
