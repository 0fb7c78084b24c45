"""MLflow: where the store is, live figures of a training, and registered models. It is imported when first needed."""

import io
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pipeline.core.errors import SightlineError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

TRAINING = "sightline.training"  # tag: hash of everything that decides a training
WEIGHTS = "sightline.weights"  # tag: SHA-256 of the trained weights
REGISTERED = "sightline.registered"  # tag: the run has its model version
ITERATION = "sightline.iteration"  # tag: hash of parameters, reports and artifacts
BENCHMARK = "sightline.benchmark"  # tag: hash of what the figures were measured on
EXPERIMENT = "sightline.experiment"  # tag: the name that DVC gave the experiment
MINUTES = "train/minutes"  # figure: how long a training took, over all its attempts
VERDICT = "sightline.verdict"  # tag: the gate's, the comparison with the champion included

MAX_PARAM = 6000  # characters of a parameter's value that MLflow keeps
REQUIREMENTS = ("mlflow", "numpy", "onnxruntime", "opencv-python-headless", "pandas", "pydantic")  # of `pyfunc`
EXPERIMENTS = (".dvc", "tmp", "exps")  # where DVC runs experiments outside the workspace


def root(folder: Path | None = None) -> Path:
    """The repository in whose store the iterations of `folder` (default: here) belong.

    DVC runs queued experiments in temporary copies below the repository; all of them share its store.
    """
    parts = (folder or Path.cwd()).absolute().parts
    for i in range(len(parts) - len(EXPERIMENTS)):
        if parts[i : i + len(EXPERIMENTS)] == EXPERIMENTS:
            return Path(*parts[:i])
    return Path(*parts)


def store_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or else the SQLite file `mlflow.db` of this repository."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root() / 'mlflow.db'}"


def artifact_root(uri: str) -> str | None:
    """Where artifacts lie: in `mlartifacts` beside a SQLite store; a server has its own place (None)."""
    path = uri.removeprefix("sqlite:///")
    return str(Path(path).absolute().parent / "mlartifacts") if path != uri else None


def masked(text: str) -> str:
    """The text without user names and passwords in its addresses."""
    return re.sub(r"://[^/\s@]+@", "://***@", text)


def connect() -> "MlflowClient":
    """A client of the store. Nothing is reported to anybody, and what goes well is not logged."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # the default waits minutes for a server that is off
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow  # noqa: PLC0415 - 1.5 seconds

    logging.getLogger("alembic").setLevel(logging.ERROR)
    return mlflow.MlflowClient(tracking_uri=store_uri())


def failures() -> tuple[type[Exception], ...]:
    """What MLflow raises when its store cannot be reached or refuses."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    return MlflowException, SQLAlchemyError, OSError


def why(error: Exception) -> str:
    """The first line of an error, fit to be shown."""
    return masked(str(error).strip().partition("\n")[0][:300]) or type(error).__name__


@contextmanager
def reachable() -> Iterator[None]:
    """MLflow's errors as one of ours, with the way out."""
    try:
        yield
    except failures() as error:
        raise SightlineError(
            f"MLflow at {masked(store_uri())}: {why(error)}; where it cannot be reached, start its server, or "
            "unset MLFLOW_TRACKING_URI to use the store of this repository"
        ) from error


def experiment_id(client: "MlflowClient", name: str) -> str:
    """The experiment's id; it is made where it is missing.

    Raises:
        SightlineError: the experiment was deleted.
    """
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifact_root(store_uri())))
        except MlflowException:  # a run beside this one may have been faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise SightlineError(
            f"the MLflow experiment {name!r} was deleted; run: mlflow experiments restore -x {found.experiment_id}, "
            "or choose another name in register.experiment"
        )
    return str(found.experiment_id)


