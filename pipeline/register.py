"""Which version is the champion?

Reads the verdict, the reports, the training and the export of one iteration. Keeps them in MLflow as one run and one
model version. Writes the decision to --out: which aliases the version got, and why.

`challenger` is always the latest version. `champion` moves to it when the gate promotes it, and its AP is at most
`gate.max_regression` below the champion's on the same benchmark: the same frames, annotations and classes. Measured on
different benchmarks two APs say nothing about each other, so then the champion stays until a person moves the alias.
The same iteration twice is one version, and its first decision stands.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.core.config import read_params
from pipeline.core.errors import DataError, SightlineError
from pipeline.core.metrics import flatten
from pipeline.core.params import GateParams, RegisterParams
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.core.types import Split
from pipeline.io.files import file_sha256, read_json, sha256, write_json
from pipeline.io.frames import split_ids
from pipeline.io.tables import read_annotations
from pipeline.runtime.contract import Contract
from pipeline.runtime.session import CONTRACT
from pipeline.services import tracking

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

CHALLENGER, CHAMPION = "challenger", "champion"
ITERATION = "sightline.iteration"  # tag: hash of parameters, reports and artifacts
DECISION = "sightline.decision"  # tag: what register.json says
REPLACES = "sightline.replaces"  # tag: the champion's version when the decision was taken
AP, BENCHMARK = "sightline.AP", "sightline.benchmark"  # tags: what a later challenger is compared with
DATA_REPORTS = ("frames", "annotations", "splits", "training")
MAX_REPORT = 5_000_000  # bytes; annotations for other tools are no report


class Champion(BaseModel):
    """The champion that a challenger met."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: str  # SHA-256
    AP: float | None  # None where it is not comparable
    comparable: bool  # measured on the same benchmark


class Decision(BaseModel):
    """register.json: the same for the same iteration that meets the same champion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    iteration: str  # hash of parameters, reports and artifacts
    weights: str  # SHA-256
    benchmark: str  # hash of frames, annotations and classes
    verdict: str  # the gate's
    AP: float | None
    max_regression: float
    met: Champion | None  # None where there was no champion
    challenger: bool
    champion: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Iteration:
    """What one turn of the cycle has produced."""

    gate: Path
    evaluation: Path
    train: Path
    export: Path
    data: Path
    params: dict[str, Any]
    metrics: dict[str, float]
    verdict: str
    reasons: tuple[str, ...]
    contract: Contract
    benchmark: str
    fingerprint: str  # hash of parameters, reports and artifacts

    @property
    def average_precision(self) -> float | None:
        """AP on the benchmark; None where it was not measured."""
        return self.metrics.get("AP")


def read_iteration(gate: Path, evaluation: Path, train: Path, export: Path, data: Path) -> Iteration:
    """Read and check everything before MLflow gets anything.

    Raises:
        DataError: a file is missing or broken, or the export is of other weights.
    """
    contract = Contract.read(export / CONTRACT)
    weights = _hash(train / "best.safetensors")
    if weights != contract.weights:
        raise DataError(f"{export} was not made of the weights in {train}; run: dvc repro export")
    verdict = _mapping(gate)
    # How work is spread changes no result.
    params = {name: values for name, values in read_params().items() if name != "compute"}
    benchmark = benchmark_hash(data, contract.classes)
    files = [gate, evaluation / "metrics.json", evaluation / "groups.json", export / CONTRACT, export / "parity.json"]
    parts = [*map(_hash, files), benchmark, json.dumps(params, sort_keys=True)]
    return Iteration(
        gate=gate,
        evaluation=evaluation,
        train=train,
        export=export,
        data=data,
        params=params,
        metrics=numbers(_mapping(evaluation / "metrics.json")),
        verdict=str(verdict.get("verdict")),
        reasons=tuple(map(str, verdict.get("reasons", ()))),
        contract=contract,
        benchmark=benchmark,
        fingerprint=sha256("\n".join(parts).encode()),
    )


def _hash(path: Path) -> str:
    try:
        return file_sha256(path)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; run: dvc repro") from None


def _mapping(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, got {type(value).__name__}; run: dvc repro")
    return value


def benchmark_hash(data: Path, classes: tuple[str, ...]) -> str:
    """Hash of what AP is measured on: frames of the benchmark split, their boxes, and the classes."""
    frames = sorted(split_ids(data / "splits", Split.BENCHMARK))
    inside = set(frames)
    boxes = sorted(
        (a.frame_id, a.label, *a.xyxy, a.ignore)
        for a in read_annotations(data / "annotations" / "annotations.parquet")
        if a.frame_id in inside
    )
    return sha256(json.dumps([frames, boxes, classes]).encode())


def key(name: str) -> str:
    """A name as MLflow takes it for a figure, a parameter or a tag."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def numbers(figures: Mapping[str, Any]) -> dict[str, float]:
    """Nested figures by key with slashes, as MLflow groups them; what is no number is left out."""
    flat = flatten(dict(figures))
    return {
        key(name).replace(".", "/"): float(value)
        for name, value in flat.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def group_table(groups: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, list[Any]]:
    """groups.json, attribute -> value -> figures, as columns; None where a group lacks a figure."""
    rows = [
        {"attribute": attribute, "value": value, **figures}
        for attribute, values in groups.items()
        for value, figures in values.items()
    ]
    columns = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in columns}


