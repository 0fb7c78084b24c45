"""Label Studio's JSON export: rectangles in percent, per-region answers, video timelines, several annotators a task.

Percent are of the upright picture (browsers apply the EXIF orientation). What is not a box is counted, by its type.
docs/annotations.md says every rule.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pipeline.core.errors import DataError
from pipeline.core.types import Origin
from pipeline.io.files import read_json, write_json
from pipeline.io.formats.record import (
    Region,
    Task,
    Track,
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
from pipeline.io.formats.timeline import keyframes, timeline

RECTANGLES = ("rectanglelabels", "rectangle")
POLYGONS = ("polygonlabels", "polygon")
TRACKS = ("videorectangle",)
NAMES = {
    **dict.fromkeys(RECTANGLES, "rectangle"),
    **dict.fromkeys(POLYGONS, "polygon"),
    **dict.fromkeys(TRACKS, "track"),
}
ANSWERS = {  # results that say something about the region with the same id, and the key of what they say
    "choices": "choices",
    "labels": "labels",
    "taxonomy": "taxonomy",
    "number": "number",
    "rating": "rating",
    "textarea": "text",
    "datetime": "datetime",
}
NO_OBJECT = {*ANSWERS, "relation", "pairwise"}  # every other result marks something in the picture
LABELS = ""  # the name under which a region's labels are kept among its answers; no control is called so
LONGEST = 200  # characters of an attribute's value
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".3gp")
Json = Mapping[str, Any]
Answers = Mapping[str, list[str]]  # by control


@dataclass(frozen=True, slots=True)
class Reading:
    """One task as it is read: its name for errors, which shapes are wanted, and what is counted on the way."""

    where: str
    shapes: tuple[str, ...]  # result types that become boxes
    left_out: Counter[str] = field(default_factory=Counter)
    mended: Counter[str] = field(default_factory=Counter)


def read_label_studio(path: Path, *, polygon_boxes: bool = False) -> list[Task]:
    """Tasks of an export file, or of all the exports in a folder. Arguments and DataError as `from_label_studio`."""
    tasks = []
    for file in files_below(path, ".json"):
        if file.stat().st_size == 0:
            raise DataError(f"{file} is empty; export the project again as JSON")
        try:
            tasks += from_label_studio(read_json(file), polygon_boxes=polygon_boxes)
        except DataError as error:
            raise DataError(f"{file}: {error}") from None
    return tasks


def write_label_studio(path: Path, tasks: Sequence[Task]) -> None:
    """Write tasks as an export that `read_label_studio` reads."""
    write_json(path, to_label_studio(tasks))


def from_label_studio(doc: object, *, polygon_boxes: bool = False) -> list[Task]:
    """Tasks of an export; a clip that was annotated as a whole is one task with a timeline.

    Args:
        doc: the parsed JSON.
        polygon_boxes: whether a polygon becomes its bounding box; else it is counted and left out.

    Raises:
        DataError: it is no export, holds no task, or a task's box is no box; names the task.
    """
    if not isinstance(doc, list) and doc != {}:
        raise DataError(f"expected a list of tasks, got {type(doc).__name__}; export the project as JSON")
    if not doc:
        raise DataError("the export holds no task; export the project again as JSON")
    shapes = (*RECTANGLES, *POLYGONS) if polygon_boxes else RECTANGLES
    return [_task(item, position, shapes) for position, item in enumerate(doc)]


def _task(item: object, position: int, shapes: tuple[str, ...]) -> Task:
    raw = mapping(item, f"task number {position}")
    name = text(raw.get("id", f"#{position}"))
    where = f"task {name}"
    if "annotations" not in raw:
        raise DataError(f"{where} has no 'annotations'; export as JSON, not JSON-MIN, with the annotations included")
    data = mapping(raw.get("data", {}), f"{where}: data")
    left = Counter({kind: len(listing(raw.get(f"{kind}s"), f"{where}: {kind}s")) for kind in ("prediction", "draft")})
    items = listing(raw["annotations"], f"{where}: annotations")
    annotations = _latest(_submitted([mapping(i, f"{where}: annotation") for i in items], left), left)
    results = [_results_of(annotation, where) for annotation in annotations]
    clip = _tracks_of(results, where)
    pictures, videos = _pictures(data, where), _addresses(data, "video", VIDEOS, where)
    is_clip = bool(clip) or (bool(videos) and not pictures)
    reading = Reading(where, TRACKS if is_clip else shapes, left)
    versions = [_version(a, found, reading) for a, found in zip(annotations, results, strict=True)]
    return Task(
        id=name,
        pictures=videos if is_clip else pictures,
        versions=tuple(version for version in versions if version),
        size=_size(results),
        camera=_text(data.get("camera")),
        clip=_text(data.get("clip")),
        frame_index=whole_number(data.get("frame_index")),
        left_out=dict(+left),
        mended=dict(+reading.mended),
        frame_id=_text(data.get("frame_id")),
        timeline=timeline(clip, where) if is_clip else None,
    )


def _results_of(annotation: Json, where: str) -> list[Json]:
    return [mapping(r, f"{where}: result") for r in listing(annotation.get("result"), f"{where}: result")]


def _tracks_of(results: Sequence[Sequence[Json]], where: str) -> list[Json]:
    """The values of all tracks."""
    return [mapping(r.get("value"), f"{where}: value") for rs in results for r in rs if r.get("type") in TRACKS]


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
    """Where the picture may be; `source`, where the task was made by us, before the address that is shown."""
    source = _text(data.get("source"))
    own = (picture_path(source, where),) if data.get("frame_id") and source.lower().endswith(PICTURES) else ()
    return own + _addresses(data, "image", PICTURES, where)


def _addresses(data: Json, key: str, suffixes: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Where the value of `key`, else the only value with one of the suffixes, may be found."""
    address = data.get(key)
    if not isinstance(address, str):
        found = [
            v
            for k, v in data.items()
            if k != "source" and isinstance(v, str) and _path_of(v).lower().endswith(suffixes)
        ]
        address = found[0] if len(found) == 1 else ""
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


