"""Label Studio's labelling configuration, from the project's own: classes, colours, keys, attributes.

Tags as in Label Studio's reference: Image, RectangleLabels, Video, VideoRectangle, Labels, Choices, TextArea.
"""

from collections.abc import Sequence
from itertools import cycle
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from pipeline.core.params import DataParams, LabellingParams

LABEL = "label"  # name of the control that gives a box its label
TRACK = "track_id"  # name of the control that gives a box its track
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")  # Okabe and Ito 2008


def label_config(data: DataParams, p: LabellingParams) -> str:
    """The configuration as XML."""
    view = Element("View")
    TEMPLATES[p.template](view, [*data.classes, *data.count_only, *data.ignore], p)
    for name, answers in p.attributes.items():
        choices = _per_region(view, "Choices", name, p, choice="single", showInline="true")
        for answer in answers:
            SubElement(choices, "Choice", value=answer)
    if p.tracks:
        _per_region(view, "TextArea", TRACK, p, maxSubmissions="1", editable="true", rows="1", placeholder="track")
    indent(view)
    return tostring(view, encoding="unicode")


def _image(view: Element, names: Sequence[str], p: LabellingParams) -> None:
    """Upright boxes on a picture."""
    SubElement(view, "Image", {"name": "image", "value": "$image", "zoom": "true", "zoomControl": "true"})
    _labels(SubElement(view, "RectangleLabels", name=LABEL, toName="image", canRotate="false"), names, p)


def _video(view: Element, names: Sequence[str], p: LabellingParams) -> None:
    """Tracks through a clip. Label Studio numbers frames by frameRate: it must be the clip's own."""
    SubElement(view, "Video", name="video", value="$video", frameRate="$fps")
    SubElement(view, "VideoRectangle", name="box", toName="video")
    _labels(SubElement(view, "Labels", name=LABEL, toName="video"), names, p)


TEMPLATES = {"image": _image, "video": _video}


def _labels(control: Element, names: Sequence[str], p: LabellingParams) -> None:
    taken = set(p.hotkeys.values())
    free = iter([key for key in "123456789" if key not in taken])
    for name, colour in zip(names, cycle(COLOURS)):
        key = p.hotkeys.get(name) or next(free, "")
        more = {"hotkey": key} if key else {}
        SubElement(control, "Label", {"value": name, "background": p.colours.get(name, colour), **more})


def _per_region(view: Element, tag: str, name: str, p: LabellingParams, **more: str) -> Element:
    """A question under its name, there while a region is selected."""
    question = SubElement(view, "View", visibleWhen="region-selected")
    SubElement(question, "Header", value=name, size="6")
    return SubElement(question, tag, {"name": name, "toName": p.template, "perRegion": "true", **more})
