"""A real Label Studio: installed once, its database made once a test run, one server a worker."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from filelock import FileLock

from pipeline.cli import main
from pipeline.core.params import DataParams, LabellingParams
from pipeline.core.types import Frame
from pipeline.ingest import main as ingest
from pipeline.io.images import encode_jpeg
from pipeline.io.shards import ShardReader
from pipeline.io.tables import read_frames
from pipeline.services.composition import compose
from pipeline.services.label_studio import Server
from pipeline.services.labelling.local import HOME, Account, LocalServer, program
from pipeline.services.labelling.push import frame_items
from pipeline.services.labelling.serve import Item

ROOT = Path(__file__).parents[3]
ACCOUNT = Account("first@example.com", "first-password", "0123456789abcdef0123456789abcdef01234567")
SIZES = {"gate/0.jpg": (200, 100), "gate/1.jpg": (320, 240), "yard/0.jpg": (64, 64)}  # width, height


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the tables in it; making them takes half a minute, copying them none."""
    base = tmp_path_factory.getbasetemp()
    made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "label-studio"
    with FileLock(f"{made}.lock"):
        if not made.exists():
            subprocess.run(["make", "--silent", f"{HOME}/ready"], cwd=ROOT, check=True)
            with LocalServer(program(ROOT / HOME), made.with_suffix(".partial"), ACCOUNT):
                pass
            made.with_suffix(".partial").rename(made)
    return made


@pytest.fixture(scope="session")
def running(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """The worker's server."""
    folder = tmp_path_factory.mktemp("label-studio") / "data"
    shutil.copytree(database, folder)
    with LocalServer(program(ROOT / HOME), folder, ACCOUNT) as server:
        yield server


@pytest.fixture
def own_server(database: Path, tmp_path: Path) -> Iterator[LocalServer]:
    """A server that the test may kill."""
    shutil.copytree(database, tmp_path / "label-studio")
    with LocalServer(program(ROOT / HOME), tmp_path / "label-studio", ACCOUNT) as server:
        yield server


@dataclass(frozen=True)
class Site:
    """A data set of three pictures, ingested in the current folder, and its project on the server."""

    server: Server
    data: DataParams
    p: LabellingParams
    frames: list[Frame]
    items: list[Item]

    def frame(self, source: str) -> Frame:
        return next(frame for frame in self.frames if frame.source == source)

    def tasks(self) -> list[dict[str, Any]]:
        """What the server has, in the order of the tasks' numbers."""
        project = self.server.project(self.p.project)
        return sorted((dict(t) for t in self.server.tasks(project, "id", "data")), key=lambda task: int(task["id"]))

    def predictions(self) -> list[dict[str, Any]]:
        project = self.server.project(self.p.project)
        found: list[dict[str, Any]] = self.server.get("api/predictions/", project=project.id)
        return found


@pytest.fixture
def make_site(running: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Site]]:
    """Makes the site; keywords are Hydra overrides. The project is set up on the server."""
    folder = tmp_path / "site"
    for i, (name, (width, height)) in enumerate(SIZES.items()):
        pixels = np.random.default_rng(i).integers(0, 256, (height, width, 3), np.uint8)
        path = folder / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_jpeg(pixels, 90))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LABEL_STUDIO_URL", running.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", ACCOUNT.token)
    readers: list[ShardReader] = []

    def make(*overrides: str) -> Site:
        own = ["data=folder", "data.path=pictures", f"labelling.project=test-{uuid.uuid4().hex[:12]}"]
        Path("params.yaml").write_text(compose([*own, *overrides], ROOT / "conf"), encoding="utf-8")
        ingest(["--source", "pictures", "--out", "data/frames"])
        main(["labels", "setup"])
        frames = read_frames(Path("data/frames/frames.parquet"))
        readers.append(ShardReader(Path("data/frames")))
        items = frame_items(frames, readers[-1], video=False)
        p = LabellingParams.load("labelling")
        return Site(running.client(), DataParams.load("data"), p, frames, items)

    yield make
    for reader in readers:
        reader.__exit__()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()


@pytest.fixture(scope="session")
def second_person(running: LocalServer) -> Server:
    """Another annotator of the same organisation, who signed up by the invitation."""
    email, password = "second@example.com", "second-password"
    invitation = running.client().get("api/invite")["invite_url"]
    with httpx.Client(base_url=running.url, follow_redirects=True, timeout=60) as browser:
        browser.get(invitation)
        form = {"email": email, "password": password, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        browser.post(invitation, data=form, headers={"Referer": running.url}).raise_for_status()
        token = browser.get("/api/current-user/token").json()["token"]
    return Server(running.url, token)
