"""YOLO text files (https://docs.ultralytics.com/datasets/detect/): `class cx cy w h` a line, fractions of the picture.

A folder of them with `classes.txt` (one name a line) or `data.yaml` (`names`). An empty file is a picture that was
labelled: empty. The format has no ignore regions, attributes or tracks: writing leaves them out.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import yaml

from pipeline.core.errors import DataError
from pipeline.io.files import fresh_folder, write_bytes
from pipeline.io.formats.record import Region, Task, Version, files_below, first_regions, parsed, picture_path

NAMES = "classes.txt"
RESERVED = {NAMES, "obj.names", "train.txt", "val.txt", "test.txt", "readme.txt"}  # lists and notes, no labels


def read_yolo(path: Path) -> list[Task]:
    """Tasks of every text file below the folder. Raises DataError as `from_yolo`, or where the names are missing."""
    if not path.is_dir():
        raise DataError(f"{path} is no folder of YOLO text files; set data.labels.path to one")
    names = _names(path)
    files = [p for p in files_below(path, ".txt") if p.name.lower() not in RESERVED]
    if not files:
        raise DataError(f"{path} holds class names but no labels; set data.labels.path to the folder with the labels")
    return from_yolo({p.relative_to(path).as_posix(): _read(p) for p in files}, names)


def write_yolo(path: Path, tasks: Sequence[Task], names: Sequence[str]) -> None:
    """Write a fresh folder of text files and `classes.txt`."""
    fresh_folder(path)
    write_bytes(path / NAMES, "".join(f"{name}\n" for name in names).encode())
    for name, text in to_yolo(tasks, names).items():
        write_bytes(path / name, text.encode())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text: {error}; correct or delete it") from None


def _names(path: Path) -> list[str]:
    """Class names by number. They are looked for in the folder itself, so that DVC sees them change."""
    if (path / NAMES).is_file():
        return [line.strip() for line in _read(path / NAMES).splitlines() if line.strip()]
    for file in (path / "data.yaml", path / "data.yml"):
        if file.is_file():
            return _yaml_names(_read(file), file.name)
    raise DataError(f"{path} has neither {NAMES} nor data.yaml; put one of them there")


def _yaml_names(text: str, where: str) -> list[str]:
    try:
        doc = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DataError(f"{where} is not YAML: {error}; correct it") from None
    names = doc.get("names") if isinstance(doc, dict) else None
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{where}: expected `names`, a list or a mapping from 0 on; add it")
    return [str(name) for name in names]


def from_yolo(texts: Mapping[str, str], names: Sequence[str]) -> list[Task]:
    """One task a file, with one version.

    Args:
        texts: contents by path below the folder; the path is the task's id.
        names: class names by number.

    Raises:
        DataError: a line that is no box, or a class without a name; names file and line.
    """
    return [_task(name, text, names) for name, text in texts.items()]


def _task(name: str, text: str, names: Sequence[str]) -> Task:
    left: Counter[str] = Counter()
    regions = []
    for i, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if len(words) >= 7 and len(words) % 2:
            left["polygon"] += 1
        elif words:
            regions.append(_region(words, names, f"{name}: line {i}"))
    return Task(id=name, pictures=_pictures(name), versions=(Version(tuple(regions)),), left_out=dict(left))


def _pictures(name: str) -> tuple[str, ...]:
    """The picture has the file's path, or that path with its last folder `labels` read as `images`."""
    stem = PurePosixPath(picture_path(name, name)).with_suffix("")
    folders = list(stem.parts)
    places = [i for i, folder in enumerate(folders[:-1]) if folder == "labels"]
    if places:
        folders[places[-1]] = "images"
    return tuple(dict.fromkeys((f"{stem}.*", f"{PurePosixPath(*folders)}.*")))


def _region(words: Sequence[str], names: Sequence[str], where: str) -> Region:
    if len(words) != 5:
        raise DataError(f"{where}: expected 'class cx cy w h', got {len(words)} values; correct the line")
    number = int(words[0]) if words[0].isdecimal() and len(words[0]) < 10 else -1
    if not 0 <= number < len(names):
        raise DataError(f"{where}: class {words[0]!r} has no name; {len(names)} names are given, from 0")
    cx, cy, width, height = (parsed(word, where) for word in words[1:])
    return Region(names[number], cx - width / 2, cy - height / 2, width, height)


def to_yolo(tasks: Sequence[Task], names: Sequence[str]) -> dict[str, str]:
    """Contents by path: the picture's path with `.txt`. Ignore regions are left out, as the format has none.

    Raises:
        DataError: a label is not among the names.
    """
    numbers = {name: i for i, name in enumerate(names)}
    texts = {}
    for task in tasks:
        path = PurePosixPath(picture_path(task.pictures[0], f"task {task.id}")).with_suffix(".txt")
        texts[str(path)] = "".join(_line(task, region, numbers) for region in first_regions(task) if not region.ignore)
    return texts


def _line(task: Task, region: Region, numbers: Mapping[str, int]) -> str:
    if region.label not in numbers:
        raise DataError(f"task {task.id} has label {region.label!r}, which the names do not hold")
    centre = region.x + region.width / 2, region.y + region.height / 2
    return " ".join([str(numbers[region.label]), *(f"{v:.10g}" for v in (*centre, region.width, region.height))]) + "\n"