def _size(results: Sequence[Sequence[Json]]) -> tuple[int, int] | None:
    sizes = (size_of(r.get("original_width"), r.get("original_height")) for found in results for r in found)
    return next((size for size in sizes if size), None)


def _version(annotation: Json, results: Sequence[Json], reading: Reading) -> Version | None:
    """What one annotator says. None, and counted, where they marked objects but none as a box: that is not empty."""
    shapes = _shapes(results, reading)
    answers = _answers(results, {str(r["id"]) for r in shapes if r.get("id")}, reading)
    assisted = annotation.get("parent_prediction") is not None
    regions: list[Region] = []
    tracks: list[Track] = []
    for position, result in enumerate(shapes):
        said = answers.get(str(result.get("id")), {})
        if result["type"] in TRACKS:
            tracks += _tracks(result, position, said, reading, assisted=assisted)
        else:
            regions += _regions(result, said, reading, assisted=assisted)
    if not regions and not tracks and any(_kind(r) not in NO_OBJECT for r in results):
        reading.left_out["annotation without a box"] += 1
        return None
    return Version(tuple(regions), _annotator(annotation), bool(annotation.get("ground_truth")), tuple(tracks))


def _kind(result: Json) -> str:
    return _text(result.get("type")) or "result without a type"


def _shapes(results: Sequence[Json], reading: Reading) -> list[Json]:
    """Results that are boxes, the first of each id: which one of two was meant, nobody can tell."""
    shapes = [r for r in results if r.get("type") in reading.shapes]
    first: dict[str, Json] = {}
    kept = [r for r in shapes if not r.get("id") or first.setdefault(str(r["id"]), r) is r]
    reading.left_out["duplicate region"] += len(shapes) - len(kept)
    return kept


def _answers(results: Sequence[Json], ids: set[str], reading: Reading) -> dict[str, dict[str, list[str]]]:
    """What was said about regions, by region id and control; all else that is no box is counted by its type."""
    said: dict[str, dict[str, list[str]]] = {}
    for result in results:
        kind = _kind(result)
        if kind in ANSWERS and str(result.get("id")) in ids:
            control = LABELS if kind == "labels" else _text(result.get("from_name")) or kind
            said.setdefault(str(result["id"]), {}).setdefault(control, []).extend(_words(result, kind, reading.where))
        elif kind not in reading.shapes:
            reading.left_out[kind] += 1
    return said


def _words(result: Json, kind: str, where: str) -> list[str]:
    """An answer as words; the levels of a taxonomy are joined with `/`."""
    said = mapping(result.get("value"), f"{where}: {kind}").get(ANSWERS[kind])
    items = [said] if isinstance(said, str | int | float) else listing(said, f"{where}: {kind}")
    return ["/".join(map(_word, item)) if isinstance(item, list) else _word(item) for item in items]


def _word(value: object) -> str:
    return f"{value:.15g}" if isinstance(value, float) else text(value)


def _regions(result: Json, said: Answers, reading: Reading, *, assisted: bool) -> list[Region]:
    """A rectangle or polygon as one region a label; none, and counted, where it cannot be used."""
    name = NAMES[result["type"]]
    value = mapping(result.get("value"), f"{reading.where}: value")
    x, y, width, height, rotation = _place(value, name, reading.where)
    problem = _turned_view(result, name, rotation, reading.where)
    if problem:
        reading.left_out[problem] += 1
        return []
    labels = _labels(result, value, said, reading)
    region = _nowhere(result, said, reading, assisted=assisted)
    told = {**region.attributes, "rotation": f"{rotation:g}"} if rotation else region.attributes
    region = replace(region, x=x, y=y, width=width, height=height, rotation=rotation, attributes=told)
    return [replace(region, label=label) for label in labels]


