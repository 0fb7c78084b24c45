"""Label Studio's JSON export: rectangles in percent, per-region choices, several annotators a task.

Percent are of the upright picture (browsers apply the EXIF orientation). What is not a box is counted, by its type.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pipeline.core.errors import DataError
from pipeline.core.types import Origin
from pipeline.io.files import read_json, write_json
from pipeline.io.formats.record import (
    Region,
    Task,
    Version,
    files_below,
    listing,
    mapping,
    number,
    picture_path,
    size_of,
    text,
    whole_number,
)

BOXES = ("rectanglelabels", "rectangle")
JOINED = ("choices", "labels")  # results that say something about the region with the same id
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
Json = Mapping[str, Any]
Said = tuple[str, list[str]]  # a control's name ("" for labels) and what was chosen in it


def read_label_studio(path: Path) -> list[Task]:
    """Tasks of an export file, or of all the exports in a folder. Raises DataError as `from_label_studio`."""
    tasks = []
    for file in files_below(path, ".json"):
        if file.stat().st_size == 0:
            raise DataError(f"{file} is empty; export the project again as JSON")
        try:
            tasks += from_label_studio(read_json(file))
        except DataError as error:
            raise DataError(f"{file}: {error}") from None
    return tasks


def write_label_studio(path: Path, tasks: Sequence[Task]) -> None:
    """Write tasks as an export that `read_label_studio` reads."""
    write_json(path, to_label_studio(tasks))


def from_label_studio(doc: object) -> list[Task]:
    """Tasks of an export.

    Raises:
        DataError: it is no export, holds no task, or a task's box is no box; names the task.
    """
    if not isinstance(doc, list) and doc != {}:
        raise DataError(f"expected a list of tasks, got {type(doc).__name__}; export the project as JSON")
    if not doc:
        raise DataError("the export holds no task; export the project again as JSON")
    return [_task(item, position) for position, item in enumerate(doc)]


def _task(item: object, position: int) -> Task:
    raw = mapping(item, f"task number {position}")
    name = text(raw.get("id", f"#{position}"))
    where = f"task {name}"
    if "annotations" not in raw:
        raise DataError(f"{where} has no 'annotations'; export as JSON, not JSON-MIN, with the annotations included")
    data = mapping(raw.get("data", {}), f"{where}: data")
    left = Counter(
        {
            "prediction": len(listing(raw.get("predictions"), f"{where}: predictions")),
            "draft": len(listing(raw.get("drafts"), f"{where}: drafts")),
        }
    )
    items = listing(raw["annotations"], f"{where}: annotations")
    annotations = _latest(_submitted([mapping(i, f"{where}: annotation") for i in items], left), left)
    return Task(
        id=name,
        pictures=_pictures(data, where),
        versions=tuple(_version(a, where, left) for a in annotations),
        size=_size(annotations),
        camera=_text(data.get("camera")),
        clip=_text(data.get("clip")),
        frame_index=whole_number(data.get("frame_index")),
        left_out=dict(+left),
    )


def _text(value: object) -> str:
    return text(value) if isinstance(value, str) else ""


def _submitted(annotations: Sequence[Json], left: Counter[str]) -> list[Json]:
    kept = []
    for annotation in annotations:
        if annotation.get("was_cancelled"):
            left["cancelled annotation"] += 1
        elif annotation.get("last_action") == "rejected":  # by a reviewer
            left["rejected annotation"] += 1
        else:
            kept.append(annotation)
    return kept


def _latest(annotations: list[Json], left: Counter[str]) -> list[Json]:
    """One annotation an annotator: whoever submitted twice is taken at their last word, in the first one's place."""
    kept: dict[str, Json] = {}
    for position, annotation in enumerate(annotations):
        key = _annotator(annotation) or f"unknown {position}"
        kept[key] = max(kept.get(key, annotation), annotation, key=_when)
    left["superseded annotation"] += len(annotations) - len(kept)
    return list(kept.values())


def _when(annotation: Json) -> tuple[str, int]:
    return _text(annotation.get("updated_at")), whole_number(annotation.get("id")) or 0


def _annotator(annotation: Json) -> str:
    who = annotation.get("completed_by")
    who = who.get("id") if isinstance(who, dict) else who  # the id, not the e-mail address: it stays in the tables
    return text(who) if isinstance(who, int | str) else ""


def _pictures(data: Json, where: str) -> tuple[str, ...]:
    """Where the picture may be: `data.image`, else the only value that looks like a picture."""
    values = [v for v in data.values() if isinstance(v, str) and v.lower().endswith(PICTURES)]
    address = data.get("image") if isinstance(data.get("image"), str) else values[0] if len(values) == 1 else ""
    if not address:
        return ()
    path = picture_path(_path_of(address), where)
    if path.startswith("data/upload/"):  # data/upload/<project>/<random>-<name as uploaded>
        name = path.rsplit("/", 1)[1]
        return name, name.split("-", 1)[-1]
    return (path,)


