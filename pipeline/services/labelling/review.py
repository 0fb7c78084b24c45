"""Frames on which the model and people disagree, sent back to annotators for another look."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.core.params import LabellingParams
from pipeline.core.progress import progress
from pipeline.io.formats.pre_annotation import key_of, rectangle
from pipeline.services.label_studio import Server
from pipeline.services.labelling.push import Check, push
from pipeline.services.labelling.serve import Item

REVIEW = "review"  # key of a task's data that says what to look at again, and that annotators filter by
Json = dict[str, Any]


def review(
    server: Server, p: LabellingParams, issues: Sequence[Json], items: Mapping[str, Item], version: str
) -> tuple[int, int]:
    """Show annotators where the model and people disagree.

    The task of the frame, which is pushed where the server has none, gets a prediction with the model's boxes, and
    says in its data, under `review`, what to look at. Sent twice it is the same.

    Args:
        server: where to.
        p: the project.
        issues: entries of label_issues.json, the most suspicious first.
        items: the frames by id.
        version: name of the prediction.

    Returns:
        how many tasks were marked, and how many were marked so before.
    """
    project = server.project(p.project)
    check = Check(project)
    by_frame: dict[str, list[Json]] = {}
    for issue in issues:
        by_frame.setdefault(issue["frame_id"], []).append(issue)
    push(server, p, [items[key] for key in by_frame if key in items])
    tasks = {key_of(task["data"]): task for task in server.tasks(project, "id", "data")}
    marked = 0
    for key, found in progress(by_frame.items(), desc="review", unit="task"):
        task, note = tasks[key], "; ".join(map(_note, found))
        if task["data"].get(REVIEW) == note:
            continue
        proposal = check.checked(_suggestion(found, items[key], version), task["data"])
        server.send("POST", "api/predictions", {"task": task["id"], **proposal})
        server.send("PATCH", f"api/tasks/{task['id']}", {"data": {**task["data"], REVIEW: note}})
        marked += 1
    return marked, len(by_frame) - marked


def _note(issue: Mapping[str, Any]) -> str:
    return f"{str(issue['kind']).replace('_', ' ')}: {issue['label']} {issue['score']:.2f}"


def _suggestion(found: Sequence[Json], item: Item, version: str) -> Json:
    regions = []
    for number, issue in enumerate(found):
        x, y, width, height = issue["box"]
        box = rectangle(f"{version}-{number}", issue["label"], (x, y, x + width, y + height), item.size)
        regions.append(box | {"score": issue["score"]})
    return {"model_version": version, "score": max(issue["suspicion"] for issue in found), "result": regions}
