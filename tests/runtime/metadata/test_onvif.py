"""ONVIF: against the order, number and kinds of elements that its schema asks for, and its own examples.

The rules below were written from metadatastream.xsd and common.xsd (22.12), onvif.xsd (tt:Message) and OASIS b-2.xsd;
the examples are those of the Analytics Service and the Core Specification.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from defusedxml.ElementTree import fromstring

from pipeline.runtime.metadata.onvif import (
    TT,
    WSNT,
    Message,
    Messages,
    OnvifXml,
    frame_json,
    frame_topic,
    from_onvif,
    message_json,
    message_topic,
    to_onvif,
    to_xml,
)
from pipeline.runtime.metadata.scene import Clock, Scene, SceneEvent, SceneFrame
from pipeline.runtime.metadata.sink import MetadataSink
from tests.scenes import CLASSES, SIZE, START, Seen, event, track

MANY = 1 << 30
FLOAT = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
TEXT = re.compile(r".*", re.DOTALL)
VECTOR = {"x": FLOAT, "y": FLOAT}
# Element -> its children in order with (least, most), and its attributes; "?" marks those that may be missing.
CHILDREN: dict[str, dict[str, tuple[int, int]]] = {
    "MetadataStream": {"VideoAnalytics": (0, MANY), "Event": (0, MANY)},
    "VideoAnalytics": {"Frame": (0, MANY)},
    "Frame": {"Transformation": (0, 1), "Object": (0, MANY)},
    "Transformation": {"Translate": (0, 1), "Scale": (0, 1)},
    "Object": {"Appearance": (0, 1)},
    "Appearance": {"Transformation": (0, 1), "Shape": (0, 1), "Class": (0, 1)},
    "Shape": {"BoundingBox": (1, 1), "CenterOfGravity": (1, 1)},
    "Class": {"Type": (0, MANY)},
    "Event": {"NotificationMessage": (0, MANY)},
    "NotificationMessage": {"Topic": (0, 1), "Message": (1, 1)},
    "tt:Message": {"Source": (0, 1), "Data": (0, 1)},
    "Source": {"SimpleItem": (0, MANY)},
    "Data": {"SimpleItem": (0, MANY)},
    "wsnt:Message": {"Message": (1, 1)},
}
ATTRIBUTES: dict[str, dict[str, re.Pattern[str]]] = {
    "Frame": {"UtcTime": TIME, "Source?": TEXT},
    "Translate": VECTOR,
    "Scale": VECTOR,
    "Object": {"ObjectId": re.compile(r"\d+")},
    "BoundingBox": dict.fromkeys(("left", "top", "right", "bottom"), FLOAT),
    "CenterOfGravity": VECTOR,
    "Type": {"Likelihood?": re.compile(r"0(\.\d+)?|1")},
    "Topic": {"Dialect": re.compile("http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet")},
    "tt:Message": {"UtcTime": TIME, "PropertyOperation?": re.compile("Initialized|Deleted|Changed")},
    "SimpleItem": {"Name": TEXT, "Value": TEXT},
}
IN_WSNT = {"NotificationMessage", "Topic", "wsnt:Message"}


def check(element: Element) -> None:
    """Fails where an element is not as the schema says."""
    space, _, local = element.tag[1:].partition("}")
    name = local if local != "Message" else {TT: "tt:", WSNT: "wsnt:"}[space] + local
    assert space == (WSNT if name in IN_WSNT else TT), element.tag
    allowed = CHILDREN.get(name, {})
    tags = [child.tag.rpartition("}")[2] for child in element]
    assert tags == sorted(tags, key=list(allowed).index), f"{name}: {tags}"
    for child, (least, most) in allowed.items():
        assert least <= tags.count(child) <= most, f"{name}: {child}"
    attributes = ATTRIBUTES.get(name, {})
    assert {it for it in attributes if not it.endswith("?")} <= set(element.keys()), f"{name}: {element.keys()}"
    for key, value in element.items():
        assert (attributes.get(key) or attributes[f"{key}?"]).fullmatch(value), f"{name} {key}={value}"
    for child_element in element:
        check(child_element)


def frame_of(*tracks: Any) -> SceneFrame:
    frame = Scene(CLASSES, Clock(START)).frame(Seen(tracks=tracks))
    assert frame is not None
    return frame


def told(*reports: Any) -> list[SceneEvent]:
    return Scene(CLASSES, Clock(START)).events(Seen(timestamp_s=2.0, events=reports))


def messages(*reports: Any) -> list[Message]:
    maker = Messages()
    return [message for it in told(*reports) if (message := maker.of(it)) is not None]


def floats(element: Element, *names: str) -> list[float]:
    return [float(element.attrib[name]) for name in names]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_frame_is_as_the_schema_says(count: int) -> None:
    frame = frame_of(*(track(i, (10 * i, 0, 10 * i + 7, 99)) for i in range(count)))
    stream = fromstring(to_xml([frame]))
    check(stream)
    assert len(list(stream.iter(f"{{{TT}}}Object"))) == count


def test_events_are_as_the_schema_says() -> None:
    kinds = ["presence", "crossing", "motion"]
    reports = [event(end_s=end_s, kind=kind) for kind in kinds for end_s in (None, 1.5)]
    stream = fromstring(to_xml([frame_of(track())], messages(*reports)))
    check(stream)
    assert len(list(stream.iter(f"{{{WSNT}}}NotificationMessage"))) == 5  # a crossing is told once


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        pytest.param("<tt:Shape/>", "Shape: BoundingBox", id="too few"),
        pytest.param("<tt:Class/><tt:Shape/>", "Appearance", id="order"),
        pytest.param("<tt:Image>AAAA</tt:Image>", "Image", id="a picture"),
    ],
)
def test_the_rules_find_what_is_wrong(broken: str, said: str) -> None:
    text = f"<tt:Appearance xmlns:tt='{TT}'>{broken}</tt:Appearance>"
    with pytest.raises((AssertionError, ValueError), match=said):
        check(fromstring(text))


def test_coordinates_are_those_of_the_specifications_example() -> None:
    """A picture of 640 x 480 with y up from its lower edge: left 20, top 80, right 100, bottom 30."""
    scale_x, scale_y = 0.003125, 0.00416667
    expected = (20 * scale_x - 1, 80 * scale_y - 1, 100 * scale_x - 1, 30 * scale_y - 1)
    frame = Scene(CLASSES, Clock(START)).frame(Seen(size=(640, 480), tracks=[track(box=(20, 400, 100, 450))]))
    assert frame is not None
    stream = fromstring(to_xml([frame]))
    (box,) = stream.iter(f"{{{TT}}}BoundingBox")
    (centre,) = stream.iter(f"{{{TT}}}CenterOfGravity")
    assert floats(box, "left", "top", "right", "bottom") == pytest.approx(expected, abs=1e-5)
    assert floats(centre, "x", "y") == pytest.approx([60 * scale_x - 1, 55 * scale_y - 1], abs=1e-5)


@pytest.mark.parametrize("box", [(0, 0, 200, 100), (20, 10, 60, 90), (199, 99, 200, 100), (-50, 20, 300, 400)])
def test_boxes_are_in_range_with_y_up_and_come_back_as_pixels(box: Sequence[float]) -> None:
    stream = fromstring(to_xml([frame_of(track(box=box))]))
    (element,) = stream.iter(f"{{{TT}}}BoundingBox")
    left, top, right, bottom = floats(element, "left", "top", "right", "bottom")
    assert -1 <= left < right <= 1
    assert -1 <= bottom < top <= 1
    clipped = (max(0, box[0]), max(0, box[1]), min(SIZE[0], box[2]), min(SIZE[1], box[3]))
    assert from_onvif((left, top, right, bottom), SIZE) == pytest.approx(clipped, abs=1e-3)


def test_the_corners_of_the_picture_are_the_corners_of_the_coordinates() -> None:
    assert to_onvif((0, 0, 1, 1)) == (-1, 1, 1, -1)


@pytest.mark.parametrize(("label", "name"), [("person", "Human"), ("vehicle", "Vehicle"), ("scooter", "scooter")])
def test_a_class_is_a_type_with_its_likelihood(label: str, name: str) -> None:
    frame = Scene((label,), Clock(START)).frame(Seen(tracks=[track(score=0.875)]))
    assert frame is not None
    (kind,) = fromstring(to_xml([frame])).iter(f"{{{TT}}}Type")
    assert (kind.text, kind.attrib) == (name, {"Likelihood": "0.875"})


def test_a_zone_is_a_property_that_is_initialized_then_changed_then_deleted() -> None:
    maker = Messages()
    reports = told(event(), event(end_s=2.0), event(5.0), event(label="vehicle"))
    made = [maker.of(it) for it in reports]
    assert [it and it.operation for it in made] == ["Initialized", "Changed", "Changed", "Initialized"]
    assert [it and dict(it.data)["IsInside"] for it in made] == ["true", "false", "true", "true"]
    assert {it and it.topic for it in made} == {"RuleEngine/FieldDetector/ObjectsInside"}
    assert made[0]
    assert dict(made[0].source) == {
        "VideoSource": "lobby",
        "AnalyticsConfiguration": "sightline",
        "Rule": "door:person",
    }
    deleted = maker.deleted()
    assert [(it.operation, dict(it.source)["Rule"]) for it in deleted] == [
        ("Deleted", "door:person"),
        ("Deleted", "door:vehicle"),
    ]
    assert not maker.deleted()


@pytest.mark.parametrize(
    "reports",
    [
        pytest.param([event(kind="crossing"), event(end_s=1.0, kind="crossing")], id="begin and end"),
        pytest.param([event(end_s=1.0, kind="crossing")], id="end alone"),
    ],
)
def test_a_crossing_is_one_message_that_tells_no_state(reports: Sequence[Any]) -> None:
    (message,) = messages(*reports)
    assert (message.topic, message.operation) == ("RuleEngine/LineDetector/Crossed", "")
    assert dict(message.data) == {"ObjectId": "1", "ClassTypes": "Human"}


def test_motion_is_the_alarm_of_a_video_source() -> None:
    begin, end = messages(event(kind="motion", label="", zone=""), event(end_s=3.0, kind="motion", label="", zone=""))
    assert (begin.topic, dict(begin.source)) == ("VideoSource/MotionAlarm", {"Source": "lobby"})
    assert (dict(begin.data), dict(end.data)) == ({"State": "true"}, {"State": "false"})


def test_the_topics_prefix_is_declared() -> None:
    text = to_xml([], messages(event()))
    assert 'xmlns:tns1="http://www.onvif.org/ver10/topics"' in text
    (topic,) = fromstring(text).iter(f"{{{WSNT}}}Topic")
    assert topic.text == "tns1:RuleEngine/FieldDetector/ObjectsInside"


def test_an_events_json_is_that_of_the_specifications_example() -> None:
    source = (("VideoSource", "1"), ("AnalyticsConfiguration", "2"), ("Rule", "MyImportantFence1"))
    message = Message("RuleEngine/LineDetector/Crossed", START, source, (("ObjectId", "15"),))
    assert message_topic("MyDevice", message) == (
        "MyDevice/onvif-ej/RuleEngine/LineDetector/Crossed/&1/2/MyImportantFence1"
    )
    assert json.loads(message_json(message)) == {
        "UtcTime": "2026-11-28T08:40:17.120Z",
        "Source": {"VideoSource": "1", "AnalyticsConfiguration": "2", "Rule": "MyImportantFence1"},
        "Data": {"ObjectId": "15"},
    }


def test_a_deleted_property_is_an_empty_payload() -> None:
    assert message_json(Message("VideoSource/MotionAlarm", START, (), (), "Deleted")) == ""


def test_a_frames_json_follows_the_rules_of_conversion() -> None:
    assert json.loads(frame_json(frame_of(track(score=0.8)))) == {
        "Frame": [
            {
                "@UtcTime": "2026-11-28T08:40:17.120Z",
                "@Source": "sightline",
                "Transformation": {"Translate": {"@x": 0, "@y": 0}, "Scale": {"@x": 1, "@y": 1}},
                "Object": [
                    {
                        "@ObjectId": 1,
                        "Appearance": {
                            "Shape": {
                                "BoundingBox": {"@left": -0.8, "@top": 0.8, "@right": -0.4, "@bottom": -0.8},
                                "CenterOfGravity": {"@x": -0.6, "@y": 0},
                            },
                            "Class": {"Type": [{"@Likelihood": 0.8, "#text": "Human"}]},
                        },
                    }
                ],
            }
        ]
    }
    assert frame_topic("MyDevice", "1") == "MyDevice/onvif-mj/VideoAnalytics/1/sightline"


def test_names_cannot_break_the_xml_or_the_topic() -> None:
    name = 'a<&>"\x00\x0b\u2028/#+\n]]>ü'
    (message,) = messages(event(zone=name))
    text = to_xml([], [message])
    check(fromstring(text))
    assert len(text.splitlines()) == 1
    assert fromstring(text).find(".//*[@Name='Rule']") is not None
    topic = message_topic("x", message)
    assert not set("#+\x00\n") & set(topic)
    assert topic.count("/") == "x/onvif-ej/RuleEngine/FieldDetector/ObjectsInside/&a/b/c".count("/")


def test_files_hold_a_document_a_line(tmp_path: Path) -> None:
    sink = MetadataSink(Scene(CLASSES, Clock(START)), [OnvifXml(tmp_path)])
    sink.emit(Seen(tracks=[track()], events=[event()]))
    sink.emit(Seen(timestamp_s=1.0))
    sink.close()
    lines = (tmp_path / "onvif-000001.xml.lines").read_text().splitlines()
    streams = [fromstring(line) for line in lines]
    for stream in streams:
        check(stream)
    assert [stream[0].tag.rpartition("}")[2] for stream in streams] == [
        "VideoAnalytics",
        "Event",
        "VideoAnalytics",
        "Event",
    ]
    assert 'PropertyOperation="Deleted"' in lines[-1]
