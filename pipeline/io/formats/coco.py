"""COCO JSON (https://cocodataset.org/#format-data): pixel xywh, one file or a folder of them.

`iscrowd`, or the evaluation's `ignore`, marks an ignore region. An image without annotations is labelled: empty.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.errors import DataError
from pipeline.io.files import read_json, write_json
from pipeline.io.formats.record import (
    Region,
    Task,
    Version,
    files_below,
    first_regions,
    listing,
    mapping,
    needed_size,
    number,
    picture_path,
    pixels,
    size_of,
    text,
    whole_number,
)

# Keys of an annotation that say nothing about the object; every other plain value is an attribute.
FORMAT_KEYS = {
    *("id", "image_id", "category_id", "bbox", "area", "segmentation", "iscrowd", "ignore", "score", "track_id"),
    *(
        "keypoints",
        "num_keypoints",
        "attributes",
        "color",
        "isbbox",
        "metadata",
        "creator",
        "caption",
        "width",
        "height",
    ),
}
Json = Mapping[str, Any]


def read_coco(path: Path) -> list[Task]:
    """Tasks of one file, or of every file in the folder that holds images and annotations.

    Raises:
        DataError: as `from_coco`, naming the file; or no file is COCO.
    """
    files = files_below(path, ".json")
    docs = {file: read_json(file) for file in files if file.stat().st_size}
    sets = {file: doc for file, doc in docs.items() if path.is_file() or _is_coco(doc)}
    if not sets:
        raise DataError(f"{path} holds no COCO JSON (an object with images and annotations); export it again")
    tasks = []
    for file, doc in sets.items():
        try:
            tasks += from_coco(doc, prefix=f"{file.stem}:" if len(sets) > 1 else "")
        except DataError as error:
            raise DataError(f"{file}: {error}") from None
    return tasks


def write_coco(path: Path, tasks: Sequence[Task], categories: Sequence[str]) -> None:
    """Write tasks as COCO JSON."""
    write_json(path, to_coco(tasks, categories))


def _is_coco(doc: object) -> bool:
    return isinstance(doc, dict) and "images" in doc and "annotations" in doc


def from_coco(doc: object, prefix: str = "") -> list[Task]:
    """One task an image, with one version; `prefix` keeps the image ids of several files apart.

    Raises:
        DataError: not COCO, no image, an id used twice or never defined, or a box that is none; names the image.
    """
    if not isinstance(doc, dict) or not _is_coco(doc):
        raise DataError("expected an object with images and annotations; export it as COCO JSON")
    images = _by_id(doc["images"], "image")
    if not images:
        raise DataError("the file holds no image; export it again")
    categories = {key: text(c.get("name")) for key, c in _by_id(doc.get("categories"), "category").items()}
    by_image: dict[int | str, list[Json]] = {key: [] for key in images}
    for item in listing(doc["annotations"], "annotations"):
        annotation = mapping(item, "annotation")
        image = annotation.get("image_id")
        if not isinstance(image, int | str) or image not in by_image:
            raise DataError(f"annotation {annotation.get('id')}: no image has the id {image!r}; add it")
        by_image[image].append(annotation)
    return [_task(text(f"{prefix}{key}"), image, by_image[key], categories) for key, image in images.items()]


def _by_id(items: object, what: str) -> dict[int | str, Json]:
    found: dict[int | str, Json] = {}
    for item in listing(items, what):
        raw = mapping(item, what)
        key = raw.get("id")
        if not isinstance(key, int | str) or key in found:
            problem = "is there twice" if isinstance(key, int | str) else "is no id"
            raise DataError(f"{what} id {key!r} {problem}; give each {what} its own id")
        found[key] = raw
    return found


def _task(name: str, image: Json, annotations: Sequence[Json], categories: Mapping[int | str, str]) -> Task:
    where = f"image {name}"
    file_name = image.get("file_name")
    if not isinstance(file_name, str) or not file_name:
        raise DataError(f"{where} has no file_name; add it")
    size = size_of(image.get("width"), image.get("height"))
    left: Counter[str] = Counter()
    regions = []
    for annotation in annotations:
        if annotation.get("bbox"):
            regions.append(_region(annotation, categories, size, f"{where}: annotation {annotation.get('id')}"))
        else:
            left["annotation without a box"] += 1
    return Task(
        id=name,
        pictures=(picture_path(file_name, where),),
        versions=(Version(tuple(regions)),),
        size=size,
        camera=text(image.get("camera") or ""),
        clip=text(image.get("clip") or ""),
        frame_index=whole_number(image.get("frame_index")),
        left_out=dict(left),
    )


def _region(raw: Json, categories: Mapping[int | str, str], size: tuple[int, int] | None, where: str) -> Region:
    category = raw.get("category_id")
    if not isinstance(category, int | str) or category not in categories:
        raise DataError(f"{where}: categories names no category {category!r}; add it")
    box = listing(raw["bbox"], f"{where}: bbox")
    if len(box) != 4:
        raise DataError(f"{where}: expected a bbox of 4 numbers, got {len(box)}; correct it")
    if size is None:
        raise DataError(f"{where}: the image has boxes but no width and height; add them")
    x, y, width, height = (number(v, f"{where}: bbox") / side for v, side in zip(box, size * 2, strict=True))
    return Region(
        categories[category],
        x,
        y,
        width,
        height,
        ignore=_flag(raw.get("iscrowd")) or _flag(raw.get("ignore")),
        track_id="" if raw.get("track_id") is None else text(raw["track_id"]),
        attributes=_attributes(raw),
    )


def _flag(value: object) -> bool:
    """Truth as exporters write it: 1, true, "1", "true"."""
    return str(value).lower() in {"1", "1.0", "true"}


def _attributes(raw: Json) -> dict[str, str]:
    """Plain values beside the format's own keys, and those that CVAT puts below `attributes`, as strings."""
    nested = raw.get("attributes")
    values = {k: v for k, v in raw.items() if k not in FORMAT_KEYS} | (nested if isinstance(nested, dict) else {})
    return {text(key): text(value) for key, value in values.items() if isinstance(value, str | int | float)}