def decide(iteration: Iteration, met: Champion | None, p: RegisterParams, g: GateParams) -> Decision:
    """Whether the iteration becomes champion, and why. `met` is the champion there is."""
    champion, reason = _judge(iteration, met, g.max_regression)
    return Decision(
        model=p.model,
        iteration=iteration.fingerprint,
        weights=iteration.contract.weights,
        benchmark=iteration.benchmark,
        verdict=iteration.verdict,
        AP=iteration.average_precision,
        max_regression=g.max_regression,
        met=met,
        challenger=True,
        champion=champion,
        reason=reason,
    )


def _judge(iteration: Iteration, met: Champion | None, max_regression: float) -> tuple[bool, str]:
    ours = iteration.average_precision
    if iteration.verdict != "promote":
        return False, f"the gate refuses it: {'; '.join(iteration.reasons) or iteration.verdict}"
    if met is None:
        return True, "the gate promotes it, and there is no champion yet"
    if not met.comparable or met.AP is None:
        return False, (
            "the champion was measured on another benchmark, so nothing says which is better; compare them and set the "
            "alias champion in MLflow by hand"
        )
    if ours is None:
        return False, "its AP was not measured"
    if ours < met.AP - max_regression - 1e-9:  # a rounding is no regression
        return False, f"AP {ours:.4f} is more than {max_regression:g} below the champion's {met.AP:.4f}"
    return True, f"the gate promotes it; AP {ours:.4f} against the champion's {met.AP:.4f}"


def champion_of(version: "ModelVersion | None", benchmark: str) -> Champion | None:
    """The registered champion, as its tags describe it."""
    if version is None:
        return None
    tags = version.tags
    comparable = tags.get(BENCHMARK) == benchmark and AP in tags
    return Champion(
        weights=tags.get(tracking.WEIGHTS, ""),
        AP=float(tags[AP]) if comparable else None,
        comparable=comparable,
    )


def register(
    client: "MlflowClient", iteration: Iteration, p: RegisterParams, g: GateParams
) -> tuple[Decision, "ModelVersion"]:
    """Keep the iteration in MLflow, once, and move the aliases."""
    version = tracking.version_by_tag(client, p.model, ITERATION, iteration.fingerprint)
    if version is None:
        current = tracking.version_by_alias(client, p.model, CHAMPION)
        decision = decide(iteration, champion_of(current, iteration.benchmark), p, g)
        mlrun = log_run(client, iteration, p.experiment)
        # The tags come with the version: killed after this line, the stage goes on from them.
        version = tracking.add_version(
            tracking.log_model(mlrun.info.run_id, iteration.export),
            p.model,
            version_tags(iteration, decision, current),
        )
        client.set_tag(mlrun.info.run_id, tracking.REGISTERED, str(version.version))
    decision = recorded(version)
    number = str(version.version)
    client.set_registered_model_alias(p.model, CHALLENGER, number)
    if decision.champion:
        now = tracking.version_by_alias(client, p.model, CHAMPION)
        if _number(now) == version.tags[REPLACES]:  # else somebody has moved it since, and knew why
            client.set_registered_model_alias(p.model, CHAMPION, number)
    return decision, version


def version_tags(iteration: Iteration, decision: Decision, replaces: "ModelVersion | None") -> dict[str, str]:
    """What a version says of itself."""
    measured = {} if iteration.average_precision is None else {AP: repr(iteration.average_precision)}
    return {
        ITERATION: iteration.fingerprint,
        tracking.WEIGHTS: iteration.contract.weights,
        BENCHMARK: iteration.benchmark,
        DECISION: decision.model_dump_json(),
        REPLACES: _number(replaces),
        "sightline.verdict": iteration.verdict,
        **measured,
    }


def _number(version: "ModelVersion | None") -> str:
    return "" if version is None else str(version.version)


def recorded(version: "ModelVersion") -> Decision:
    """The decision that a version carries. Raises SightlineError where somebody has changed it."""
    try:
        return Decision.model_validate_json(version.tags[DECISION])
    except (KeyError, ValidationError):
        raise SightlineError(
            f"version {version.version} of the model {version.name!r} carries no decision that can be read; delete "
            "that version in MLflow, and it will be registered again"
        ) from None