def flat_params(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested parameters by dotted key, as MLflow keeps them: text, without passwords, cut to its limit."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flat_params(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = _text(value)
    return flat


def _text(value: Any) -> str:
    """10 and 10.0 are one value, and so are a list and a tuple."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return masked(str(list(value) if isinstance(value, tuple) else value))[:MAX_PARAM]


def log_params(client: "MlflowClient", run: "Run", params: Mapping[str, str]) -> None:
    """Log the parameters that the run does not hold yet."""
    from mlflow.entities import Param  # noqa: PLC0415

    new = [Param(key, value) for key, value in params.items() if key not in run.data.params]
    for i in range(0, len(new), 100):  # as many as MLflow takes at once
        client.log_batch(run.info.run_id, params=new[i : i + 100])


def log_metrics(client: "MlflowClient", run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
    """Log figures of one step."""
    from mlflow.entities import Metric  # noqa: PLC0415

    now = time.time_ns() // 1_000_000  # MLflow wants one; no output of ours holds it
    values = [Metric(key, float(value), now, step) for key, value in metrics.items()]
    for i in range(0, len(values), 1000):
        client.log_batch(run_id, metrics=values[i : i + 1000])


def log_model(run_id: str, export: Path) -> str:
    """Log the export as a model that MLflow loads anywhere, with the code that runs it; its URI."""
    import mlflow.pyfunc  # noqa: PLC0415
    from mlflow.models import ModelSignature  # noqa: PLC0415
    from mlflow.types import ColSpec, Schema  # noqa: PLC0415

    mlflow.set_tracking_uri(store_uri())
    columns = {
        "image": "long",
        "label": "string",
        **dict.fromkeys(("score", "confidence", "x1", "y1", "x2", "y2"), "double"),
    }
    table = Schema([ColSpec(kind, name) for name, kind in {**columns, "above_threshold": "boolean"}.items()])
    with tempfile.TemporaryDirectory() as folder, _quiet(), mlflow.start_run(run_id=run_id):
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            artifacts={"export": str(export)},
            code_paths=[str(_runtime_code(Path(folder)))],
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
            signature=ModelSignature(outputs=table),  # no input: one picture, a stack and a list are all welcome
        )
    return str(info.model_uri)


def _runtime_code(folder: Path) -> Path:
    """A copy of the layers that an exported model needs, as package `pipeline` in `folder`."""
    package = Path(__file__).parents[1]
    for part in ("core", "runtime"):
        shutil.copytree(package / part, folder / package.name / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(package / "__init__.py", folder / package.name)
    return folder / package.name


@contextmanager
def _quiet() -> Iterator[None]:
    """MLflow advises and reports on both streams; what matters is raised."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def add_version(model_uri: str, model: str, tags: Mapping[str, str]) -> "ModelVersion":
    """Register a logged model as the next version of `model`."""
    import mlflow  # noqa: PLC0415

    mlflow.set_tracking_uri(store_uri())
    with _quiet():
        return mlflow.register_model(model_uri, model, tags=dict(tags))


def version_by_tag(client: "MlflowClient", model: str, tag: str, value: str) -> "ModelVersion | None":
    """The latest version of `model` with this tag, None where there is none."""
    found = client.search_model_versions(f"name = '{model}' and tag.`{tag}` = '{value}'")
    return max(found, key=lambda v: int(v.version), default=None)


def version_by_alias(client: "MlflowClient", model: str, alias: str) -> "ModelVersion | None":
    """The version of `model` with this alias, None where there is none."""
    for registered in client.search_registered_models(f"name = '{model}'"):
        if alias in registered.aliases:
            return client.get_model_version(model, str(registered.aliases[alias]))
    return None


def fetch(client: "MlflowClient", run_id: str | None, names: Sequence[str], folder: Path) -> list[Path]:
    """Copies of a run's artifacts in `folder`, in the order asked for; none where the run lacks one of them."""
    if not run_id:
        return []
    parents = {name.rpartition("/")[0] for name in names}
    there = {file.path for parent in parents for file in client.list_artifacts(run_id, parent or None)}
    if not there.issuperset(names):
        return []
    with _quiet():
        return [Path(client.download_artifacts(run_id, name, str(folder))) for name in names]


def exported_model(model: str, alias: str, folder: Path) -> tuple[str, Path]:
    """Number of the version of `model` with this alias, and its export, copied into `folder`.

    Raises:
        SightlineError: there is no such version, or MLflow cannot be reached.
    """
    with reachable():
        found = version_by_alias(connect(), model, alias)
        if found is None:
            raise SightlineError(f"the model {model!r} has no {alias} yet; run: dvc repro")
        import mlflow  # noqa: PLC0415

        mlflow.set_tracking_uri(store_uri())
        with _quiet():
            mlflow.artifacts.download_artifacts(f"models:/{model}/{found.version}", dst_path=str(folder))
    contract = next(folder.rglob("contract.json"), None)
    if contract is None:
        raise SightlineError(f"version {found.version} of the model {model!r} holds no contract.json; run: dvc repro")
    return str(found.version), contract.parent


def without_epoch(row: Mapping[str, float]) -> dict[str, float]:
    """A row of curves.jsonl without the number that is its step."""
    return {name: value for name, value in row.items() if name != "epoch"}


def git_state() -> dict[str, str]:
    """Commit of the working tree and whether it was changed, as tags; nothing outside a repository."""
    try:
        commit = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"mlflow.source.git.commit": commit, "sightline.git_dirty": str(bool(changed)).lower()}