def _place(value: Json, name: str, where: str) -> tuple[float, float, float, float, float]:
    """Left, top, width, height as fractions, and degrees."""
    if name == "polygon":
        return (*_bounds(value, where), 0.0)
    x, y, width, height = (number(value.get(key), f"{where}: {key}") / 100 for key in ("x", "y", "width", "height"))
    return x, y, width, height, number(value.get("rotation") or 0, f"{where}: rotation") % 360


def _bounds(value: Json, where: str) -> tuple[float, float, float, float]:
    points = [listing(point, f"{where}: point") for point in listing(value.get("points"), f"{where}: points")]
    if not points or any(len(point) != 2 for point in points):
        raise DataError(f"{where}: a polygon whose points are no pairs; correct it or delete it at its source")
    xs, ys = ([number(point[axis], f"{where}: point") / 100 for point in points] for axis in (0, 1))
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def _turned_view(result: Json, name: str, rotation: float, where: str) -> str:
    """Why a region cannot be placed that was drawn while the whole picture was turned; "" where it can.

    Label Studio keeps places and sizes of the picture as it lies, whichever way the view was turned by quarters. Only
    for a box that is turned itself did its first versions mean something else.
    """
    view = number(result.get("image_rotation") or 0, f"{where}: image_rotation")
    return f"{name} on a turned picture" if view % 90 or (view % 360 and rotation) else ""


def _tracks(result: Json, position: int, said: Answers, reading: Reading, *, assisted: bool) -> list[Track]:
    """An object of a clip as one track a label; its id in Label Studio is its name, unless a choice gives another."""
    value = mapping(result.get("value"), f"{reading.where}: value")
    points = keyframes(value, reading.where, reading.left_out)
    if not points:
        reading.left_out["track without a keyframe"] += 1
        return []
    region = _nowhere(result, said, reading, assisted=assisted)
    region = replace(region, track_id=region.track_id or text(result.get("id") or f"#{position}"))
    return [Track(replace(region, label=label), points) for label in _labels(result, value, said, reading)]


def _labels(result: Json, value: Json, said: Answers, reading: Reading) -> list[str]:
    """The region's labels: its own, else those of a control beside it; none is counted."""
    kind = result["type"]
    own = [label for key in (kind, "labels") for label in listing(value.get(key), f"{reading.where}: {key}")]
    labels = list(dict.fromkeys(map(text, own))) or list(said.get(LABELS, []))
    if not labels:
        reading.left_out[f"{NAMES[kind]} without a label"] += 1
    return labels


def _nowhere(result: Json, said: Answers, reading: Reading, *, assisted: bool) -> Region:
    """A region without its place and label: its attributes, and what the answers `ignore` and `track_id` say."""
    attributes = {name: "|".join(words) for name, words in said.items() if words and name != LABELS}
    reading.mended["text shortened"] += sum(len(value) > LONGEST for value in attributes.values())
    attributes = {name: value[:LONGEST] for name, value in attributes.items()}
    ignore = attributes.pop("ignore", "no") == "yes"
    track = attributes.pop("track_id", "")
    corrected = assisted or _text(result.get("origin")) in {"prediction", "prediction-changed"}
    origin = Origin.CORRECTED if corrected else Origin.HUMAN
    return Region("", 0, 0, 0, 0, ignore, track, attributes, origin)


def to_label_studio(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """An export that `from_label_studio` reads; track ids and ignore marks become per-region choices.

    Raises:
        DataError: a task is a clip; write its frames.
    """
    return [_task_doc(task, position) for position, task in enumerate(tasks, 1)]


def _task_doc(task: Task, position: int) -> dict[str, Any]:
    if task.timeline:
        raise DataError(f"task {task.id} is a whole clip; write its frames one by one")
    image = task.pictures[0] if task.pictures else ""
    data = {"image": image, "camera": task.camera, "clip": task.clip, "frame_id": task.frame_id}
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
    place = {"rotation": region.rotation, **{key: value * 100 for key, value in sides.items()}}
    size = {"original_width": task.size[0], "original_height": task.size[1]} if task.size else {}
    origin = "prediction-changed" if region.origin == Origin.CORRECTED else "manual"
    common = {"id": name, "to_name": "image", "image_rotation": 0, "origin": origin, **size}
    choices = {
        **{key: value for key, value in region.attributes.items() if key != "rotation" or not region.rotation},
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
