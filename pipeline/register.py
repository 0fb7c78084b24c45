"""Which version is the champion?

Reads the gate's verdict, the reports, the training, the export and its verification of one iteration. Keeps them in
MLflow as one run and one model version, which runs what was verified. Writes the decision to --out: the verdict with
the comparison that only the registry can make, which aliases the version got, and why; and the ledger of all iterations
up to this one to --ledger.

`challenger` is always the latest version. `champion` moves to it when nothing refuses it, the paired comparison with
the champion on the same frames included. Measured on different frames two APs say nothing about each other: then the
champion stays until a person moves the alias. The same iteration twice is one version, and its first decision stands.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.core.errors import SightlineError
from pipeline.core.params import EvaluateParams, GateParams, RegisterParams
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.core.verdict import Line, Promotion, Verdict, conclude
from pipeline.io.documents import read_object
from pipeline.io.files import write_bytes, write_json
from pipeline.runtime.contract import CONTRACT
from pipeline.runtime.files import read_model, read_plain
from pipeline.runtime.golden import GOLDEN
from pipeline.services import ledger, tracking
from pipeline.services.bundling import shipped
from pipeline.services.champion import Champion, keep, meet
from pipeline.services.iteration import (
    LATENCY,
    VERIFIED,
    Iteration,
    key,
    lineage_of,
    numbers,
    read_curves,
    read_iteration,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

CHALLENGER, CHAMPION = "challenger", "champion"
DECISION = "sightline.decision"  # tag: what register.json says
REPLACES = "sightline.replaces"  # tag: the champion's version when the decision was taken
CONDITIONS = "sightline.conditions"  # tag: JSON list of the limits that could not be assessed
WITHHELD = "sightline.withheld"  # tag: JSON list of the artifacts that do not ship
AP = "sightline.AP"  # tag
DATA_REPORTS = ("frames", "annotations", "splits", "training")
MAX_REPORT = 5_000_000  # bytes; annotations for other tools are no report


class Decision(BaseModel):
    """register.json: the same for the same iteration that meets the same champion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    iteration: str  # hash of parameters, reports and artifacts
    weights: str  # SHA-256
    benchmark: str  # hash of frames, annotations and classes
    verdict: Promotion  # over the gate's lines and the comparison
    reasons: tuple[str, ...]  # of a refusal
    conditions: tuple[str, ...]  # limits that the evidence is too thin to assess
    withheld: tuple[str, ...]  # artifacts that do not ship
    AP: float | None
    met: Champion | None  # None where there was no champion
    comparison: Line | None  # the verdict's line on it
    challenger: bool
    champion: bool
    reason: str


def group_table(groups: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, list[Any]]:
    """groups.json, attribute -> value -> figures, as columns; None where a group lacks a figure."""
    rows = [
        {"attribute": attribute, "value": value, **figures}
        for attribute, values in groups.items()
        for value, figures in values.items()
    ]
    columns = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in columns}


def decide(iteration: Iteration, met: Champion | None, line: Line | None, p: RegisterParams) -> Decision:
    """Whether the iteration becomes champion, and why.

    Args:
        iteration: the challenger.
        met: the champion there is.
        line: the comparison with it.
        p: section `register`.
    """
    gate = iteration.verdict
    verdict = conclude([*gate.lines, *([line] if line else [])], strict=gate.strict)
    champion = verdict.verdict != Promotion.REFUSE and (met is None or met.comparable)
    return Decision(
        model=p.model,
        iteration=iteration.fingerprint,
        weights=iteration.contract.weights,
        benchmark=iteration.benchmark,
        verdict=verdict.verdict,
        reasons=verdict.reasons,
        conditions=verdict.conditions,
        withheld=verdict.withheld,
        AP=iteration.average_precision,
        met=met,
        comparison=line,
        challenger=True,
        champion=champion,
        reason=_reason(verdict, met, line),
    )


def _reason(verdict: Verdict, met: Champion | None, line: Line | None) -> str:
    if verdict.verdict == Promotion.REFUSE:
        return f"refused: {'; '.join(verdict.reasons)}"
    count = len(verdict.conditions)
    under = f" under {count} condition{'s' if count > 1 else ''}" if count else ""
    promoted = f"the gate promotes it{under}"
    if met is None or line is None:
        return f"{promoted}, and there is no champion yet"
    if not met.comparable:
        return f"{line.reason}; compare them and set the alias champion in MLflow by hand"
    interval = "" if line.low is None or line.high is None else f" ({line.low:+.4f} to {line.high:+.4f})"
    return f"{promoted}; AP {line.figure:+.4f}{interval} against the champion's"


