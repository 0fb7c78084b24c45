import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import yaml

from pipeline import register
from pipeline.core.errors import DataError, SightlineError
from pipeline.core.params import GateParams, RegisterParams
from pipeline.core.types import Annotation, Assignment, Split
from pipeline.io.tables import write_annotations, write_splits
from pipeline.register import Champion, Decision, Iteration, decide
from pipeline.services import tracking
from pipeline.services.tracking import LiveRun, connect

ROOT = Path(__file__).parents[1]
WriteExport = Callable[..., Path]
GROUPS: dict[str, dict[str, dict[str, Any]]] = {
    "camera": {"hall": {"AP50": 0.9, "objects": 12}, "lobby": {"status": "not assessable", "objects": 2}}
}
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


class World:
    """One iteration on disk, with a store of its own; parts of it can be changed."""

    def __init__(self, root: Path, write_export: WriteExport) -> None:
        self.root, self._write_export = root, write_export
        for name in ("reports/evaluate/figures", "models/train", "data/frames", "data/splits", "data/annotations"):
            (root / name).mkdir(parents=True)
        self.json("reports/evaluate/groups.json", GROUPS)
        (root / "reports/evaluate/figures/pr.png").write_bytes(b"picture")
        self.json("data/frames/ingest.json", {"frames": 3})
        self.json("models/train/train.json", {"epochs": 2})
        rows = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "val/AP": 0.4}]
        (root / "models/train/curves.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.params()
        self.weights(b"first")
        self.evaluation(0.5)
        self.verdict("promote")
        self.benchmark(5)

    def json(self, name: str, value: object) -> None:
        (self.root / name).write_text(json.dumps(value))

    def params(self, **changes: Any) -> None:
        (self.root / "params.yaml").write_text(yaml.safe_dump(PARAMS | changes))

    def weights(self, data: bytes) -> str:
        (self.root / "models/train/best.safetensors").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        self._write_export(self.root / "models/export", weights=digest)
        self.json("models/export/parity.json", {"passed": True})
        return digest

    def evaluation(self, ap: float) -> None:
        figures = {"AP": ap, "frames": 3, "class": {"person": {"AP50": 0.9}, "fire+smoke": {"note": "none"}}}
        self.json("reports/evaluate/metrics.json", figures)

    def verdict(self, verdict: str, *reasons: str) -> None:
        self.json("reports/gate.json", {"verdict": verdict, "reasons": reasons, "lines": []})

    def benchmark(self, x: float) -> None:
        write_splits(
            self.root / "data/splits/splits.parquet",
            [Assignment("a", Split.TRAIN, "g"), Assignment("b", Split.BENCHMARK, "g")],
        )
        boxes = [Annotation(frame, "person", x, 0, 9, 9) for frame in ("a", "b")]
        write_annotations(self.root / "data/annotations/annotations.parquet", boxes)

    def turn(self) -> Decision:
        names = {"gate": "reports/gate.json", "evaluation": "reports/evaluate", "train": "models/train"}
        names |= {"export": "models/export", "data": "data", "out": "reports/register.json"}
        register.main([part for name, path in names.items() for part in (f"--{name}", path)])
        return Decision.model_validate_json((self.root / "reports/register.json").read_bytes())

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
    world.verdict("refuse", "class.person.AP50: 0.7 is below 0.8")
    decision = world.turn()
    assert not decision.champion
    assert decision.reason == "the gate refuses it: class.person.AP50: 0.7 is below 0.8"
    assert world.aliases() == {"challenger": 1}


@pytest.mark.parametrize(
    ("ap", "champion"),
    [
        pytest.param(0.6, True, id="better"),
        pytest.param(0.49, True, id="as much worse as is allowed"),  # 0.5 - 0.49 > 0.01 in binary
        pytest.param(0.489, False, id="worse"),
    ],
)
def test_a_challenger_meets_the_champion(world: World, ap: float, champion: bool) -> None:  # noqa: FBT001
    first = world.weights(b"first")
    world.turn()
    world.weights(b"second")
    world.evaluation(ap)
    decision = world.turn()
    assert decision.met == Champion(weights=first, AP=0.5, comparable=True)
    assert decision.champion is champion
    assert world.aliases() == {"challenger": 2, "champion": 2 if champion else 1}


def test_on_another_benchmark_the_champion_stays(world: World) -> None:
    world.turn()
    world.weights(b"second")
    world.evaluation(0.9)
    world.benchmark(6)
    decision = world.turn()
    assert decision.met is not None
    assert not decision.met.comparable
    assert decision.met.AP is None
    assert "another benchmark" in decision.reason
    assert world.aliases() == {"challenger": 2, "champion": 1}


def test_a_champion_set_by_hand_is_not_comparable(world: World) -> None:
    client = connect()
    client.create_registered_model("sightline")
    client.create_model_version("sightline", str(world.root))
    client.set_registered_model_alias("sightline", "champion", "1")
    decision = world.turn()
    assert decision.met == Champion(weights="", AP=None, comparable=False)
    assert world.aliases() == {"challenger": 2, "champion": 1}


def test_the_same_iteration_is_one_version_with_one_decision(world: World) -> None:
    world.turn()
    report = (world.root / "reports/register.json").read_bytes()
    world.turn()
    assert (world.root / "reports/register.json").read_bytes() == report
    assert world.aliases() == {"challenger": 1, "champion": 1}
    assert len(world.runs()) == 1
    world.params(compute={"engine": "local", "workers": 7})  # changes no result
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
    assert run.data.metrics == {"AP": 0.5, "frames": 3, "class/person/AP50": 0.9, "loss": 1.0, "val/AP": 0.4}
    assert run.data.params["train.optimizer.lr"] == str(PARAMS["train"]["optimizer"]["lr"])
    assert run.data.params["data.path"] == "s3://***@bucket/clips"
    assert run.data.tags["sightline.data/frames"] == "f.dir"
    folder = Path(run.info.artifact_uri)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {
        *("evaluate/metrics.json", "evaluate/groups.json", "evaluate/figures/pr.png", "tables/groups.json"),
        *("export/contract.json", "export/parity.json", "train/curves.jsonl", "train/train.json", "data/ingest.json"),
        *("gate.json", "params.yaml", "lineage.json"),
    }
    assert "secret" not in (folder / "params.yaml").read_text()
    lineage = json.loads((folder / "lineage.json").read_bytes())
    assert lineage["dvc"] == {"data/frames": "f.dir"}
    assert sorted(lineage["tables"]) == ["annotations/annotations.parquet", "splits/splits.parquet"]
    history = connect().get_metric_history(run.info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 2.0), (2, 1.0)]


