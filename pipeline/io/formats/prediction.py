"""What a model found in pictures and clips, as others read it: plain JSON, COCO JSON, and MOTChallenge's text.

COCO: https://cocodataset.org/#format-data, each annotation with its score. MOTChallenge
(https://arxiv.org/abs/1603.00831): `frame,id,left,top,width,height,score,class,-1,-1`, frames and classes from 1;
nothing was tracked, so the id is -1. All boxes are pixel xywh of the upright picture.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.core.types import Detections

Json = dict[str, Any]
DIGITS = 2  # of a coordinate: hundredths of a pixel


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What was found in one picture or frame."""

    source: str  # the picture's or clip's path, POSIX style
    index: int | None  # of the frame in its clip, from 0; None for a picture
    timestamp_s: float | None  # seconds from the clip's first frame; None for a picture
    size: tuple[int, int]  # width, height, pixels
    detections: Detections

    def rows(self) -> Iterator[tuple[int, float, list[float]]]:
        """Label, score and box of each detection, best first."""
        it = self.detections
        for label, score, (left, top, right, bottom) in zip(
            it.labels.tolist(), it.scores.tolist(), it.boxes.tolist(), strict=True
        ):
            yield label, round(score, 4), [round(v, DIGITS) for v in (left, top, right - left, bottom - top)]


def to_json(found: Sequence[Found], classes: Sequence[str], about: Mapping[str, Any]) -> Json:
    """One entry a picture or frame, in the order given; `about` says which model it was."""
    return {**about, "classes": list(classes), "pictures": [_entry(it, classes) for it in found]}


def _entry(it: Found, classes: Sequence[str]) -> Json:
    place = {} if it.index is None else {"frame_index": it.index, "timestamp_s": it.timestamp_s}
    rows = [{"label": classes[label], "score": score, "box": box} for label, score, box in it.rows()]
    return {"source": it.source, **place, "width": it.size[0], "height": it.size[1], "detections": rows}


def to_coco_results(found: Sequence[Found], classes: Sequence[str]) -> Json:
    """COCO JSON with scores; ids count from 1 in the order given, categories likewise."""
    images: list[Json] = []
    annotations: list[Json] = []
    for image_id, it in enumerate(found, 1):
        place = {} if it.index is None else {"clip": it.source, "frame_index": it.index}
        name = it.source if it.index is None else f"{it.source}#{it.index}"
        images.append({"id": image_id, "file_name": name, "width": it.size[0], "height": it.size[1], **place})
        for label, score, box in it.rows():
            ids = {"id": len(annotations) + 1, "image_id": image_id, "category_id": label + 1}
            area = round(box[2] * box[3], DIGITS)
            annotations.append({**ids, "bbox": box, "area": area, "iscrowd": 0, "segmentation": [], "score": score})
    categories = [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(classes, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def to_mot(found: Sequence[Found]) -> str:
    """The text of one sequence: the frames of a clip under their numbers, or pictures in the order given."""
    return "".join(
        f"{number},-1,{','.join(f'{value:.10g}' for value in box)},{score:g},{label + 1},-1,-1\n"
        for place, it in enumerate(found)
        for number in [1 + (place if it.index is None else it.index)]
        for label, score, box in it.rows()
    )
