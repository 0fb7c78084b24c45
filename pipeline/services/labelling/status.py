"""Where the labelling stands: states, annotators, agreement, and what waits."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.agreement import agreement
from pipeline.core.params import LabellingParams
from pipeline.core.types import Annotation
from pipeline.io.formats.label_studio import from_label_studio
from pipeline.io.formats.record import Task
from pipeline.services.label_studio import Project, Server
from pipeline.services.labelling.review import REVIEW
from pipeline.services.labelling.snapshot import CHUNK, changed_since

FIELDS = ("id", "updated_at", "data", "total_annotations", "cancelled_annotations", "total_predictions", "draft_exists")
Listed = Mapping[str, Any]


def status(server: Server, p: LabellingParams, snapshot: Path, min_iou: float) -> list[str]:
    """Lines that say where the project stands.

    Args:
        server: where it is.
        p: the project.
        snapshot: folder of the last pull.
        min_iou: boxes of two annotators are one object from this IoU on.
    """
    project = server.project(p.project)
    tasks = list(server.tasks(project, *FIELDS, "annotators"))
    states = Counter(map(_state, tasks))
    waiting = [task for task in tasks if _state(task) in {"waiting", "draft"}]
    several = [task["id"] for task in tasks if task["total_annotations"] > 1]
    done = f"annotated {states['annotated']} ({len(several)} by several people), skipped {states['skipped']}"
    shown, marked = _with_predictions(waiting), sum(REVIEW in task["data"] for task in tasks)
    return [
        f"project {p.project!r} at {server.url}/projects/{project.id}: {len(tasks)} tasks",
        f"{done}, begun {states['draft']}, waiting {states['waiting']}",
        f"a model's boxes wait in {shown} tasks; {marked} tasks are marked for review",
        *_annotators(server, tasks),
        _agreement(server, project, several, min_iou),
        _snapshot(server, project, tasks, snapshot),
    ]


def _state(task: Listed) -> str:
    if task["total_annotations"]:
        return "annotated"
    if task["cancelled_annotations"]:
        return "skipped"
    return "draft" if task["draft_exists"] else "waiting"


def _with_predictions(tasks: Iterable[Listed]) -> int:
    return sum(task["total_predictions"] > 0 for task in tasks)


def _annotators(server: Server, tasks: Sequence[Listed]) -> list[str]:
    done = Counter(who for task in tasks for who in task["annotators"])
    names = {user["id"]: user["email"] for user in server.get("api/users")} if done else {}
    return [f"{names.get(who, f'user {who}')}: {count} tasks" for who, count in done.most_common()]


def _agreement(server: Server, project: Project, several: Sequence[int], min_iou: float) -> str:
    chunks = (several[i : i + CHUNK] for i in range(0, len(several), CHUNK))
    found = [task for ids in chunks for task in from_label_studio(json.loads(server.export(project, ids)))]
    scores = [agreed.f1 for task in found if (agreed := agreement(_boxes(task), min_iou))]
    if not scores:
        return "agreement: not assessable, no task has two annotations"
    return f"agreement: F1 {sum(scores) / len(scores):.3f} over {len(scores)} tasks at IoU {min_iou:g}"


def _boxes(task: Task) -> list[list[Annotation]]:
    """Each annotator's boxes in fractions of the picture: IoU is the same as in pixels."""
    return [
        [Annotation(task.id, r.label, r.x, r.y, r.width, r.height, r.ignore) for r in version.regions]
        for version in task.versions
    ]


def _snapshot(server: Server, project: Project, tasks: Sequence[Listed], snapshot: Path) -> str:
    changed = changed_since(server, project, tasks, snapshot)
    if changed is None:
        return f"{snapshot}: never pulled; run: sightline labels pull"
    if changed:
        return f"{snapshot}: {changed} tasks lie in parts that changed; run: sightline labels pull"
    return f"{snapshot}: up to date"
