"""Ultralytics' yolo11n as a peer: an environment of its own, the pictures as a YOLO data set, and the call.

Its licence is AGPL, so it is no dependency of this project: `.ultralytics/` is made when a benchmark asks for it, and
it runs as another program.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.modeling.loader import Pictures

ENVIRONMENT = Path(__file__).parents[2] / ".ultralytics"
ULTRALYTICS = "ultralytics==8.4.190"
DRIVER = Path(__file__).with_name("ultralytics_driver.py")
CLASSES = ("person", "vehicle")
FEW = 16  # pictures


def environment() -> Path:
    """Its interpreter; the environment is made at the first call, with the torch that ours has."""
    python, ready = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "ready"
    if not ready.exists():
        torch = [f"{name}=={version(name).partition('+')[0]}" for name in ("torch", "torchvision")]
        print(f"making {ENVIRONMENT.name}/ with {ULTRALYTICS}: minutes, 6 GB", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", ULTRALYTICS, *torch], check=True)
        ready.touch()
    return python


def write_set(folder: Path, pictures: Pictures, test: Sequence[NDArray[np.uint8]] = ()) -> None:
    """The pictures as a YOLO data set, without loss; those of the test lie in `test` by number.

    YOLO's labels have no ignore regions: what lies in one is background there.
    """
    for name in ("images", "labels", "test"):
        (folder / name).mkdir()
    for i in range(len(pictures)):
        image = pictures.picture(i)
        write_picture(folder / "images" / f"{i:06}.png", image)
        kept = ~pictures.ignore[i]
        lines = label_lines(pictures.boxes[i][kept], pictures.labels[i][kept], image.shape[1], image.shape[0])
        (folder / "labels" / f"{i:06}.txt").write_text("".join(f"{line}\n" for line in lines))
    for i, image in enumerate(test):
        write_picture(folder / "test" / f"{i:06}.png", image)
    names = "".join(f"  {i}: {name}\n" for i, name in enumerate(CLASSES))
    few = "".join(f"./images/{i:06}.png\n" for i in range(min(len(pictures), FEW)))
    (folder / "few.txt").write_text(few)  # Ultralytics insists on a validation at the end: a short one
    (folder / "set.yaml").write_text(f"path: {folder}\ntrain: images\nval: few.txt\nnames:\n{names}")


def label_lines(boxes: NDArray[np.float32], labels: NDArray[np.int64], width: int, height: int) -> list[str]:
    """Boxes (M, 4) pixel xyxy as YOLO writes them: class, centre and size as shares of the picture."""
    shares = boxes / np.array([width, height, width, height])
    rows = np.concatenate([(shares[:, :2] + shares[:, 2:]) / 2, shares[:, 2:] - shares[:, :2]], 1)
    return [f"{label} " + " ".join(f"{it:.6f}" for it in row) for label, row in zip(labels, rows, strict=True)]


def write_picture(path: Path, image: NDArray[np.uint8]) -> None:
    """(H, W, 3) RGB."""
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def ask(task: str, folder: Path, **options: float) -> dict[str, Any]:
    """What the driver answers."""
    quiet = {
        "YOLO_CONFIG_DIR": str(folder),
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
    }
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [f"--{name}={value}" for name, value in options.items()]
    command = [environment(), DRIVER, task, folder, *words]
    done = subprocess.run(command, env=kept | quiet, check=True, stdout=subprocess.PIPE, text=True, cwd=folder)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
