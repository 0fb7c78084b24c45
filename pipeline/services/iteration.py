"""What one turn of the cycle has left behind, read and checked before MLflow gets anything of it."""

import json
import math
import re
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline.core.config import read_params
from pipeline.core.errors import DataError
from pipeline.core.metrics import flatten
from pipeline.core.params import ExportParams
from pipeline.core.types import Sample, Split
from pipeline.core.verdict import Verdict
from pipeline.io.documents import read_object
from pipeline.io.files import file_sha256, sha256
from pipeline.io.frames import split_ids
from pipeline.io.tables import read_annotations
from pipeline.runtime.contract import CONTRACT, Contract
from pipeline.services import tracking
from pipeline.services.champion import read_benchmark

ROBUSTNESS, VERIFIED, LATENCY, FIELD = "robustness.json", "verify.json", "latency.json", "fieldtest.json"
TRACKING = ("hota", "idf1", "mota")


@dataclass(frozen=True, slots=True)
class Iteration:
    """What one turn of the cycle has produced."""

    gate: Path
    evaluation: Path
    robustness: Path
    train: Path
    export: Path
    target: str  # the one that MLflow's model is of: the first of export.targets
    verify: Path
    fieldtest: Path
    data: Path
    params: dict[str, Any]
    metrics: dict[str, float]
    verdict: Verdict  # the gate's
    sample: Sample  # the benchmark, and what was found there
    contract: Contract
    benchmark: str
    fingerprint: str  # hash of parameters, reports and artifacts

    @property
    def average_precision(self) -> float | None:
        """AP on the benchmark; None where it was not measured."""
        return self.metrics.get("AP")


def read_iteration(args: Namespace) -> Iteration:
    """Read and check everything before MLflow gets anything.

    Args:
        args: paths of gate, evaluation, robustness, costs, train, export, verify, fieldtest and data.

    Raises:
        DataError: a file is missing or broken, or the export is of other weights.
    """
    evaluation, robustness, export, verify, fieldtest, data = (
        getattr(args, name) for name in ("evaluation", "robustness", "export", "verify", "fieldtest", "data")
    )
    costs = read_object(args.costs)
    target = ExportParams.load("export").targets[0]
    contract = Contract.read(export / target / CONTRACT)
    weights = _hash(args.train / "best.safetensors")
    if weights != contract.weights:
        raise DataError(f"{export} was not made of the weights in {args.train}; run: dvc repro export")
    # How work is spread changes no result.
    params = {name: values for name, values in read_params().items() if name != "compute"}
    benchmark = benchmark_hash(data, contract.classes)
    reports = [args.gate, evaluation / "metrics.json", evaluation / "groups.json"]
    optional = [path for path in (robustness / ROBUSTNESS,) if path.exists()]
    exported = [*sorted(export.glob(f"*/{CONTRACT}")), export / "parity.json", export / "export.json"]
    files = [*reports, *optional, *exported, verify / VERIFIED, fieldtest / FIELD, args.costs]
    parts = [*map(_hash, files), benchmark, json.dumps(params, sort_keys=True)]
    return Iteration(
        gate=args.gate,
        evaluation=evaluation,
        robustness=robustness,
        train=args.train,
        export=export,
        target=target,
        verify=verify,
        fieldtest=fieldtest,
        data=data,
        params=params,
        metrics=numbers(
            read_object(evaluation / "metrics.json")
            | {"robustness": _under_corruption(robustness), "verify": _artifacts(verify)}
            | {"explain": costs, "targets": _targets(verify, costs), "fieldtest": _events(fieldtest)}
        ),
        verdict=_verdict(args.gate),
        sample=read_benchmark(data, evaluation, contract.classes),
        contract=contract,
        benchmark=benchmark,
        fingerprint=sha256("\n".join(parts).encode()),
    )


def _under_corruption(robustness: Path) -> dict[str, Any]:
    """The means over corruptions; what each one gives is in the file itself. Nothing where it was not measured."""
    if not (robustness / ROBUSTNESS).exists():
        return {}
    scores = read_object(robustness / ROBUSTNESS)
    return {name: scores[name] for name in ("mPC", "rPC") if name in scores}


def _events(fieldtest: Path) -> dict[str, Any]:
    """What the field test gave over all cameras; what each part gave is in the file itself."""
    found = read_object(fieldtest / FIELD)
    told = {name: value for name, value in found.items() if isinstance(value, int | float)}
    scores = {name: found["tracking"][name] for name in TRACKING} if found["tracking"] else {}
    return told | {"time_to_detect_s": found["time_to_detect_s"] or {}, "tracking": scores}


def _artifacts(verify: Path) -> dict[str, Any]:
    """AP of each artifact and what it lost, and how fast it was where that was measured."""
    latency = read_object(verify / LATENCY)["artifacts"] if (verify / LATENCY).exists() else {}
    return {
        name: {key: it[key] for key in ("AP", "drop_AP") if key in it}
        | {key: latency[name][key] for key in ("milliseconds", "bytes") if key in latency.get(name, {})}
        for name, it in read_object(verify / VERIFIED)["artifacts"].items()
    }


def _targets(verify: Path, costs: Mapping[str, Any]) -> dict[str, Any]:
    """Of each target's default artifact: bytes, and the median milliseconds of a frame where they were measured."""
    latency = read_object(verify / LATENCY)["artifacts"] if (verify / LATENCY).exists() else {}
    told: dict[str, Any] = {}
    for target, of in read_object(verify / VERIFIED)["targets"].items():
        times = latency.get(f"{target}/{of['default']}", {}).get("milliseconds", {}).get("total", {})
        bytes_of = costs.get("bytes", {}).get(target, {})
        told[target] = {"milliseconds": times.get("p50"), "bytes": bytes_of.get(of["default"])}
    return told


def _verdict(path: Path) -> Verdict:
    try:
        return Verdict.model_validate(read_object(path))
    except ValidationError as error:
        raise DataError(f"{path} is no verdict: {error.error_count()} wrong values; run: dvc repro -f gate") from None


def _hash(path: Path) -> str:
    try:
        return file_sha256(path)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; run: dvc repro") from None


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