def register(
    client: "MlflowClient", iteration: Iteration, p: RegisterParams, g: GateParams, e: EvaluateParams
) -> tuple[Decision, "ModelVersion"]:
    """Keep the iteration in MLflow, once, and move the aliases."""
    version = tracking.version_by_tag(client, p.model, tracking.ITERATION, iteration.fingerprint)
    if version is None:
        current = tracking.version_by_alias(client, p.model, CHAMPION)
        met, line = meet(client, current, iteration.sample, e, g.max_regression) if current else (None, None)
        decision = decide(iteration, met, line, p)
        mlrun = log_run(client, iteration, decision, p)
        # The tags come with the version: killed after this line, the stage goes on from them.
        with tempfile.TemporaryDirectory() as folder:
            model = write_model(Path(folder), iteration)
            uri = tracking.log_model(mlrun.info.run_id, model)
        version = tracking.add_version(uri, p.model, version_tags(iteration, decision, current))
        client.set_tag(mlrun.info.run_id, tracking.REGISTERED, str(version.version))
    decision = recorded(version)
    number = str(version.version)
    client.set_registered_model_alias(p.model, CHALLENGER, number)
    if decision.champion:
        now = tracking.version_by_alias(client, p.model, CHAMPION)
        if _number(now) == version.tags[REPLACES]:  # else somebody has moved it since, and knew why
            client.set_registered_model_alias(p.model, CHAMPION, number)
    return decision, version


def write_model(folder: Path, iteration: Iteration) -> Path:
    """Write what MLflow's model runs: the verified artifacts of its target, or all where none is and none is promoted.

    Raises:
        DataError: verify.json is about other files.
    """
    source, verified = iteration.export / iteration.target, read_object(iteration.verify / VERIFIED)
    none = not verified["targets"][iteration.target]["verified"]
    contract = shipped(iteration.contract, verified, unverified=none)
    files = {file: data for name in contract.artifacts for file, data in read_model(source, name).data.items()}
    for name, data in {**files, GOLDEN: read_plain(source / GOLDEN)}.items():
        write_bytes(folder / name, data)
    write_json(folder / CONTRACT, contract.model_dump(mode="json"))
    return folder


