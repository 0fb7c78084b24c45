"""Pascal VOC XML (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf): one file a picture.

Coordinates are 1-based and inclusive: the box of the top-left pixel alone is (1, 1, 1, 1), here (0, 0, 1, 1) wide. Some
converters write 0-based boxes; they come in one pixel up and left, and their edge at 0 is clipped.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element, ParseError, SubElement, indent, tostring

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from pipeline.core.errors import DataError
from pipeline.io.files import fresh_folder, write_bytes
from pipeline.io.formats.record import (
    Region,
    Task,
    Version,
    files_below,
    first_regions,
    needed_size,
    parsed,
    picture_path,
    pixels,
    size_of,
)

FLAGS = ("pose", "truncated", "occluded", "difficult")  # of an object; any that is given becomes an attribute
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(path: Path) -> list[Task]:
    """Tasks of one XML file, or of every one below the folder. Raises DataError as `from_voc`."""
    root = path.parent if path.is_file() else path
    return [from_voc(p.read_bytes(), p.relative_to(root).as_posix()) for p in files_below(path, ".xml")]


def write_voc(path: Path, tasks: Sequence[Task]) -> None:
    """Write one XML file a task into a fresh folder, at its picture's path."""
    fresh_folder(path)
    for task in tasks:
        name = picture_path(task.pictures[0], f"task {task.id}")
        write_bytes(path / PurePosixPath(name).with_suffix(".xml"), to_voc(task))


def from_voc(xml: bytes, name: str) -> Task:
    """The task of one file, with one version.

    Args:
        xml: the file's bytes; entities and external references are refused.
        name: path below the folder: the task's id. A picture's name is looked for beside it first.

    Raises:
        DataError: not VOC, or a box that is none; names the file.
    """
    try:
        root = fromstring(xml)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise DataError(f"{name} is not plain XML: {error}; correct or delete it") from None
    if root.tag != "annotation":
        raise DataError(f"{name}: expected <annotation>, got <{root.tag}>; correct or delete it")
    size = size_of(*(_whole(root, f"size/{side}", name) for side in ("width", "height")))
    regions = tuple(_region(item, size, f"{name}: object {i}") for i, item in enumerate(root.iter("object"), 1))
    return Task(id=name, pictures=_pictures(root, name), versions=(Version(regions),), size=size)


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _whole(root: Element, path: str, where: str) -> float | None:
    text = _text(root, path)
    return parsed(text, f"{where}: {path}") if text else None


def _pictures(root: Element, name: str) -> tuple[str, ...]:
    here = PurePosixPath(name)
    file_name = picture_path(_text(root, "filename") or f"{here.stem}.*", name)
    beside = str(here.parent / PurePosixPath(file_name).name)
    return tuple(dict.fromkeys((beside, file_name)))


def _region(item: Element, size: tuple[int, int] | None, where: str) -> Region:
    label = _text(item, "name")
    if not label:
        raise DataError(f"{where} has no <name>; add it")
    if size is None:
        raise DataError(f"{where}: the file states no <size>; add width and height")
    left, top, right, bottom = (parsed(_text(item, f"bndbox/{c}"), f"{where}: {c}") for c in CORNERS)
    wide, high = size
    return Region(
        label,
        (left - 1) / wide,
        (top - 1) / high,
        (right - left + 1) / wide,
        (bottom - top + 1) / high,
        attributes=_attributes(item),
    )


def _attributes(item: Element) -> Mapping[str, str]:
    plain = {flag: _text(item, flag) for flag in FLAGS}
    listed = {_text(a, "name"): _text(a, "value") for a in item.iterfind("attributes/attribute")}  # as CVAT writes them
    return {key: value for key, value in (plain | listed).items() if key and value}


def to_voc(task: Task) -> bytes:
    """One VOC file. Ignore regions become `difficult`, as the VOC evaluation treats them. Raises DataError: no size."""
    size = needed_size(task)
    root = Element("annotation")
    _add(root, "filename", task.pictures[0] if task.pictures else "")
    sides = SubElement(root, "size")
    for side, value in zip(("width", "height", "depth"), (*size, 3), strict=True):
        _add(sides, side, str(value))
    for region in first_regions(task):
        _object(root, region, size)
    indent(root)
    return bytes(tostring(root, encoding="utf-8")) + b"\n"


def _object(root: Element, region: Region, size: tuple[int, int]) -> None:
    item = SubElement(root, "object")
    _add(item, "name", region.label)
    flags = {**region.attributes, **({"difficult": "1"} if region.ignore else {})}
    for flag in FLAGS:
        if flag in flags:
            _add(item, flag, flags.pop(flag))
    x, y, width, height = pixels(region, size)
    box = SubElement(item, "bndbox")
    for corner, value in zip(CORNERS, (x + 1, y + 1, x + width, y + height), strict=True):
        _add(box, corner, f"{value:.4f}".rstrip("0").rstrip("."))
    if flags:
        listed = SubElement(item, "attributes")
        for name, text in flags.items():
            attribute = SubElement(listed, "attribute")
            _add(attribute, "name", name)
            _add(attribute, "value", text)


def _add(parent: Element, tag: str, text: str) -> None:
    SubElement(parent, tag).text = text