def _path_of(address: str) -> str:
    """The path in `/data/local-files/?d=PATH`, `s3://bucket/PATH`, `http://host/PATH` or a plain file name."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address
    if parts.path.rstrip("/").endswith("/data/local-files"):
        return parse_qs(parts.query).get("d", [""])[0]
    return unquote(parts.path if parts.scheme and parts.netloc else address)


def _size(annotations: Sequence[Json]) -> tuple[int, int] | None:
    sizes = (_region_size(result) for annotation in annotations for result in annotation.get("result") or ())
    return next((size for size in sizes if size), None)


def _region_size(result: Json) -> tuple[int, int] | None:
    return size_of(result.get("original_width"), result.get("original_height"))


def _version(annotation: Json, where: str, left: Counter[str]) -> Version:
    results = [mapping(r, f"{where}: result") for r in listing(annotation.get("result"), f"{where}: result")]
    boxes = [r for r in results if r.get("type") in BOXES]
    said = _said_of_regions(results, {str(r["id"]) for r in boxes if r.get("id")}, where, left)
    assisted = annotation.get("parent_prediction") is not None
    regions: list[Region] = []
    for result in boxes:
        regions += _regions(result, said.get(str(result.get("id")), []), where, left, assisted=assisted)
    return Version(tuple(regions), _annotator(annotation), bool(annotation.get("ground_truth")))


def _said_of_regions(results: Sequence[Json], ids: set[str], where: str, left: Counter[str]) -> dict[str, list[Said]]:
    """Choices and labels by region id, as (control's name, chosen values); all else that is no box is counted."""
    said: dict[str, list[Said]] = {}
    for result in results:
        kind = str(result.get("type", "result without a type"))
        if kind in JOINED and str(result.get("id")) in ids:
            value = mapping(result.get("value"), f"{where}: {kind}").get(kind)
            name = "" if kind == "labels" else _text(result.get("from_name"))
            said.setdefault(str(result["id"]), []).append((name, [text(v) for v in listing(value, f"{where}: {kind}")]))
        elif kind not in BOXES:
            left[kind] += 1
    return said


def _regions(result: Json, said: list[Said], where: str, left: Counter[str], *, assisted: bool) -> list[Region]:
    """A rectangle as one region a label; none, and counted, where it cannot be used."""
    value = mapping(result.get("value"), f"{where}: value")
    own = listing(value.get("rectanglelabels"), f"{where}: rectanglelabels")
    labels = [text(v) for v in own] or [v for name, values in said if not name for v in values]
    sides = [number(value.get(key), f"{where}: {key}") / 100 for key in ("x", "y", "width", "height")]
    rotation = number(value.get("rotation") or 0, f"{where}: rotation") % 360
    size = _region_size(result)
    reason = _unusable(result, turned=bool(rotation), labelled=bool(labels))
    if reason:
        left[reason] += 1
        return []
    attributes = {name: "|".join(values) for name, values in said if name}
    if rotation and size:
        sides = _hull(sides, rotation, size)
        attributes["rotation"] = f"{rotation:g}"
    ignore = attributes.pop("ignore", "no") == "yes"
    track = attributes.pop("track_id", "")
    corrected = assisted or _text(result.get("origin")) in {"prediction", "prediction-changed"}
    origin = Origin.CORRECTED if corrected else Origin.HUMAN
    x, y, width, height = sides
    return [Region(label, x, y, width, height, ignore, track, attributes, origin) for label in labels]


def _unusable(result: Json, *, turned: bool, labelled: bool) -> str:
    if not labelled:
        return "rectangle without a label"
    if result.get("image_rotation"):
        return "rectangle on a turned picture"
    return "turned rectangle without picture size" if turned and not _region_size(result) else ""


def _hull(box: Sequence[float], degrees: float, size: tuple[int, int]) -> list[float]:
    """Upright hull of a box turned clockwise about its top-left corner; fractions in and out, turned in pixels."""
    wide, high = size
    width, height = box[2] * wide, box[3] * high
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    xs = (0.0, width * cos, -height * sin, width * cos - height * sin)
    ys = (0.0, width * sin, height * cos, width * sin + height * cos)
    return [
        box[0] + min(xs) / wide,
        box[1] + min(ys) / high,
        (max(xs) - min(xs)) / wide,
        (max(ys) - min(ys)) / high,
    ]


def to_label_studio(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """An export that `from_label_studio` reads; track ids and ignore marks become per-region choices."""
    return [_task_doc(task, position) for position, task in enumerate(tasks, 1)]


def _task_doc(task: Task, position: int) -> dict[str, Any]:
    data = {"image": task.pictures[0] if task.pictures else "", "camera": task.camera, "clip": task.clip}
    return {
        "id": int(task.id) if task.id.isdecimal() else task.id,
        "data": {**{k: v for k, v in data.items() if v}, **_index(task)},
        "annotations": [_annotation_doc(task, version, position) for version in task.versions],
        "drafts": [],
        "predictions": [],
    }


def _index(task: Task) -> dict[str, int]:
    return {} if task.frame_index is None else {"frame_index": task.frame_index}


def _annotation_doc(task: Task, version: Version, position: int) -> dict[str, Any]:
    results = [r for i, region in enumerate(version.regions) for r in _results(task, region, f"{position}-{i}")]
    who = version.annotator
    return {
        **({"completed_by": int(who) if who.isdecimal() else who} if who else {}),
        "ground_truth": version.ground_truth,
        "was_cancelled": False,
        "result": results,
    }


def _results(task: Task, region: Region, name: str) -> list[dict[str, Any]]:
    sides = {"x": region.x, "y": region.y, "width": region.width, "height": region.height}
    place = {"rotation": 0, **{key: value * 100 for key, value in sides.items()}}
    size = {"original_width": task.size[0], "original_height": task.size[1]} if task.size else {}
    origin = "prediction-changed" if region.origin == Origin.CORRECTED else "manual"
    common = {"id": name, "to_name": "image", "image_rotation": 0, "origin": origin, **size}
    choices = {
        **region.attributes,
        **({"track_id": region.track_id} if region.track_id else {}),
        **({"ignore": "yes"} if region.ignore else {}),
    }
    labels = {
        **common,
        "type": "rectanglelabels",
        "from_name": "label",
        "value": {**place, "rectanglelabels": [region.label]},
    }
    return [labels] + [
        {**common, "type": "choices", "from_name": key, "value": {**place, "choices": value.split("|")}}
        for key, value in choices.items()
    ]