def origin() -> dict[str, str]:
    """Where a run comes from, as tags: the commit, and the name that `dvc exp show` lists an experiment under."""
    name = os.environ.get("DVC_EXP_NAME")
    return git_state() | ({EXPERIMENT: name} if name else {})


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()


class LiveRun:
    """A training in MLflow while it runs. Without MLflow the training goes on: one line says so, and no more is tried.

    As a context manager it marks the run as failed where the block ends with an error. A training that continues
    continues its run: one that was not finished, with the same fingerprint.

    Args:
        experiment: name in MLflow.
        fingerprint: hash of everything that decides what the training gives.
        params: sections of params.yaml, by name.
    """

    def __init__(self, experiment: str, fingerprint: str, params: Mapping[str, Any]) -> None:
        self._experiment = experiment
        self._fingerprint = fingerprint
        self._params = flat_params(params)
        self._client: MlflowClient | None = None
        self._run_id = ""
        self._logged = -1  # last step that the run already holds

    def __enter__(self) -> Self:
        with self._optional():
            self._start(connect())
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self._client is not None:
            with self._optional():
                self._client.set_terminated(self._run_id, "KILLED" if kind is KeyboardInterrupt else "FAILED")

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log an epoch's figures; one that the run holds from before it was broken off is not logged twice."""
        if self._client is not None and step > self._logged:
            with self._optional():
                log_metrics(self._client, self._run_id, without_epoch(metrics), step)

    def finish(self, *, weights: str, minutes: float) -> None:
        """Mark the run as finished, with what it took; by the hash of its weights `register` finds it again."""
        if self._client is not None:
            with self._optional():
                log_metrics(self._client, self._run_id, {MINUTES: minutes})
                self._client.set_tag(self._run_id, WEIGHTS, weights)
                self._client.set_terminated(self._run_id)

    def _start(self, client: "MlflowClient") -> None:
        experiment = experiment_id(client, self._experiment)
        mark = f"tags.`{TRAINING}` = '{self._fingerprint}' and attributes.status != 'FINISHED'"
        found = client.search_runs([experiment], mark, max_results=1)
        run = (
            found[0]
            if found
            else client.create_run(
                experiment,
                run_name=f"training {self._fingerprint[:8]}",
                tags={TRAINING: self._fingerprint, "mlflow.source.name": "pipeline.train", **origin()},
            )
        )
        self._run_id = run.info.run_id
        if found:
            client.update_run(self._run_id, status="RUNNING")
            self._logged = _last_step(client, run)
        log_params(client, run, self._params)
        self._client = client

    @contextmanager
    def _optional(self) -> Iterator[None]:
        try:
            yield
        except _tolerable() as error:
            self._client = None
            print(
                f"train: MLflow at {masked(store_uri())} does not take figures: {why(error)}; the training goes on, "
                "and curves.jsonl keeps them",
                file=sys.stderr,
                flush=True,
            )


def _tolerable() -> tuple[type[Exception], ...]:
    return (*failures(), SightlineError)


def _last_step(client: "MlflowClient", run: "Run") -> int:
    histories = (client.get_metric_history(run.info.run_id, key) for key in run.data.metrics)
    return max((metric.step for history in histories for metric in history), default=-1)
