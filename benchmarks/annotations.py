"""Seconds and memory of reading a large Label Studio export, against plain `json.load` and the SDK's own converter.

    python benchmarks/annotations.py [--tasks 10000] [--no-converter]

The export is made in a temporary folder, the same in every run: five boxes a task, a fifth of the tasks with two
annotators, answers by region, some boxes turned. Ours reads it, places it on its frames, finds agreement and consensus,
writes report and tables. Each reader runs in a process of its own; what starting Python and importing takes is left
out of the seconds, and is in the memory. The converter writes COCO, and does neither of agreement, consensus, tables.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.core.types import Frame
from pipeline.io.tables import write_frames

ROOT = Path(__file__).parents[1]
REGIONS = 5  # a task
SIZE = (1920, 1080)
CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image"><Label value="person"/><Label value="vehicle"/></RectangleLabels></View>"""


def frame_of(number: int) -> Frame:
    """Every tenth frame of clips of a thousand."""
    clip, index = f"camera{number // 1000:02d}/day", number % 1000 * 10
    return Frame(f"{number:016x}", clip[:8], clip, index, index / 25, *SIZE, f"{clip}.mp4")


def annotation(rng: random.Random, who: int, regions: int) -> dict[str, Any]:
    """One annotator's boxes, each with an answer."""
    size = {"original_width": SIZE[0], "original_height": SIZE[1], "image_rotation": 0, "to_name": "image"}
    results = []
    for n in range(regions):
        name = f"{rng.getrandbits(60):015x}"
        sides = {"x": 18 * n + rng.random(), "y": 10 + rng.random(), "width": 16, "height": 30}
        place = {**sides, "rotation": 15 if rng.random() < 0.05 else 0}
        common = {"id": name, "origin": "manual", **size}
        label = {"rectanglelabels": ["person" if n % 3 else "vehicle"]}
        results += [
            {**common, "type": "rectanglelabels", "from_name": "label", "value": {**place, **label}},
            {**common, "type": "choices", "from_name": "brightness", "value": {**place, "choices": ["dark"]}},
        ]
    return {"id": who, "completed_by": who, "result": results, "was_cancelled": False, "ground_truth": False}


def write_export(folder: Path, tasks: int) -> None:
    """export.json, its frames' table, and the parameters."""
    rng = random.Random(0)  # noqa: S311 - the same export in every run
    docs = []
    for number in range(tasks):
        frame = frame_of(number)
        data = {
            "image": f"/data/upload/1/1a2b3c4d-{frame.frame_id}.jpg",
            "clip": frame.clip,
            "frame_index": frame.index,
        }
        several = number % 5 == 0
        annotations = [annotation(rng, who, REGIONS) for who in ((1, 2) if several else (1,))]
        docs.append({"id": number, "data": data, "annotations": annotations, "drafts": [], "predictions": []})
    (folder / "export.json").write_text(json.dumps(docs))
    (folder / "config.xml").write_text(CONFIG)
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    write_frames(folder / "frames" / "frames.parquet", [frame_of(number) for number in range(tasks)])


def ours() -> Callable[[], object]:
    """The stage as it runs."""
    from pipeline.annotate import main  # noqa: PLC0415 - no other reader pays for it in memory

    return lambda: main(["--labels", "export.json", "--frames", "frames", "--out", "ours"])


def plain() -> Callable[[], object]:
    """json.load, below which no reader can be."""
    return lambda: json.loads(Path("export.json").read_bytes())


def converter() -> Callable[[], object]:
    """The SDK's converter, to COCO; it reads a folder of exports."""
    from label_studio_sdk.converter.converter import Converter  # noqa: PLC0415 - as above

    it: Any = Converter
    reader = it(CONFIG, project_dir=".", download_resources=False)
    return lambda: reader.convert_to_coco("export.json", "theirs", is_dir=False)


READERS: dict[str, Callable[[], Callable[[], object]]] = {"ours": ours, "json.load": plain, "converter": converter}


def run(name: str) -> None:
    """Read in this process; print seconds and MB."""
    read = READERS[name]()
    start = time.perf_counter()
    read()
    seconds = time.perf_counter() - start
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def measured(name: str, folder: Path) -> tuple[float, float]:
    """Seconds and MB of one reader."""
    command = [sys.executable, str(Path(__file__).resolve()), "--reader", name]
    done = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    seconds, megabytes = json.loads(done.stdout.splitlines()[-1])
    return seconds, megabytes


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--no-converter", action="store_true", help="leave the SDK's converter out")
    parser.add_argument("--reader", choices=READERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.reader:
        run(args.reader)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_export(folder, args.tasks)
        megabytes = (folder / "export.json").stat().st_size / 1e6
        print(f"{args.tasks} tasks, {args.tasks * REGIONS * 6 // 5} boxes, {megabytes:.0f} MB")
        figures = {n: measured(n, folder) for n in READERS if n != "converter" or not args.no_converter}
        for reader, (seconds, memory) in figures.items():
            ratio = seconds / figures["json.load"][0]
            print(f"{reader:10} {seconds:6.2f} s {memory:6.0f} MB {ratio:6.1f} x json.load")


if __name__ == "__main__":
    main()
