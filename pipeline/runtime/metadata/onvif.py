"""Metadata in the words of ONVIF Profile M: scene descriptions and analytics events, as XML and as JSON.

Sources: ONVIF Analytics Service Specification (scene description, JSON over MQTT, rules of Annex A), ONVIF Core
Specification (event messages, MQTT topics, JSON payload), metadatastream.xsd and common.xsd of the ONVIF schema. Frame
coordinates are ONVIF's normalised ones: -1..1, x to the right, y up.

| event | topic | told as |
|---|---|---|
| presence | RuleEngine/FieldDetector/ObjectsInside | a property: IsInside is true, then false |
| crossing | RuleEngine/LineDetector/Crossed | a message, once |
| motion | VideoSource/MotionAlarm | a property: State is true, then false |
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from pipeline.runtime.metadata.lines import LineFiles
from pipeline.runtime.metadata.scene import Box, SceneEvent, SceneFrame, SceneObject, iso

TT = "http://www.onvif.org/ver10/schema"
WSNT = "http://docs.oasis-open.org/wsn/b-2"
TOPICS = "http://www.onvif.org/ver10/topics"
DIALECT = "http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet"
MODULE = "sightline"  # the analytics module and configuration that all this comes from
# tt:ObjectType has no more; other classes keep their own name.
TYPES = {
    "person": "Human",
    "pedestrian": "Human",
    "vehicle": "Vehicle",
    "car": "Vehicle",
    "bus": "Vehicle",
    "truck": "Vehicle",
    "van": "Vehicle",
    "motorcycle": "Vehicle",
    "ambulance": "Vehicle",
    "bicycle": "Bicycle",
    "animal": "Animal",
    "cat": "Animal",
    "dog": "Animal",
}
REPEATED = frozenset({"Frame", "Object", "Type"})  # may occur several times, so they are arrays in JSON
WORDS = frozenset({"UtcTime", "Source"})  # attributes that are no numbers
DIGITS = 6
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 cannot hold

for _prefix, _name in (("tt", TT), ("wsnt", WSNT), ("tns1", TOPICS)):
    ET.register_namespace(_prefix, _name)


Items = tuple[tuple[str, str], ...]  # names and values


@dataclass(frozen=True, slots=True)
class Message:
    """An event as ONVIF tells it."""

    topic: str  # without its namespace's prefix
    time: datetime
    source: Items
    data: Items
    operation: str = ""  # of a property: Initialized, Changed, Deleted; "" for a message that tells no state


class Messages:
    """Makes messages of events: knows which properties are there already, and which crossings were told."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, Items], Message] = {}
        self._crossed: set[tuple[str, str, str, datetime]] = set()

    def of(self, it: SceneEvent) -> Message | None:
        """The message of a report; None for the end of a crossing that was told when it began."""
        return self._crossing(it) if it.kind == "crossing" else self._state(it)

    def deleted(self) -> list[Message]:
        """The end of all properties; they are forgotten."""
        last = [Message(it.topic, it.time, it.source, it.data, "Deleted") for it in self._states.values()]
        self._states = {}
        return last

    def _state(self, it: SceneEvent) -> Message:
        topic, source, data = _motion(it) if it.kind == "motion" else _presence(it)
        operation = "Changed" if (topic, source) in self._states else "Initialized"
        self._states[topic, source] = message = Message(topic, it.time, source, data, operation)
        return message

    def _crossing(self, it: SceneEvent) -> Message | None:
        key = it.camera, it.zone, it.label, it.start
        told = key in self._crossed
        self._crossed.discard(key)
        if told and it.end is not None:
            return None
        if it.end is None:
            self._crossed.add(key)
        data = ("ObjectId", " ".join(map(str, it.numbers))), _types(it, len(it.numbers))
        return Message("RuleEngine/LineDetector/Crossed", it.time, _rule(it), data)


class OnvifXml:
    """An output of XML: a tt:MetadataStream a line, in `onvif-000001.xml.lines` and following.

    Args:
        folder: of the files.
        max_bytes: a file's, before the next begins.
        keep: so many files stay.
    """

    def __init__(self, folder: Path, max_bytes: int = 64 << 20, keep: int = 10) -> None:
        self._files = LineFiles(folder, "onvif", ".xml.lines", max_bytes, keep)
        self._messages = Messages()

    def frame(self, it: SceneFrame) -> None:
        """See `Output.frame`."""
        self._files.write(to_xml([it]))

    def event(self, it: SceneEvent) -> None:
        """See `Output.event`."""
        if (message := self._messages.of(it)) is not None:
            self._files.write(to_xml([], [message]))

    def close(self) -> None:
        """See `Output.close`."""
        if messages := self._messages.deleted():
            self._files.write(to_xml([], messages))
        self._files.close()


def to_xml(frames: Iterable[SceneFrame], messages: Iterable[Message] = ()) -> str:
    """A tt:MetadataStream of frames and messages, in ASCII, without line breaks."""
    stream = ET.Element(f"{{{TT}}}MetadataStream")
    if frames := list(frames):
        analytics = _add(stream, "VideoAnalytics")
        analytics.extend(frame_element(it) for it in frames)
    if messages := list(messages):
        stream.set("xmlns:tns1", TOPICS)  # the topic's text names it, which no serialiser looks into
        events = _add(stream, "Event")
        events.extend(_notification(it) for it in messages)
    return str(ET.tostring(stream, "us-ascii", xml_declaration=False), "ascii")


