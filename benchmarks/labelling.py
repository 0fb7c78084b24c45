"""Seconds of `sightline labels push` against the server's own import of the same payload, on a real Label Studio.

    python benchmarks/labelling.py [--frames 1000] [--turns 3]

The peer is one plain POST of all tasks with their predictions, five boxes each, to the import address of an empty
project. Ours lists what the project has, proposes, checks each prediction against the labelling configuration, sends in
batches and lists nothing twice. Turn by turn, each on a project of its own; printed: seconds and the ratio of medians.
The server's environment must be there: make .labelstudio/ready
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from pipeline.core.params import DataParams, LabellingParams
from pipeline.core.types import Detections, Frame
from pipeline.io.formats.pre_annotation import frame_data
from pipeline.io.images import encode_jpeg
from pipeline.services.labelling.local import HOME, Account, LocalServer, program
from pipeline.services.labelling.push import Proposer, push
from pipeline.services.labelling.serve import ADDRESS_FIELDS, Item
from pipeline.services.labelling.setup import setup

SIZE = (64, 48)
BOXES = 5


class Fixed:
    """Finds five boxes in every picture at once: the model's time is measured elsewhere."""

    def detect_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """The same five for each."""
        corners = np.array([[i, i, i + 20, i + 30] for i in range(BOXES)], np.float32)
        return [Detections(corners, np.full(BOXES, 0.9, np.float32), np.zeros(BOXES, np.int64))] * len(images)


def items_of(count: int) -> list[Item]:
    """Frames of one small picture under many ids."""
    picture = encode_jpeg(np.full((SIZE[1], SIZE[0], 3), 128, np.uint8), 90)
    frames = (Frame(f"{i:016x}", "gate", "gate", i, i / 25, *SIZE, "gate.mp4") for i in range(count))
    return [
        Item(
            frame.frame_id,
            frame_data(frame, video=True),
            f"{frame.frame_id}.jpg",
            lambda: picture,
            {name: getattr(frame, name) for name in ADDRESS_FIELDS},
            SIZE,
        )
        for frame in frames
    ]


def posted(url: str, token: str, project: int, tasks: list[dict[str, Any]]) -> float:
    """Seconds of one plain import."""
    start = time.perf_counter()
    headers = {"Authorization": f"Token {token}"}
    httpx.post(f"{url}/api/projects/{project}/import", json=tasks, headers=headers, timeout=600).raise_for_status()
    return time.perf_counter() - start


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    data, account, items = DataParams.load("data"), Account.new(), items_of(args.frames)
    proposer = Proposer(Fixed(), data.classes, dict.fromkeys(data.classes, 0.5), "benchmark")
    serve = {"by": "url", "url": "https://cdn.example/{frame_id}.jpg", "root": ""}
    theirs, ours = [], []
    with tempfile.TemporaryDirectory() as folder, LocalServer(program(HOME), Path(folder), account) as running:
        server = running.client()
        base = LabellingParams.load("labelling").model_dump(mode="json") | {"serve": serve}
        for turn in range(args.turns):
            p = LabellingParams.parse("labelling", base | {"project": f"ours {turn}"})
            setup(server, data, p)
            start = time.perf_counter()
            push(server, p, items, proposer)
            ours.append(time.perf_counter() - start)
            sent = [dict(task) for task in server.tasks(server.project(p.project), "data", "predictions")]
            payload = [{"data": task["data"], "predictions": [clean(q) for q in task["predictions"]]} for task in sent]
            setup(server, data, p.model_copy(update={"project": f"plain {turn}"}))
            theirs.append(posted(running.url, account.token, server.project(f"plain {turn}").id, payload))
            print(f"turn {turn + 1}: push {ours[-1]:.2f} s, plain import {theirs[-1]:.2f} s", flush=True)
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(f"{args.frames} frames with {BOXES} predicted boxes each: push takes {ratio:.2f} of the server's own import")


def clean(prediction: dict[str, Any]) -> dict[str, Any]:
    """A prediction as it was sent."""
    return {key: prediction[key] for key in ("model_version", "score", "result")}


if __name__ == "__main__":
    main()
