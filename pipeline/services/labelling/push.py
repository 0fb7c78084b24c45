"""Tasks for annotators: frames or clips, each once, with a model's boxes where they are wanted."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.core.params import LabellingParams
from pipeline.core.progress import progress
from pipeline.core.types import Detections, Frame
from pipeline.io.formats.pre_annotation import file_name, frame_data, key_of, prediction
from pipeline.io.images import decode
from pipeline.io.shards import ShardReader
from pipeline.services.label_studio import Project, Server, insist
from pipeline.services.labelling.serve import ADDRESS_FIELDS, SERVERS, Item, Serve

Json = dict[str, Any]


class Detector(Protocol):
    """What proposes boxes; a `runtime.session.Session` does."""

    def detect_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Detections in each (H, W, 3) uint8 RGB picture, in its own pixels."""


@dataclass(frozen=True, slots=True)
class Proposer:
    """A detector whose boxes annotators get to see."""

    detector: Detector
    classes: tuple[str, ...]
    thresholds: Mapping[str, float]  # a box below its class's is not proposed
    version: str  # the name that annotators see

    def propose(self, images: Sequence[NDArray[np.uint8]]) -> list[Json]:
        """One prediction a picture."""
        limits = np.array([self.thresholds[name] for name in self.classes])
        return [
            prediction(found.above(limits), self.classes, (image.shape[1], image.shape[0]), self.version)
            for image, found in zip(images, self.detector.detect_batch(images), strict=True)
        ]


def frame_items(frames: Iterable[Frame], reader: ShardReader, *, video: bool) -> list[Item]:
    """Frames as items, in their order; an id that comes twice comes once."""
    once = {frame.frame_id: frame for frame in frames if frame.usable}
    return [
        Item(
            frame.frame_id,
            frame_data(frame, video=video),
            file_name(frame, video=video),
            lambda frame=frame: reader.read(frame),  # type: ignore[misc]
            {name: getattr(frame, name) for name in ADDRESS_FIELDS},
            (frame.width, frame.height),
        )
        for frame in once.values()
    ]


def clip_items(frames: Iterable[Frame], source: Path, rate: Callable[[Path], float]) -> list[Item]:
    """The clips that frames were taken from, with their frame rate: Label Studio counts frames by it."""
    first = {frame.clip: frame for frame in reversed(list(frames)) if frame.usable}
    return [
        Item(
            clip,
            {"clip": clip, "camera": frame.camera, "source": frame.source, "fps": rate(source / frame.source)},
            clip.replace("/", "_") + Path(frame.source).suffix.lower(),
            (source / frame.source).read_bytes,
            {"clip": clip, "camera": frame.camera, "source": frame.source},
            (frame.width, frame.height),
        )
        for clip, frame in sorted(first.items())
    ]


def spread(frames: Sequence[Frame], budget: int) -> list[Frame]:
    """At most `budget` frames, as evenly over cameras and, within each, over time as they can be.

    Cameras take turns; a camera's frames come in the order of van der Corput's sequence, so any prefix is even.
    """
    by_camera: dict[str, list[Frame]] = {}
    for frame in frames:
        by_camera.setdefault(frame.camera, []).append(frame)
    turns = [[line[i] for i in _even(len(line))] for line in by_camera.values()]
    longest = max(map(len, turns), default=0)
    return [line[i] for i in range(longest) for line in turns if i < len(line)][:budget]


def _even(count: int) -> list[int]:
    """0 .. count - 1 in an order whose every prefix is spread evenly."""
    bits = max(count - 1, 0).bit_length()
    order = (int(f"{i:0{bits}b}"[::-1], 2) if bits else i for i in range(1 << bits))
    return [i for i in order if i < count]


def push(
    server: Server,
    p: LabellingParams,
    items: Sequence[Item],
    proposer: Proposer | None = None,
    budget: int | None = None,
) -> tuple[int, int]:
    """Add the items that the server does not have, in batches; a broken push goes on where it was.

    Returns:
        how many were added, and how many were there before.

    Raises:
        SightlineError: the server refuses or stays away; what it took is not sent again by the next push.
        DataError: a prediction does not fit the labelling configuration: it would never be seen.
    """
    project = server.project(p.project)
    there = known(server, project) if project.tasks else {}
    wanted = [item for item in items if item.key not in there]
    missing = wanted if budget is None else wanted[:budget]
    serve = SERVERS[p.serve.by](server, project, p)
    check = Check(project)

    def prepare(batch: Sequence[Item]) -> list[Json]:
        return _tasks(batch, serve, proposer, check, p)

    with progress(total=len(missing), desc="push", unit="task") as bar, ThreadPoolExecutor(1) as pool:
        ahead = [pool.submit(prepare, missing[i : i + p.batch]) for i in range(0, len(missing), p.batch)]
        try:
            for future in ahead:
                tasks = future.result()
                _send(server, project, tasks)
                bar.update(len(tasks))
        finally:
            for future in ahead:
                future.cancel()
    if proposer and project["model_version"] not in {"", proposer.version}:  # the first one is drawn by itself
        server.send("PATCH", f"api/projects/{project.id}", {"model_version": proposer.version})
    return len(missing), len(items) - len(wanted)


def known(server: Server, project: Project) -> dict[str, int]:
    """Number of the task of every frame and clip that the project has."""
    return {key: task["id"] for task in server.tasks(project, "id", "data") if (key := key_of(task["data"]))}


def _send(server: Server, project: Project, tasks: Sequence[Json]) -> None:
    def missing(tasks: list[Json]) -> list[Json]:
        there = known(server, project)
        return [task for task in tasks if key_of(task["data"]) not in there]

    insist(lambda left: server.import_tasks(project, left), missing, list(tasks))


def _tasks(
    batch: Sequence[Item], serve: Serve, proposer: Proposer | None, check: "Check", p: LabellingParams
) -> list[Json]:
    addresses = serve(batch)
    tasks: list[Json] = [{"data": {p.template: addresses[item.key], **item.data}} for item in batch]
    if proposer:
        proposals = proposer.propose([decode(item.read()) for item in batch])
        for task, proposal in zip(tasks, proposals, strict=True):
            task["predictions"] = [check.checked(proposal, task["data"])]
    return tasks


class Check:
    """The labelling configuration's word on predictions: those that do not fit are taken by the server, never drawn."""

    def __init__(self, project: Project) -> None:
        from label_studio_sdk.label_interface.interface import LabelInterface  # noqa: PLC0415 - a second

        self._problems = partial(LabelInterface(project["label_config"]).validate_prediction, return_errors=True)
        self._title = project["title"]

    def checked(self, proposal: Json, data: Mapping[str, Any]) -> Json:
        """The prediction itself. Raises DataError where it does not fit."""
        problems = self._problems(proposal)
        if problems:
            raise DataError(
                f"the prediction for {key_of(data)} does not fit project {self._title!r}, so nobody would see it: "
                f"{problems[0]}; run: sightline labels setup"
            )
        return proposal