def to_coco(tasks: Sequence[Task], categories: Sequence[str]) -> dict[str, Any]:
    """COCO JSON of the tasks; ids count from 1 in the order given, categories likewise.

    Raises:
        DataError: a label is not among the categories, or a task has no picture size.
    """
    numbers = {name: i for i, name in enumerate(categories, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, task in enumerate(tasks, 1):
        images.append(_image_doc(image_id, task))
        for region in first_regions(task):
            if region.label not in numbers:
                raise DataError(f"task {task.id} has label {region.label!r}, which the categories do not name")
            ids = {"id": len(annotations) + 1, "image_id": image_id, "category_id": numbers[region.label]}
            annotations.append(_annotation_doc(ids, region, needed_size(task)))
    named = [{"id": i, "name": name, "supercategory": ""} for name, i in numbers.items()]
    return {"images": images, "annotations": annotations, "categories": named}


def _image_doc(image_id: int, task: Task) -> dict[str, Any]:
    width, height = needed_size(task)
    place = {"camera": task.camera or None, "clip": task.clip or None, "frame_index": task.frame_index}
    return {
        "id": image_id,
        "file_name": task.pictures[0] if task.pictures else "",
        "width": width,
        "height": height,
        **{key: value for key, value in place.items() if value is not None},
    }


def _annotation_doc(ids: dict[str, Any], region: Region, size: tuple[int, int]) -> dict[str, Any]:
    box = pixels(region, size)
    return {
        **region.attributes,
        **({"track_id": region.track_id} if region.track_id else {}),
        **ids,
        "bbox": list(box),
        "area": round(box[2] * box[3], 4),
        "iscrowd": int(region.ignore),
        "segmentation": [],
    }
