"""The whole cycle, small: two cameras of the demo through the real dvc in temporary clones."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.io.tables import read_frames, read_splits

ROOT = Path(__file__).parents[1]
CAMERAS = ("hall", "lot_b")
SMALL = (
    *("data.path=cut/clips", "data.labels.path=cut/export.json", "gate=none"),
    *("train.epochs=3", "train.batch_size=4", "train.validate_every=1", "train.warmup_epochs=0.5"),
    *("input.width=160", "input.height=96", "export.parity_frames=2", "evaluate.min_support=5"),
    *("robustness.frames=2", "robustness.severities=[3]", "robustness.patch.steps=2"),
    *("export.calibration_frames=8", "export.int8.frames=8", "export.int8.sensitivity=[4]"),
    "verify.latency_pictures=3",
    *("fieldtest.path=cut", "fieldtest.reference_s=5", "fieldtest.curve=[0.5]", "fieldtest.cases=2"),
    "fieldtest.min_event_s=0.1",
)
STAGES = (
    *("ingest", "annotate", "split", "augment", "train", "evaluate", "robustness", "export", "explain", "verify"),
    *("fieldtest", "gate", "register", "select", "report"),
)

pytestmark = [pytest.mark.cycle, pytest.mark.timeout(600)]


def environment(clone: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_", "GIT_"))}
    path = f"{Path(sys.executable).parent}:{kept['PATH']}"
    return kept | {"PATH": path, "PYTHONPATH": str(clone), "NO_ALBUMENTATIONS_UPDATE": "1", "CI": "true"}


def call(clone: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=clone, env=environment(clone), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def sightline(clone: Path, *command: str) -> str:
    return call(clone, sys.executable, "-m", "pipeline.cli", *command)


def clone_into(folder: Path) -> Path:
    """The project as it lies here, with a cut of the demo as its data, committed to a repository of its own."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, names):
        if name.startswith(("data/demo", "tests/")) or not (ROOT / name).is_file():
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for camera in CAMERAS:
        for name in (f"clips/{camera}.mp4", f"events/{camera}.json", f"tracks/{camera}.txt"):
            (folder / "cut" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "data/demo" / name, folder / "cut" / name)
    tasks = json.loads((ROOT / "data/demo/labelstudio/export.json").read_bytes())
    cut = [task for task in tasks if task["data"]["camera"] in CAMERAS]
    (folder / "cut/export.json").write_text(json.dumps(cut))
    (folder / "dvc.lock").unlink(missing_ok=True)
    sightline(folder, "compose", *SMALL)
    call(folder, "git", "init", "--quiet")
    call(folder, "git", "add", "--all")
    author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    call(folder, "git", *author, "commit", "--quiet", "--message", "cut")
    return folder


def would_run(clone: Path) -> tuple[str, ...]:
    told = call(clone, "dvc", "repro", "--dry")
    return tuple(stage for stage in STAGES if f"Running stage '{stage}'" in told)


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which the cycle has turned once."""
    clone = clone_into(tmp_path_factory.mktemp("turned"))
    call(clone, "dvc", "repro")
    return clone


def lock(clone: Path) -> dict[str, Any]:
    stages: dict[str, Any] = yaml.safe_load((clone / "dvc.lock").read_text())["stages"]
    return stages


def test_every_stage_ran_and_left_its_evidence(turned: Path) -> None:
    assert sorted(lock(turned)) == sorted(STAGES)
    assert (turned / "reports/index.html").stat().st_size > 10_000
    assert {"AP", "AP50"} <= json.loads((turned / "reports/evaluate/metrics.json").read_bytes()).keys()
    tried = json.loads((turned / "reports/fieldtest/fieldtest.json").read_bytes())
    assert tried["camera"].keys() == tried["tracking"]["camera"].keys() == {"lot_b"}
    assert "all its time is ignored" in tried["left_out"]["hall.mp4"]  # of a quarter of a second


def test_a_second_run_does_nothing(turned: Path) -> None:
    assert would_run(turned) == ()


@pytest.mark.parametrize(
    ("override", "first"),
    [
        pytest.param(("gate=demo",), "gate", id="gate limit"),
        pytest.param(("fieldtest.tolerance_s=2",), "fieldtest", id="how the field test is scored"),
        pytest.param(("augment=basic",), "augment", id="augmentation policy"),
        pytest.param(("model=ssdlite",), "train", id="model"),
        pytest.param(("compute.workers=1",), None, id="workers change no result"),
    ],
)
def test_a_change_reruns_from_where_it_matters(turned: Path, override: tuple[str, ...], first: str | None) -> None:
    before = (turned / "params.yaml").read_bytes()
    sightline(turned, "compose", *SMALL, *override)
    try:
        assert would_run(turned)[:1] == ((first,) if first else ())
    finally:
        (turned / "params.yaml").write_bytes(before)


def test_the_registered_model_predicts_on_an_array(turned: Path, tmp_path: Path) -> None:
    code = """
