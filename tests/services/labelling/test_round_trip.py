"""From frames to annotators and back, on the real server, through a real browser, and through power cuts."""

import hashlib
import itertools
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.annotate import main as annotate
from pipeline.cli import main
from pipeline.core.boxes import iou
from pipeline.core.errors import SightlineError
from pipeline.core.params import LabellingParams
from pipeline.core.types import Annotation, Detections, Origin
from pipeline.io.formats.pre_annotation import rectangle
from pipeline.io.images import decode
from pipeline.io.tables import read_annotations, read_labelled
from pipeline.services.label_studio import Project, Server, UnreachableError
from pipeline.services.labelling.local import LocalServer
from pipeline.services.labelling.push import Proposer, push
from pipeline.services.labelling.serve import Item
from pipeline.services.labelling.setup import setup
from pipeline.services.labelling.snapshot import pull

ROOT = Path(__file__).parents[3]
OVERRIDES = (
    "+labelling.attributes.occluded=['no','yes']",
    "+labelling.attributes.parts=[head,feet]",
    "labelling.tracks=true",
)
RED = np.array([213, 94, 0])  # the colour of the first class


def sha256_of(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*.*"))}


def drawn(annotation: Annotation, size: tuple[int, int], **more: Any) -> list[dict[str, Any]]:
    """What Label Studio stores when somebody draws this box and answers what it asks."""
    name = f"{annotation.label}-{annotation.x:g}"
    box = {**rectangle(name, annotation.label, annotation.xyxy, size), **more}
    common = {key: value for key, value in box.items() if key not in {"type", "from_name", "value"}}
    place = {key: value for key, value in box["value"].items() if key != "rectanglelabels"}
    said = [("choices", key, value) for key, value in annotation.attributes.items()]
    said += [("textarea", "track_id", annotation.track_id)] if annotation.track_id else []
    return [box] + [
        {**common, "type": kind, "from_name": key, "value": {**place, "text" if kind == "textarea" else kind: [value]}}
        for kind, key, value in said
    ]


def assert_same(found: Sequence[Annotation], meant: Sequence[Annotation]) -> None:
    for frame_id in {a.frame_id for a in [*found, *meant]}:
        left = sorted((a for a in found if a.frame_id == frame_id), key=lambda a: a.xyxy)
        right = sorted((a for a in meant if a.frame_id == frame_id), key=lambda a: a.xyxy)
        assert [(a.label, dict(a.attributes), a.track_id, a.origin, a.ignore) for a in left] == [
            (a.label, dict(a.attributes), a.track_id, a.origin, a.ignore) for a in right
        ]
        corners = [np.array([a.xyxy for a in side]).reshape(-1, 4) for side in (left, right)]
        assert (np.diag(iou(*corners)) >= 0.999).all()


def test_what_two_people_mean_comes_back_and_nothing_comes_twice(
    make_site: Any, second_person: Server, write_export: Callable[..., Path]
) -> None:
    site = make_site(*OVERRIDES)
    export = write_export(Path("models/export"), thresholds={"person": 0.0, "vehicle": 0.0})
    main(["labels", "push", "--predict", str(export)])
    tasks = {task["data"]["source"]: task for task in site.tasks()}
    proposed = {p["task"]: p for p in site.predictions()}
    one, two, three = (site.frame(name) for name in ("gate/0.jpg", "gate/1.jpg", "yard/0.jpg"))
    size = {frame.frame_id: (frame.width, frame.height) for frame in (one, two, three)}

    # The first person draws by hand, with every kind of answer.
    by_hand = [
        Annotation(one.frame_id, "person", 10.123, 20.456, 33.3, 41.7, track_id="7", attributes={"occluded": "yes"}),
        Annotation(one.frame_id, "vehicle", 100.5, 3.25, 99.5, 60.125, attributes={"occluded": "no", "parts": "feet"}),
        Annotation(one.frame_id, "ignore", 0, 90, 200, 10, ignore=True),
    ]
    results = [result for box in by_hand for result in drawn(box, size[one.frame_id])]
    path = f"api/tasks/{tasks[one.source]['id']}/annotations"
    site.server.send("POST", path, {"result": results})

    # The second person accepts what the model proposes on the next, and moves a side of the other box.
    guess = proposed[tasks[two.source]["id"]]
    accepted, moved = ({**region, "origin": origin} for region, origin in zip(
        guess["result"], ("prediction", "prediction-changed"), strict=True
    ))  # fmt: skip
    moved["value"] = {**moved["value"], "width": 50.0}
    body = {"result": [accepted, moved], "parent_prediction": guess["id"]}
    second_person.send("POST", f"api/tasks/{tasks[two.source]['id']}/annotations", body)
    corrected = [
        Annotation(two.frame_id, label, *left_top, *sides, origin=Origin.CORRECTED)
        for label, left_top, sides in (
            (accepted["value"]["rectanglelabels"][0], *_place(accepted, size[two.frame_id])),
            (moved["value"]["rectanglelabels"][0], *_place(moved, size[two.frame_id])),
        )
    ]

    # On the last both find nothing, and say so.
    for person in (site.server, second_person):
        person.send("POST", f"api/tasks/{tasks[three.source]['id']}/annotations", {"result": []})

    main(["labels", "pull"])
    annotate(["--labels", "data/labels/export", "--frames", "data/frames", "--out", "data/annotations"])
    assert_same(read_annotations(Path("data/annotations/annotations.parquet")), [*by_hand, *corrected])
    labelled = {frame.frame_id: frame for frame in read_labelled(Path("data/annotations/labelled.parquet"))}
    assert {key: len(it.annotators) for key, it in labelled.items()} == {
        one.frame_id: 1,
        two.frame_id: 1,
        three.frame_id: 2,
    }

    before = sha256_of(Path("data/labels/export")), sha256_of(Path("data/annotations"))
    main(["labels", "pull"])
    annotate(["--labels", "data/labels/export", "--frames", "data/frames", "--out", "data/annotations"])
    assert (sha256_of(Path("data/labels/export")), sha256_of(Path("data/annotations"))) == before
    main(["labels", "push", "--labelled", "--predict", str(export)])
    assert len(site.tasks()) == 3
    assert len(site.predictions()) == 3


def _place(region: dict[str, Any], size: tuple[int, int]) -> tuple[tuple[float, float], tuple[float, float]]:
    x, y, width, height = (region["value"][side] / 100 for side in ("x", "y", "width", "height"))
    return (x * size[0], y * size[1]), (width * size[0], height * size[1])


def dvc(*arguments: str) -> str:
    done = subprocess.run(
        ["dvc", *arguments],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_dvc_pulls_first_and_goes_on_only_where_something_changed(make_site: Any) -> None:
    site = make_site("labelling.pull=[server]")
    push(site.server, site.p, site.items)
    for name in ("pipeline", "dvc.yaml"):
        Path(name).symlink_to(ROOT / name)
    subprocess.run(["git", "init", "--quiet"], check=True)
    dvc("init", "--quiet")
    person = {"result": drawn(Annotation("", "person", 8, 8, 40, 50), (200, 100))}
    site.server.send("POST", f"api/tasks/{site.tasks()[0]['id']}/annotations", person)
    ran = [_ran(dvc("repro", "annotate")), _ran(dvc("repro", "annotate"))]
    site.server.send("POST", f"api/tasks/{site.tasks()[1]['id']}/annotations", {"result": []})
    ran.append(_ran(dvc("repro", "annotate")))
    assert ran == [{"ingest", "pull@server", "annotate"}, {"pull@server"}, {"pull@server", "annotate"}]


def _ran(told: str) -> set[str]:
    return set(re.findall("Running stage '(.*)'", told))


@pytest.fixture
def page(running: LocalServer) -> Any:
    """A page of a real browser, logged in."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - half a second

    browsers = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    program = next(filter(None, browsers), None)
    if program is None:
        pytest.skip("no browser on this machine; install chromium (Debian: apt-get install chromium)")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=program, args=quiet)
        view = browser.new_page(viewport={"width": 1400, "height": 900})
        view.goto(f"{running.url}/user/login/")
        view.fill("input[name=email]", "first@example.com")
        view.fill("input[name=password]", "first-password")
        view.click("button[type=submit]")
        view.wait_for_url(lambda url: "login" not in url)
        yield view
        browser.close()


def test_the_labelling_page_shows_the_predicted_boxes(site: Any, running: LocalServer, page: Any) -> None:
    frame = site.frame("gate/1.jpg")
    boxes = np.array([[32, 24, 160, 216], [200, 60, 300, 180]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.6], np.float32), np.array([0, 0], np.int64))
    items = [item for item in site.items if item.key == frame.frame_id]
    push(site.server, site.p, items, Proposer(Says(found), ("person",), {"person": 0.5}, "v1"))
    (task,) = site.tasks()
    page.goto(f"{running.url}/projects/{site.server.project(site.p.project).id}/data?task={task['id']}")
    page.wait_for_selector(".lsf-tree__node_type_rectangleregion")
    assert page.locator(".lsf-tree__node_type_rectangleregion").count() == 2
    _until_drawn(lambda: _redness(page, _on_page(page, boxes, frame.width)))


def _on_page(page: Any, boxes: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Boxes of a frame of `width` where the page shows them now: a panel that opens late moves and zooms them."""
    picture = page.locator("canvas[class^=overlay]").bounding_box()
    corner = np.array([picture["x"], picture["y"]] * 2, np.float32)
    scale = np.float32(picture["width"] / width)
    return boxes * scale + corner


def _redness(page: Any, boxes: NDArray[np.float32]) -> float:
    """Share of the boxes' outlines that have the colour of their class, within two pixels."""
    shot = decode(page.screenshot())
    alike = (np.abs(shot.astype(int) - RED).max(axis=2) < 40).astype(np.uint8)
    near = cv2.dilate(alike, np.ones((5, 5), np.uint8))
    on_line = []
    for x1, y1, x2, y2 in boxes.round().astype(int):
        on_line += [near[y, x1:x2] for y in (y1, y2)] + [near[y1:y2, x] for x in (x1, x2)]
    return float(np.concatenate(on_line).mean())


def _until_drawn(share: Callable[[], float]) -> None:
    """Wait for what a browser draws when it is ready."""
    end = time.monotonic() + 60
    while (drawn := share()) <= 0.9:
        assert time.monotonic() < end, f"after a minute {drawn:.0%} of the outlines are drawn"


def items_of(count: int) -> list[Item]:
    return [
        Item(f"frame-{i}", {"frame_id": f"frame-{i}"}, f"{i}.jpg", bytes, {"frame_id": f"frame-{i}"}, (10, 10))
        for i in range(count)
    ]


@pytest.fixture
def p(site: Any) -> LabellingParams:
    serve = site.p.serve.model_copy(update={"by": "url", "url": "https://cdn.example/{frame_id}"})
    found: LabellingParams = site.p.model_copy(update={"serve": serve, "batch": 20})
    return found


class Says:
    """A detector that finds what it was told."""

    def __init__(self, found: Detections) -> None:
        self._found = found

    def detect_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        return [self._found for _ in images]


class Fragile(Server):
    """Its server is killed around one of its requests."""

    def __init__(self, local: LocalServer, at: int, when: str, *, back: bool) -> None:
        healthy = local.client()
        super().__init__(healthy._address, healthy._token, waits=[0.2] * (100 if back else 1))
        self._local = local
        self._at, self._when, self._back = at, when, back
        self._count = itertools.count()

    def import_tasks(self, project: Project, tasks: Sequence[Any]) -> None:
        self._through(lambda: super(Fragile, self).import_tasks(project, tasks))

    def export(self, project: Project, ids: Sequence[int]) -> bytes:
        return bytes(self._through(lambda: super(Fragile, self).export(project, ids)))

    def _through(self, request: Callable[[], Any]) -> Any:
        if next(self._count) != self._at:
            return request()
        if self._when == "before":
            self._kill()
        cut = threading.Timer(0.05, self._kill)
        if self._when == "during":
            cut.start()
        try:
            return request()
        finally:
            if self._when == "during":
                cut.join()
            if self._when == "after":
                self._kill()

    def _kill(self) -> None:
        self._local.kill()
        if self._back:
            self._local.start()


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_a_push_survives_a_server_that_comes_back(
    site: Any, p: LabellingParams, own_server: LocalServer, when: str
) -> None:
    setup(own_server.client(), site.data, p)
    push(Fragile(own_server, 2, when, back=True), p, items_of(100))
    tasks = list(own_server.client().tasks(own_server.client().project(p.project), "data"))
    assert sorted(task["data"]["frame_id"] for task in tasks) == sorted(item.key for item in items_of(100))


def test_a_broken_push_is_completed_by_the_next(site: Any, p: LabellingParams, own_server: LocalServer) -> None:
    setup(own_server.client(), site.data, p)
    with pytest.raises(UnreachableError):
        push(Fragile(own_server, 2, "during", back=False), p, items_of(100))
    own_server.start()
    added, before = push(own_server.client(), p, items_of(100))
    assert added + before == 100
    assert 40 <= before <= 60
    assert len(list(own_server.client().tasks(own_server.client().project(p.project), "id"))) == 100


def test_a_broken_pull_leaves_the_snapshot_and_the_next_completes_it(
    site: Any, p: LabellingParams, own_server: LocalServer, tmp_path: Path
) -> None:
    setup(own_server.client(), site.data, p)
    push(own_server.client(), p, items_of(250))  # two parts
    pull(own_server.client(), p, tmp_path / "good")
    push(own_server.client(), p, [*items_of(250), *items_of(450)])
    shutil.copytree(tmp_path / "good", tmp_path / "export")
    shutil.copy(tmp_path / "good.json", tmp_path / "export.json")
    with pytest.raises(SightlineError, match="does not answer"):
        pull(Fragile(own_server, 1, "before", back=False), p, tmp_path / "export")
    assert sha256_of(tmp_path / "export") == sha256_of(tmp_path / "good")
    own_server.start()
    pull(own_server.client(), p, tmp_path / "export")
    pull(own_server.client(), p, tmp_path / "fresh")
    assert sha256_of(tmp_path / "export") == sha256_of(tmp_path / "fresh") != sha256_of(tmp_path / "good")
