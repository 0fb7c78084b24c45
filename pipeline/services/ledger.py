"""The ledger: a row an iteration, with what it cost and what it bought, kept as figures and tags of MLflow's runs."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from pipeline.core.comparisons import NOT_COMPARED
from pipeline.core.groups import ASSESSABLE
from pipeline.services import tracking

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

PREFIX = "iteration/"  # of the figures of a run that only the ledger needs
WORST = "sightline.worst_group"  # tag: attribute and value


class Row(BaseModel):
    """One iteration; None where it is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    date: str | None  # of the registration, UTC
    frames: int | None  # usable, in all
    frames_added: int | None  # against the iteration before
    labels: int | None  # boxes, in all
    labels_added: int | None
    benchmark: str  # hash: APs on different ones cannot be compared
    AP: float | None
    AP50: float | None
    worst_group: str
    worst_recall: float | None
    robustness: float | None  # rPC: share of AP that is left under corruption
    verdict: str
    minutes: float | None  # of training; None where none was needed


def facts(
    ingest: Mapping[str, Any], annotate: Mapping[str, Any], groups: Mapping[str, Any], before: Row | None
) -> tuple[dict[str, float], dict[str, str]]:
    """Figures and tags that the run of an iteration gets.

    Args:
        ingest: ingest.json.
        annotate: annotate.json.
        groups: groups.json.
        before: the iteration before this one.
    """
    counts = {"frames": ingest.get("usable"), "labels": sum(annotate.get("boxes", {}).values()) or None}
    figures = {f"{PREFIX}{name}": float(count) for name, count in counts.items() if count is not None}
    earlier = before.model_dump() if before else {}
    for name, count in counts.items():
        if count is not None:
            figures[f"{PREFIX}{name}_added"] = float(count - (earlier.get(name) or 0))
    worst = worst_group(groups)
    if worst is None:
        return figures, {}
    return figures | {f"{PREFIX}worst_recall": worst[1]}, {WORST: worst[0]}


def worst_group(groups: Mapping[str, Any]) -> tuple[str, float] | None:
    """The assessable group with the lowest recall, and that; classes and heights differ by nature and are left out."""
    found = [
        (float(it["recall"]), f"{attribute} {value}")
        for attribute, values in groups.items()
        if not set(attribute.split(" x ")) & set(NOT_COMPARED)
        for value, it in values.items()
        if it.get("verdict") == ASSESSABLE and "recall" in it
    ]
    recall, name = min(found, default=(0.0, ""))
    return (name, recall) if name else None


def rows(client: "MlflowClient", model: str, until: int | None = None) -> list[Row]:
    """Every iteration of the model, or those up to a version, in order.

    Args:
        client: of the registry.
        model: its name.
        until: the last version.
    """
    found = [it for it in client.search_model_versions(f"name = '{model}'") if tracking.ITERATION in it.tags]
    upto = [it for it in found if until is None or int(it.version) <= until]
    ordered = sorted(upto, key=lambda it: int(it.version))
    return [_row(it, client.get_run(it.run_id)) for it in ordered if it.run_id]


def _row(version: "ModelVersion", run: "Run") -> Row:
    figures, tags = run.data.metrics, version.tags
    counts = {
        name: int(figures[f"{PREFIX}{name}"]) if f"{PREFIX}{name}" in figures else None
        for name in ("frames", "frames_added", "labels", "labels_added")
    }
    return Row(
        version=int(version.version),
        date=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).date().isoformat(),
        benchmark=tags.get(tracking.BENCHMARK, ""),
        AP=figures.get("AP"),
        AP50=figures.get("AP50"),
        worst_group=run.data.tags.get(WORST, ""),
        worst_recall=figures.get(f"{PREFIX}worst_recall"),
        robustness=figures.get("robustness/rPC/all/AP"),
        verdict=tags.get(tracking.VERDICT, ""),
        minutes=figures.get(tracking.MINUTES) if tracking.TRAINING in run.data.tags else None,
        **counts,
    )


def without_clock(history: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows for a file that must be the same whenever it is written: the last one without its date and minutes.

    Those before it are facts that no rerun changes.
    """
    last = [row.model_copy(update={"date": None, "minutes": None}) for row in history[-1:]]
    return [row.model_dump(mode="json") for row in [*history[:-1], *last]]


def table(history: Sequence[Row]) -> str:
    """The ledger as lines of text."""
    titles = {
        "version": "version",
        "date": "date",
        "frames_added": "frames",
        "labels_added": "labels",
        "AP": "AP",
        "AP50": "AP50",
        "worst_group": "worst group",
        "worst_recall": "recall",
        "robustness": "rPC",
        "verdict": "verdict",
        "minutes": "minutes",
    }
    cells = [list(titles.values()), *([_text(name, getattr(row, name)) for name in titles] for row in history)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def _text(name: str, value: object) -> str:
    if value is None or value == "":
        return "-"
    if name.endswith("_added"):
        return f"{value:+d}"
    if isinstance(value, float):
        return f"{value:.1f}" if name == "minutes" else f"{value:.3f}"
    return str(value)
