import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.entities import Run

from pipeline.core.errors import SightlineError
from pipeline.services import tracking
from pipeline.services.tracking import LiveRun, connect, experiment_id

ROOT = Path(__file__).parents[2]
TRAIN = {"train": {"epochs": 3, "optimizer": {"name": "adamw", "lr": 0.002}, "clip_norm": 10.0}}


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        pytest.param("/site", "/site", id="workspace"),
        pytest.param("/site/.dvc/tmp/exps/tmp1", "/site", id="queued experiment"),
        pytest.param("/site/.dvc/tmp/exps/standalone/tmp1", "/site", id="temporary experiment"),
        pytest.param("/site/.dvc/tmp/other", "/site/.dvc/tmp/other", id="another folder of DVC"),
    ],
)
def test_every_experiment_of_a_repository_has_its_store(
    folder: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracking.root(Path(folder)) == Path(expected)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(Path, "cwd", lambda: Path(folder))
    assert tracking.store_uri() == f"sqlite:///{expected}/mlflow.db"
    assert tracking.artifact_root(tracking.store_uri()) == f"{expected}/mlartifacts"


def test_the_environment_names_another_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.invalid:5000")
    assert tracking.store_uri() == "http://tracking.invalid:5000"
    assert tracking.artifact_root(tracking.store_uri()) is None  # the server's own


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://***@host/db"),
        ("https://token@host/a and http://host/b", "https://***@host/a and http://host/b"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_passwords_are_not_shown(text: str, shown: str) -> None:
    assert tracking.masked(text) == shown


def test_parameters_are_flat_text() -> None:
    values = {"a": {"b": (1, 2), "c": 10.0}, "d": 0.002, "e": "s3://key:secret@bucket", "f": "x" * 7000, "g": True}
    flat = tracking.flat_params(values)
    assert flat.pop("f") == "x" * 6000
    assert flat == {"a.b": "[1, 2]", "a.c": "10", "d": "0.002", "e": "s3://***@bucket", "g": "True"}


def runs(mlflow_store: str) -> list[Run]:
    client = connect()
    return list(client.search_runs([experiment_id(client, "site")]))


def test_a_training_is_followed_live(mlflow_store: str) -> None:
    with LiveRun("site", "f1", TRAIN) as live:
        live.log({"epoch": 1, "loss": 2.0}, 1)
        (run,) = runs(mlflow_store)
        assert run.info.status == "RUNNING"
        assert run.data.metrics == {"loss": 2.0}
        live.log({"epoch": 2, "loss": 1.0, "val/AP": 0.5}, 2)
        live.finish(weights="w1", minutes=1.5)
    (run,) = runs(mlflow_store)
    assert run.info.status == "FINISHED"
    assert run.data.tags[tracking.WEIGHTS] == "w1"
    assert run.data.metrics == {"loss": 1.0, "val/AP": 0.5, tracking.MINUTES: 1.5}
    assert run.data.params["train.optimizer.lr"] == "0.002"


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt], ids=["killed", "failed", "interrupted"])
def test_a_training_that_continues_continues_its_run(mlflow_store: str, error: type[BaseException] | None) -> None:
    first = LiveRun("site", "f1", TRAIN).__enter__()
    first.log({"loss": 3.0}, 1)
    first.log({"loss": 2.0}, 2)
    if error:
        first.__exit__(error)
        assert runs(mlflow_store)[0].info.status in {"FAILED", "KILLED"}
    with LiveRun("site", "f1", TRAIN) as live:
        live.log({"loss": 2.0}, 2)  # its last saved state was older than its last figure
        live.log({"loss": 1.0}, 3)
        live.finish(weights="w1", minutes=1.5)
    (run,) = runs(mlflow_store)
    assert run.info.status == "FINISHED"
    history = connect().get_metric_history(run.info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 3.0), (2, 2.0), (3, 1.0)]


def test_another_training_and_a_finished_one_get_runs_of_their_own(mlflow_store: str) -> None:
    for fingerprint in ("f1", "f1", "f2"):
        with LiveRun("site", fingerprint, TRAIN) as live:
            live.finish(weights=fingerprint, minutes=1.5)
    assert len(runs(mlflow_store)) == 3


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param("http://127.0.0.1:9", id="no server"),
        pytest.param("sqlite:////proc/none/mlflow.db", id="no folder to write to"),
        pytest.param("nonsense://me:secret@host", id="no such kind of store"),
    ],
)
def test_without_mlflow_the_training_goes_on(uri: str) -> None:
    code = (
        "from pipeline.services.tracking import LiveRun\n"
        "with LiveRun('site', 'f1', {'train': {'epochs': 1}}) as live:\n"
        "    live.log({'loss': 1.0}, 1)\n"
        "    live.finish(weights='w', minutes=1.5)\n"
        "print('trained')"
    )
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "trained\n"
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert "does not take figures" in line
    assert "the training goes on" in line
    assert "secret" not in line


def test_a_deleted_experiment_is_named_with_the_way_back(mlflow_store: str) -> None:
    client = connect()
    client.delete_experiment(experiment_id(client, "site"))
    with pytest.raises(SightlineError, match="mlflow experiments restore -x 1"):
        experiment_id(client, "site")


def test_an_unreachable_store_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////proc/none/mlflow.db")
    with pytest.raises(SightlineError, match="unset MLFLOW_TRACKING_URI"), tracking.reachable():
        connect().search_experiments()


def test_mlflow_is_imported_when_it_is_needed() -> None:
    code = "import sys, pipeline.services.tracking; print('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_aliases_and_tags_find_versions(mlflow_store: str, tmp_path: Path) -> None:
    client = connect()
    assert tracking.version_by_alias(client, "site", "champion") is None
    client.create_registered_model("site")
    for fingerprint in ("a", "b", "a"):
        client.create_model_version("site", str(tmp_path), tags={"mark": fingerprint})
    client.set_registered_model_alias("site", "champion", "2")
    champion = tracking.version_by_alias(client, "site", "champion")
    assert champion is not None
    assert champion.tags == {"mark": "b"}
    latest = tracking.version_by_tag(client, "site", "mark", "a")
    assert latest is not None
    assert int(latest.version) == 3
    assert tracking.version_by_tag(client, "site", "mark", "c") is None


@pytest.mark.parametrize(
    ("names", "contents"),
    [
        pytest.param(["a.txt", "folder/b.txt"], ["one", "two"], id="in the order asked for"),
        pytest.param(["a.txt", "folder/none.txt"], [], id="one is missing"),
    ],
)
def test_artifacts_come_back_all_or_none(
    mlflow_store: str, tmp_path: Path, names: list[str], contents: list[str]
) -> None:
    client = connect()
    run_id = client.create_run(experiment_id(client, "sightline")).info.run_id
    client.log_text(run_id, "one", "a.txt")
    client.log_text(run_id, "two", "folder/b.txt")
    files = tracking.fetch(client, run_id, names, tmp_path)
    assert [file.read_text() for file in files] == contents
    assert tracking.fetch(client, None, names, tmp_path) == []
