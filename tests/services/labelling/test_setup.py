from typing import Any

import pytest

from pipeline.core.errors import SightlineError
from pipeline.core.params import LabellingParams
from pipeline.services.labelling.push import push
from pipeline.services.labelling.setup import settings, setup


def changed(p: LabellingParams, **values: Any) -> LabellingParams:
    return p.model_copy(update=values)


def test_a_project_is_made_and_then_as_it_should_be(site: Any) -> None:
    project = site.server.project(site.p.project)
    assert {name: project[name] for name in settings(site.data, site.p)} == settings(site.data, site.p)
    assert setup(site.server, site.data, site.p) == []


@pytest.mark.parametrize(
    ("values", "told"),
    [
        pytest.param({"annotators": 2}, "maximum_annotations: 1 -> 2", id="annotators"),
        pytest.param({"instruction": "Box it."}, "expert_instruction: '' -> 'Box it.'", id="instruction"),
        pytest.param(
            {"hotkeys": {"person": "p"}}, '<Label value="person" background="#D55E00" hotkey="p" />', id="key"
        ),
        pytest.param({"attributes": {"hat": ("no", "yes")}}, '<Choices name="hat"', id="attribute"),
        pytest.param({"template": "video", "tracks": True}, '<TextArea name="track_id" toName="video"', id="video"),
    ],
)
def test_what_changes_is_told_and_done(site: Any, values: dict[str, Any], told: str) -> None:
    p = changed(site.p, **values)
    assert told in "\n".join(setup(site.server, site.data, p))
    assert setup(site.server, site.data, p) == []


def test_a_project_with_annotations_is_changed_on_request_only(site: Any) -> None:
    push(site.server, site.p, site.items[:1])
    site.server.send("POST", f"api/tasks/{site.tasks()[0]['id']}/annotations", {"result": []})
    p = changed(site.p, instruction="Box it.")
    with pytest.raises(SightlineError, match=r"holds 1 annotations and would change.*--yes\n.*-> 'Box it.'"):
        setup(site.server, site.data, p)
    assert site.server.project(site.p.project)["expert_instruction"] == ""
    setup(site.server, site.data, p, yes=True)
    assert site.server.project(site.p.project)["expert_instruction"] == "Box it."


def test_two_projects_of_one_title_are_not_guessed_between(site: Any) -> None:
    site.server.send("POST", "api/projects/", {"title": site.p.project})
    with pytest.raises(SightlineError, match=r"has 2 projects .*rename all but one"):
        setup(site.server, site.data, site.p)