def frame_element(it: SceneFrame) -> ET.Element:
    """A tt:Frame. Its transformation is the identity: a reader that leaves it out is right too."""
    frame = ET.Element(f"{{{TT}}}Frame", UtcTime=iso(it.time), Source=MODULE)
    transformation = _add(frame, "Transformation")
    _add(transformation, "Translate", x="0", y="0")
    _add(transformation, "Scale", x="1", y="1")
    for found in it.objects:
        frame.append(_object(found))
    return frame


def frame_json(it: SceneFrame) -> str:
    """A frame as payload `onvif-mj`: the XML by the specification's rules of conversion."""
    return _compact({"Frame": [_plain(frame_element(it))]})


def message_json(it: Message) -> str:
    """An event as payload `onvif-ej`; of a property that is deleted, nothing."""
    if it.operation == "Deleted":
        return ""
    return _compact({"UtcTime": iso(it.time), "Source": dict(it.source), "Data": dict(it.data)})


def frame_topic(prefix: str, camera: str) -> str:
    """MQTT topic of a camera's frames."""
    return f"{prefix}/onvif-mj/VideoAnalytics/{topic_part(camera)}/{MODULE}"


def message_topic(prefix: str, it: Message) -> str:
    """MQTT topic of an event: its own topic, then the source's values."""
    return f"{prefix}/onvif-ej/{it.topic}/&{'/'.join(topic_part(value) for _, value in it.source)}"


def topic_part(text: str) -> str:
    """A name as one level of an MQTT topic: without the characters that mean something there."""
    return re.sub(r"[/#+$\x00-\x1f\x7f]", "", text) or "_"


def to_onvif(box: Box) -> Box:
    """Left, top, right, bottom in ONVIF's coordinates, of shares of the picture with y down."""
    left, top, right, bottom = box
    return 2 * left - 1, 1 - 2 * top, 2 * right - 1, 1 - 2 * bottom


def from_onvif(box: Box, size: tuple[int, int]) -> Box:
    """Pixel xyxy of ONVIF's left, top, right, bottom in a picture of `size` (width, height)."""
    width, height = size
    left, top, right, bottom = box
    return (left + 1) / 2 * width, (1 - top) / 2 * height, (right + 1) / 2 * width, (1 - bottom) / 2 * height


def _object(it: SceneObject) -> ET.Element:
    element = ET.Element(f"{{{TT}}}Object", ObjectId=str(it.number))
    appearance = _add(element, "Appearance")
    shape = _add(appearance, "Shape")
    left, top, right, bottom = (_number(value) for value in to_onvif(it.box))
    _add(shape, "BoundingBox", left=left, top=top, right=right, bottom=bottom)
    _add(
        shape,
        "CenterOfGravity",
        x=_number((float(left) + float(right)) / 2),
        y=_number((float(top) + float(bottom)) / 2),
    )
    _add(_add(appearance, "Class"), "Type", Likelihood=_number(it.score)).text = _fit(_type(it.label))
    return element


def _notification(it: Message) -> ET.Element:
    element = ET.Element(f"{{{WSNT}}}NotificationMessage")
    topic = ET.SubElement(element, f"{{{WSNT}}}Topic", Dialect=DIALECT)
    topic.text = f"tns1:{it.topic}"
    holder = ET.SubElement(element, f"{{{WSNT}}}Message")
    property_of = {"PropertyOperation": it.operation} if it.operation else {}
    message = _add(holder, "Message", UtcTime=iso(it.time), **property_of)
    for name, items in (("Source", it.source), ("Data", it.data)):
        group = _add(message, name)
        for key, value in items:
            _add(group, "SimpleItem", Name=key, Value=_fit(value))
    return element


def _motion(it: SceneEvent) -> tuple[str, Items, Items]:
    """Topic, source and data of motion."""
    return "VideoSource/MotionAlarm", (("Source", it.camera),), (("State", _lasts(it)),)


def _presence(it: SceneEvent) -> tuple[str, Items, Items]:
    """As `_motion`. No ObjectId: who names the objects of a property must tell of each change of their list."""
    return "RuleEngine/FieldDetector/ObjectsInside", _rule(it), (("IsInside", _lasts(it)), _types(it, 1))


def _lasts(it: SceneEvent) -> str:
    return "true" if it.end is None else "false"


def _rule(it: SceneEvent) -> Items:
    """The source of a rule's message. One rule for each class and zone or line."""
    name = f"{it.zone}:{it.label}" if it.zone else it.label
    return ("VideoSource", it.camera), ("AnalyticsConfiguration", MODULE), ("Rule", name)


def _types(it: SceneEvent, count: int) -> tuple[str, str]:
    """The types of `count` objects of an event."""
    return "ClassTypes", " ".join([_type(it.label)] * count)


def _type(label: str) -> str:
    return TYPES.get(label.lower(), label)


def _plain(element: ET.Element) -> Any:
    """An element by ONVIF's rules from XML to JSON: attributes with @, text beside them as #text, lists for repeats."""
    out: dict[str, Any] = {f"@{name}": _value(name, value) for name, value in element.items()}
    for child in element:
        name = child.tag.rpartition("}")[2]
        if name in REPEATED:
            out.setdefault(name, []).append(_plain(child))
        else:
            out[name] = _plain(child)
    if not out:
        return element.text
    return out | {"#text": element.text} if element.text else out


def _value(name: str, text: str) -> str | float:
    if name in WORDS:
        return text
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _compact(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _add(parent: ET.Element, name: str, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, f"{{{TT}}}{name}", attributes)


def _number(value: float) -> str:
    return f"{round(value, DIGITS) + 0.0:.7g}"  # with 0 added, -0 is 0


def _fit(text: str) -> str:
    return _UNFIT.sub("", text)