import mlflow, numpy as np
model = mlflow.pyfunc.load_model("models:/sightline@challenger")
print(sorted(model.predict(np.zeros((96, 160, 3), np.uint8)).columns))
"""
    env = {**environment(tmp_path), "MLFLOW_TRACKING_URI": f"sqlite:///{turned}/mlflow.db"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert {"label", "score", "x1", "y1", "x2", "y2"} <= set(ast.literal_eval(done.stdout))


def test_metrics_and_plots_are_what_dvc_shows(turned: Path) -> None:
    shown = json.loads(call(turned, "dvc", "metrics", "show", "--json"))
    files = {name: file["data"] for name, file in shown[""]["data"].items()}
    assert files.keys() == {"reports/evaluate/metrics.json", "reports/explain/costs.json"}
    assert files == {name: json.loads((turned / name).read_bytes()) for name in files}


def experiments(clone: Path) -> list[dict[str, Any]]:
    """What `dvc exp show` lists of every experiment, the failed ones included."""
    (baseline,) = [it for it in json.loads(call(clone, "dvc", "exp", "show", "--json")) if it["experiments"]]
    return [it["revs"][0] for it in baseline["experiments"]]


def trainings(clone: Path) -> dict[str, Run]:
    """MLflow's runs of the clone's own store by the name of their experiment."""
    client = MlflowClient(f"sqlite:///{clone}/mlflow.db")
    experiment = client.get_experiment_by_name("sightline")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    return {run.data.tags["sightline.experiment"]: run for run in runs if "sightline.experiment" in run.data.tags}


def test_a_sweep_is_queued_run_and_compared(turned: Path) -> None:
    before = (turned / "params.yaml").read_bytes()
    settings = [part for value in SMALL for part in ("-S", value)]
    grid = "train.optimizer.lr=choice(0.001,0.002,1e+30)"  # no training survives the last one
    call(turned, "dvc", "exp", "run", "--queue", *settings, "-S", grid, "evaluate")
    call(turned, "dvc", "exp", "run", "--run-all")
    listed, runs = experiments(turned), trainings(turned)
    rates = {it["name"]: it["data"]["params"]["params.yaml"]["data"]["train"]["optimizer"]["lr"] for it in listed}
    assert sorted(rates.values()) == [0.001, 0.002, 1e30]
    assert {name: float(run.data.params["train.optimizer.lr"]) for name, run in runs.items()} == rates
    assert {run.data.params["model.name"] for run in runs.values()} == {"nano"}
    (failed,) = [name for name, rate in rates.items() if rate > 1]
    assert {name: run.info.status for name, run in runs.items()} == {
        name: "FAILED" if name == failed else "FINISHED" for name in rates
    }
    measured = {it["name"]: it["data"]["metrics"]["reports/evaluate/metrics.json"] for it in listed}
    assert {name for name, metrics in measured.items() if "AP" in metrics.get("data", {})} == rates.keys() - {failed}
    assert len([*(turned / ".training").glob("*/bad-batch.safetensors")]) == 1  # the copy that it ran in is gone
    assert (turned / "params.yaml").read_bytes() == before
    assert would_run(turned) == ()


def wait_for(path: Path, process: "subprocess.Popen[bytes]") -> None:
    while not any(path.glob("*/state.safetensors")):
        assert process.poll() is None, "dvc repro ended before the first checkpoint"
        time.sleep(0.05)  # between looks; the file's appearance is what is waited for


def processes_of(clone: Path) -> list[int]:
    """Ids of running processes that work in the clone."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").resolve() == clone:
                found.append(int(entry.name))
        except OSError:
            continue  # it ended while we looked
    return found


def test_killed_and_repaired_it_ends_with_the_same_bytes_everywhere(turned: Path, tmp_path: Path) -> None:
    clone = clone_into(tmp_path)
    with subprocess.Popen(
        ["dvc", "repro"], cwd=clone, env=environment(clone), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        wait_for(clone / ".training", process)
        for pid in processes_of(clone):
            os.kill(pid, signal.SIGKILL)
    sightline(clone, "repair")
    call(clone, "dvc", "repro")
    straight, broken = lock(turned), lock(clone)
    assert {s: straight[s]["outs"] for s in STAGES} == {s: broken[s]["outs"] for s in STAGES}


def test_train_and_export_never_read_the_benchmark(turned: Path, tmp_path: Path) -> None:
    """With every frame outside train and validation garbled, both give the same bytes."""
    for folder in ("data", "models", "reports"):
        shutil.copytree(turned / folder, tmp_path / folder)
    allowed = {a.frame_id for a in read_splits(tmp_path / "data/splits/splits.parquet") if a.split in {"train", "val"}}
    garbled = [
        f for f in read_frames(tmp_path / "data/frames/frames.parquet") if f.frame_id not in allowed and f.length
    ]
    assert garbled
    for frame in garbled:
        shard = tmp_path / "data/frames" / frame.shard
        shard.chmod(0o644)
        with shard.open("r+b") as file:
            file.seek(frame.offset)
            file.write(b"\xff" * frame.length)
    garbled_data = ("--frames", f"{tmp_path}/data/frames", "--splits", f"{tmp_path}/data/splits")
    data = (*garbled_data, "--annotations", "data/annotations")
    train = ("--training", "data/training", "--state", f"{tmp_path}/state")
    call(turned, sys.executable, "-m", "pipeline.train", *data, *train, "--out", f"{tmp_path}/train")
    operating = ("--weights", "models/train", "--operating", "reports/evaluate/operating.json")
    call(turned, sys.executable, "-m", "pipeline.export", *data, *operating, "--out", f"{tmp_path}/export")
    for name in ("train", "export"):
        assert bytes_of(tmp_path / name) == bytes_of(turned / "models" / name)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
