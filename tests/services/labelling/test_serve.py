from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.core.errors import ConfigError
from pipeline.services.labelling.local import LocalServer
from pipeline.services.labelling.push import push


def shown(site: Any, running: LocalServer) -> list[bytes]:
    """What the server serves under each task's address, to one who may see it."""
    headers = {"Authorization": f"Token {site.server._token}"}
    return [httpx.get(running.url + t["data"]["image"], headers=headers, timeout=60).content for t in site.tasks()]


def test_uploaded_pictures_are_the_frames_bytes(site: Any, running: LocalServer) -> None:
    push(site.server, site.p, site.items)
    assert shown(site, running) == [item.read() for item in site.items]


def test_a_picture_that_was_sent_already_is_used_again(site: Any) -> None:
    project = site.server.project(site.p.project)
    site.server.upload(project, {site.items[0].file: site.items[0].read()})
    (before,) = site.server.uploads(project).values()
    push(site.server, site.p, site.items)
    assert site.tasks()[0]["data"]["image"] == before
    assert len(site.server.get(f"api/projects/{project.id}/file-uploads", all="true")) == len(site.items)


def test_pictures_are_served_from_the_servers_own_folder(make_site: Any, running: LocalServer) -> None:
    site = make_site("labelling.serve.by=local", f"labelling.serve.root={running.files}")
    push(site.server, site.p, site.items)
    push(site.server, site.p, site.items)
    assert shown(site, running) == [item.read() for item in site.items]
    folder = running.files / f"sightline-{site.server.project(site.p.project).id}"
    assert sorted(path.name for path in folder.iterdir()) == sorted(item.file for item in site.items)


def test_addresses_are_made_from_a_template(make_site: Any) -> None:
    site = make_site(
        "labelling.serve.by=url", r"labelling.serve.url='https://cdn.example/{camera}/{index:03d}#{frame_id}'"
    )
    push(site.server, site.p, site.items)
    assert [task["data"]["image"] for task in site.tasks()] == [
        f"https://cdn.example/{f.camera}/{f.index:03d}#{f.frame_id}" for f in site.frames
    ]


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("https://cdn.example/{secret}", id="unknown"),
        pytest.param("https://cdn.example/{source.__class__}", id="reaching-inside"),
        pytest.param("https://cdn.example/same", id="the-same-for-all"),
    ],
)
def test_a_template_is_made_of_known_fields(make_site: Any, url: str) -> None:
    site = make_site("labelling.serve.by=url", f"labelling.serve.url='{url}'")
    with pytest.raises(ConfigError, match=r"labelling\.serve\.url.*\{camera\}"):
        push(site.server, site.p, site.items)
    assert site.tasks() == []


def test_a_folder_needs_to_be_named(site: Any) -> None:
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("by: upload", "by: local"), encoding="utf-8")
    with pytest.raises(ConfigError, match="by: local needs root"):
        type(site.p).load("labelling")