def log_run(client: "MlflowClient", iteration: Iteration, experiment: str) -> "Run":
    """The iteration's run: the training's own where it can be used, with everything in it."""
    params = {key(name): value for name, value in tracking.flat_params(iteration.params).items()}
    mlrun = training_run(client, iteration, experiment, params)
    run_id = mlrun.info.run_id
    lineage = lineage_of(iteration)
    tags = {
        tracking.REGISTERED: "started",
        ITERATION: iteration.fingerprint,
        BENCHMARK: iteration.benchmark,
        "sightline.verdict": iteration.verdict,
        "mlflow.runName": f"{iteration.contract.model} {iteration.fingerprint[:8]}",
        **{f"sightline.{path}": digest for path, digest in lineage["dvc"].items()},
        **tracking.git_state(),
    }
    for name, value in tags.items():
        client.set_tag(run_id, key(name), value)
    tracking.log_params(client, mlrun, params)
    tracking.log_metrics(client, run_id, iteration.metrics)
    client.log_dict(run_id, lineage, "lineage.json")
    log_files(client, run_id, iteration)
    client.set_terminated(run_id)
    return mlrun


def training_run(client: "MlflowClient", iteration: Iteration, experiment: str, params: Mapping[str, str]) -> "Run":
    """The latest run of these weights that no version has yet, else a new one with the curves of the training."""
    where = tracking.experiment_id(client, experiment)
    mark = f"tags.`{tracking.WEIGHTS}` = '{iteration.contract.weights}'"
    for found in client.search_runs([where], mark, order_by=["attributes.start_time DESC"]):
        agrees = all(params.get(name, value) == value for name, value in found.data.params.items())
        if agrees and tracking.REGISTERED not in found.data.tags:  # a parameter in MLflow cannot be changed
            return found
    mlrun = client.create_run(
        where,
        tags={tracking.WEIGHTS: iteration.contract.weights, "mlflow.source.name": "pipeline.register"},
    )
    for row in read_curves(iteration.train / "curves.jsonl"):
        tracking.log_metrics(client, mlrun.info.run_id, numbers(tracking.without_epoch(row)), int(row["epoch"]))
    return mlrun


def read_curves(path: Path) -> list[dict[str, float]]:
    """A row of figures an epoch. Raises DataError where a line is broken."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [{**row, "epoch": int(row["epoch"])} for row in rows]
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; run: dvc repro train") from None
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} does not hold a row of figures an epoch: {error!r}; run: dvc repro train") from None


def lineage_of(iteration: Iteration) -> dict[str, Any]:
    """Hashes of everything that the iteration comes from."""
    tables = sorted(iteration.data.glob("*/*.parquet"))
    return {
        "params": sha256(json.dumps(iteration.params, sort_keys=True).encode()),
        "weights": iteration.contract.weights,
        "training_data": iteration.contract.training_data,
        "benchmark": iteration.benchmark,
        "tables": {path.relative_to(iteration.data).as_posix(): file_sha256(path) for path in tables},
        "dvc": dvc_hashes(Path("dvc.lock"), iteration.data),
        **tracking.git_state(),
    }


def dvc_hashes(lock: Path, data: Path) -> dict[str, str]:
    """Hash of each folder below `data` that DVC keeps, by path; none where DVC has not run."""
    if not lock.exists():
        return {}
    try:
        stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"].values()
        outs = [out for stage in stages for out in stage.get("outs", ())]
        return {out["path"]: out[out["hash"]] for out in outs if Path(out["path"]).is_relative_to(data)}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError):
        raise DataError(f"{lock} cannot be read; run: sightline repair") from None


def log_files(client: "MlflowClient", run_id: str, iteration: Iteration) -> None:
    """Reports, tables, curves and figures as artifacts of the run."""
    client.log_table(run_id, group_table(_mapping(iteration.evaluation / "groups.json")), "tables/groups.json")
    client.log_artifacts(run_id, str(iteration.evaluation), "evaluate")
    client.log_text(run_id, tracking.masked(yaml.safe_dump(iteration.params, sort_keys=False)), "params.yaml")
    reports = [path for name in DATA_REPORTS for path in sorted((iteration.data / name).glob("*.json"))]
    files = {
        "": [iteration.gate],
        "train": [iteration.train / name for name in ("curves.jsonl", "train.json")],
        "export": [iteration.export / name for name in (CONTRACT, "parity.json")],
        "data": [path for path in reports if path.stat().st_size <= MAX_REPORT],
    }
    for folder, paths in files.items():
        for path in paths:
            client.log_artifact(run_id, str(path), folder)


def main(argv: list[str] | None = None) -> None:
    """Run the stage."""
    names = ("gate", "evaluation", "train", "export", "data", "out")
    args = stage_arguments(__doc__, *names).parse_args(argv)
    p, g = RegisterParams.load("register"), GateParams.load("gate")
    iteration = read_iteration(args.gate, args.evaluation, args.train, args.export, args.data)
    with tracking.reachable():
        decision, version = register(tracking.connect(), iteration, p, g)
    write_json(args.out, decision.model_dump(mode="json"))
    aliases = [CHALLENGER, *([CHAMPION] if decision.champion else [])]
    summary("register", f"{p.model} version {version.version} is {' and '.join(aliases)}: {decision.reason}")
    print(f"  run {version.run_id} of experiment {p.experiment} at {tracking.masked(tracking.store_uri())}", flush=True)


if __name__ == "__main__":
    run(main)
