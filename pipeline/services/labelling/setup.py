"""The project in Label Studio as the configuration wants it."""

from difflib import unified_diff
from typing import Any

from pipeline.core.errors import SightlineError
from pipeline.core.params import DataParams, LabellingParams
from pipeline.io.formats.label_config import label_config
from pipeline.services.label_studio import Project, Server


def setup(server: Server, data: DataParams, p: LabellingParams, *, yes: bool = False) -> list[str]:
    """Make the project, or bring it up to the configuration.

    Returns:
        what was changed, a line each; nothing where it is as it should be.

    Raises:
        SightlineError: it holds annotations and would change, and `yes` is not set: the message says how.
    """
    wanted = settings(data, p)
    project = server.find_project(p.project)
    if project is None:
        made = Project(server.send("POST", "api/projects/", {"title": p.project, **wanted}))
        return [f"project {p.project!r} made: {server.url}/projects/{made.id}"]
    changed = {name: value for name, value in wanted.items() if project.get(name) != value}
    told = [line for name in changed for line in _difference(name, project.get(name), wanted[name])]
    if changed and project.annotations and not yes:
        lost = f"project {p.project!r} holds {project.annotations} annotations and would change"
        raise SightlineError("\n  ".join([f"{lost}; to change it: sightline labels setup --yes", *told]))
    if changed:
        server.send("PATCH", f"api/projects/{project.id}", changed)
    return told


def settings(data: DataParams, p: LabellingParams) -> dict[str, Any]:
    """What the configuration says about the project, in the server's words."""
    return {
        "label_config": label_config(data, p),
        "expert_instruction": p.instruction,
        "show_instruction": bool(p.instruction),
        "maximum_annotations": p.annotators,
        "show_collab_predictions": True,  # else pushed predictions are never drawn
    }


def _difference(name: str, old: object, new: object) -> list[str]:
    if name != "label_config":
        return [f"{name}: {old!r} -> {new!r}"]
    lines = unified_diff(str(old).splitlines(), str(new).splitlines(), "the server's", "conf's", lineterm="", n=0)
    return [f"{name}:", *(f"  {line}" for line in lines if not line.startswith("@@"))]