def version_tags(iteration: Iteration, decision: Decision, replaces: "ModelVersion | None") -> dict[str, str]:
    """What a version says of itself."""
    measured = {} if iteration.average_precision is None else {AP: repr(iteration.average_precision)}
    conditions = {CONDITIONS: json.dumps(decision.conditions)} if decision.conditions else {}
    withheld = {WITHHELD: json.dumps(decision.withheld)} if decision.withheld else {}
    return {
        tracking.ITERATION: iteration.fingerprint,
        tracking.WEIGHTS: iteration.contract.weights,
        tracking.BENCHMARK: iteration.benchmark,
        DECISION: decision.model_dump_json(),
        REPLACES: _number(replaces),
        tracking.VERDICT: decision.verdict,
        **conditions,
        **withheld,
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


def log_run(client: "MlflowClient", iteration: Iteration, decision: Decision, p: RegisterParams) -> "Run":
    """The iteration's run: the training's own where it can be used, with everything in it."""
    params = {key(name): value for name, value in tracking.flat_params(iteration.params).items()}
    mlrun = training_run(client, iteration, p.experiment, params)
    run_id = mlrun.info.run_id
    lineage = lineage_of(iteration)
    figures, facts = ledger_facts(client, iteration, p.model)
    tags = {
        tracking.REGISTERED: "started",
        tracking.ITERATION: iteration.fingerprint,
        tracking.BENCHMARK: iteration.benchmark,
        tracking.VERDICT: decision.verdict,
        "mlflow.runName": f"{iteration.contract.model} {iteration.fingerprint[:8]}",
        **facts,
        **{f"sightline.{path}": digest for path, digest in lineage["dvc"].items()},
        **tracking.origin(),
    }
    for name, value in tags.items():
        client.set_tag(run_id, key(name), value)
    tracking.log_params(client, mlrun, params)
    tracking.log_metrics(client, run_id, iteration.metrics | figures)
    client.log_dict(run_id, lineage, "lineage.json")
    log_files(client, run_id, iteration)
    sheet = read_object(iteration.evaluation / "preconditions.json")
    client.log_dict(run_id, {**sheet, "limits_not_assessed": list(decision.conditions)}, "preconditions.json")
    keep(client, run_id, iteration.sample)
    client.set_terminated(run_id)
    return mlrun


def ledger_facts(client: "MlflowClient", iteration: Iteration, model: str) -> tuple[dict[str, float], dict[str, str]]:
    """What the ledger needs beside the figures that a run has anyway."""
    before = ledger.rows(client, model)
    return ledger.facts(
        read_object(iteration.data / "frames" / "ingest.json"),
        read_object(iteration.data / "annotations" / "annotate.json"),
        read_object(iteration.evaluation / "groups.json"),
        before[-1] if before else None,
    )


def training_run(client: "MlflowClient", iteration: Iteration, experiment: str, params: Mapping[str, str]) -> "Run":
    """The latest run of these weights that no version has yet, else a new one with the curves of the training."""
    where = tracking.experiment_id(client, experiment)
    mark = f"tags.`{tracking.WEIGHTS}` = '{iteration.contract.weights}'"
    earlier = client.search_runs([where], mark, order_by=["attributes.start_time DESC"])
    for found in earlier:
        agrees = all(params.get(name, value) == value for name, value in found.data.params.items())
        if agrees and tracking.REGISTERED not in found.data.tags:  # a parameter in MLflow cannot be changed
            return found
    mlrun = client.create_run(
        where,
        tags={tracking.WEIGHTS: iteration.contract.weights, "mlflow.source.name": "pipeline.register"},
    )
    for row in read_curves(iteration.train / "curves.jsonl"):
        tracking.log_metrics(client, mlrun.info.run_id, numbers(tracking.without_epoch(row)), int(row["epoch"]))
    spent = [it.data.metrics[tracking.MINUTES] for it in earlier if tracking.MINUTES in it.data.metrics]
    tracking.log_metrics(client, mlrun.info.run_id, {tracking.MINUTES: spent[-1]} if spent else {})
    return mlrun


def log_files(client: "MlflowClient", run_id: str, iteration: Iteration) -> None:
    """Reports, tables, curves and figures as artifacts of the run."""
    client.log_table(run_id, group_table(read_object(iteration.evaluation / "groups.json")), "tables/groups.json")
    client.log_artifacts(run_id, str(iteration.evaluation), "evaluate")
    if iteration.robustness.exists():
        client.log_artifacts(run_id, str(iteration.robustness), "robustness")
    client.log_text(run_id, tracking.masked(yaml.safe_dump(iteration.params, sort_keys=False)), "params.yaml")
    reports = [path for name in DATA_REPORTS for path in sorted((iteration.data / name).glob("*.json"))]
    files = {
        "": [iteration.gate],
        "train": [iteration.train / name for name in ("curves.jsonl", "train.json")],
        "export": [iteration.export / name for name in ("parity.json", "export.json")],
        **{f"export/{path.parent.name}": [path] for path in sorted(iteration.export.glob(f"*/{CONTRACT}"))},
        "verify": [path for name in (VERIFIED, LATENCY) if (path := iteration.verify / name).exists()],
        "fieldtest": sorted(iteration.fieldtest.glob("*.*")),
        "data": [path for path in reports if path.stat().st_size <= MAX_REPORT],
    }
    for folder, paths in files.items():
        for path in paths:
            client.log_artifact(run_id, str(path), folder)


def main(argv: list[str] | None = None) -> None:
    """Run the stage."""
    names = ("gate", "evaluation", "robustness", "costs", "train", "export", "verify", "fieldtest", "data", "ledger")
    args = stage_arguments(__doc__, *names, "out").parse_args(argv)
    p, g, e = RegisterParams.load("register"), GateParams.load("gate"), EvaluateParams.load("evaluate")
    iteration = read_iteration(args)
    with tracking.reachable():
        client = tracking.connect()
        decision, version = register(client, iteration, p, g, e)
        history = ledger.rows(client, p.model, int(version.version))
    write_json(args.ledger, {"iterations": ledger.without_clock(history)})
    write_json(args.out, decision.model_dump(mode="json"))
    aliases = [CHALLENGER, *([CHAMPION] if decision.champion else [])]
    summary("register", f"{p.model} version {version.version} is {' and '.join(aliases)}: {decision.reason}")
    print(f"  run {version.run_id} of experiment {p.experiment} at {tracking.masked(tracking.store_uri())}", flush=True)


if __name__ == "__main__":
    run(main)