def test_the_run_of_the_training_becomes_the_run_of_the_iteration(world: World) -> None:
    with LiveRun("sightline", "f1", PARAMS["train"]) as live:
        live.log({"epoch": 1, "loss": 2.0}, 1)
        live.finish(weights=world.weights(b"first"))
    world.turn()
    (run,) = world.runs()
    assert run.data.params["augment.policy"] == PARAMS["augment"]["policy"]
    world.verdict("refuse", "another limit")  # the same weights again: a run of their own
    world.turn()
    assert len(world.runs()) == 2


def test_a_training_with_other_parameters_keeps_its_run(world: World) -> None:
    with LiveRun("sightline", "f1", PARAMS["train"] | {"seed": 99}) as live:
        live.finish(weights=world.weights(b"first"))
    world.turn()
    assert len(world.runs()) == 2


def test_the_registered_model_predicts_on_an_array(world: World) -> None:
    world.turn()
    found = mlflow.pyfunc.load_model("models:/sightline@champion").predict(np.full((32, 32, 3), 255, np.uint8))
    assert found[["label", "score", "x1", "y1", "x2", "y2"]].to_numpy().tolist() == [["person", 1.0, 8, 8, 24, 24]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("models/train/best.safetensors", b"other", "was not made of the weights", id="other weights"),
        pytest.param("models/train/best.safetensors", None, "does not exist", id="no weights"),
        pytest.param("reports/gate.json", b"[]", "expected a JSON object", id="verdict"),
        pytest.param("reports/evaluate/metrics.json", b"{", "is not JSON", id="metrics"),
        pytest.param("models/export/contract.json", b"{}", "is no contract", id="contract"),
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


@pytest.mark.parametrize("line", ["{}", "[1]", "{", '{"epoch": "last"}'])
def test_broken_curves_are_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "curves.jsonl").write_text(line)
    with pytest.raises(DataError, match="does not hold a row of figures an epoch"):
        register.read_curves(tmp_path / "curves.jsonl")


def test_a_broken_lock_file_is_named(tmp_path: Path) -> None:
    assert register.dvc_hashes(tmp_path / "none", Path("data")) == {}
    for text in ("stages: [", "stages:\n  a: 1", "{}"):
        (tmp_path / "dvc.lock").write_text(text)
        with pytest.raises(DataError, match="sightline repair"):
            register.dvc_hashes(tmp_path / "dvc.lock", Path("data"))


def test_a_version_whose_decision_was_changed_is_refused(world: World) -> None:
    world.turn()
    connect().set_model_version_tag("sightline", "1", register.DECISION, "yes")
    with pytest.raises(SightlineError, match="carries no decision"):
        world.turn()


def test_an_iteration_without_ap_never_replaces_a_champion(world: World) -> None:
    iteration = read(world)
    met = Champion(weights="w", AP=0.1, comparable=True)
    p, g = RegisterParams(experiment="e", model="m"), GateParams(limits=(), max_regression=0.0)
    assert decide(iteration, met, p, g).champion
    world.json("reports/evaluate/metrics.json", {"frames": 0})
    assert decide(read(world), met, p, g).reason == "its AP was not measured"


def read(world: World) -> Iteration:
    folders = ("reports/gate.json", "reports/evaluate", "models/train", "models/export", "data")
    return register.read_iteration(*(world.root / name for name in folders))


def test_groups_become_a_table() -> None:
    assert register.group_table(GROUPS) == {
        "attribute": ["camera", "camera"],
        "value": ["hall", "lobby"],
        "AP50": [0.9, None],
        "objects": [12, 2],
        "status": [None, "not assessable"],
    }
