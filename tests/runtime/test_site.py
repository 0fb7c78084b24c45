"""site.yaml: what it may hold, what it means, and what is told of one that is wrong."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline.core.errors import ConfigError
from pipeline.runtime.site import MAX_BYTES, Camera, ClassRule, Site, read_site

WHOLE = """
version: 1
rules:
  classes:
    person: {threshold: null, min_height: 0.0, min_duration_s: 0.5}
    vehicle: {min_duration_s: 2}
  mode: conservative
  cooldown_s: 5.0
cameras:
  lobby:
    source: rtsp://admin:secret@10.0.0.7/stream
    rules: {classes: {person: {threshold: 0.7}, bicycle: {}}, mode: sensitive}
    zones:
      - {name: door, kind: include, classes: [person], polygon: [[0.1, 0.2], [0.5, 0.2], [0.5, 0.9]]}
      - {name: tree, kind: exclude, polygon: [[0, 0], [1, 0], [0, 1]]}
    lines: [{name: gate, from: [0.1, 0.5], to: [0.9, 0.5], direction: both}]
  on: {}
  7: {}
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    path = tmp_path / "site.yaml"
    path.write_text(WHOLE)
    return read_site(path)


def test_keys_are_read_as_they_stand(site: Site) -> None:
    assert list(site.cameras) == ["lobby", "on", "7"]
    assert site.cameras["lobby"].source == "rtsp://admin:secret@10.0.0.7/stream"


def test_a_camera_overrides_key_by_key(site: Site) -> None:
    rules = site.camera("lobby")
    assert rules.classes == {
        "person": ClassRule(threshold=0.7),
        "vehicle": ClassRule(min_duration_s=2),
        "bicycle": ClassRule(),
    }
    assert (rules.mode, rules.cooldown_s) == ("sensitive", 5.0)
    assert [zone.name for zone in rules.zones] == ["door", "tree"]
    assert (rules.lines[0].start, rules.lines[0].end) == ((0.1, 0.5), (0.9, 0.5))


@pytest.mark.parametrize("name", ["Gate 3 (north)", "cam_07", "Tür-1", "a.b", "x" * 64])
def test_names_that_cameras_have(name: str) -> None:
    assert list(Site.parse("", {"version": 1, "cameras": {name: {}}}).cameras) == [name]


@pytest.mark.parametrize("name", [".x", " x", "a\nb", "a\\b", "a#b", "a+b", "x" * 65])
def test_names_that_would_not_do_as_a_folder_or_a_topic(name: str) -> None:
    with pytest.raises(ConfigError, match="must be 1 to 64 characters"):
        Site.parse("", {"version": 1, "cameras": {name: {}}})


def test_an_override_may_take_a_default_back() -> None:
    own = {"lobby": {"rules": {"classes": {"person": {"threshold": None}}}}}
    values = {"version": 1, "rules": {"classes": {"person": {"threshold": 0.7}}}, "cameras": own}
    assert Site.parse("", values).camera("lobby").classes["person"].threshold is None


def test_a_camera_that_is_not_named_has_the_defaults(site: Site) -> None:
    rules = site.camera("hall")
    assert list(rules.classes) == ["person", "vehicle"]
    assert (rules.mode, rules.zones, rules.lines) == ("conservative", (), ())


def test_the_default_site_reports_every_class_everywhere() -> None:
    rules = Site.default(("person", "dog")).camera("any")
    assert rules.classes == {"person": ClassRule(), "dog": ClassRule()}
    box = np.array([[0.1, 0.1, 0.2, 0.2]])
    assert {name: mask.tolist() for name, mask in rules.places("dog", box).items()} == {"": [True]}
    assert rules.places("cat", box) == {}


def test_the_site_that_the_docs_show_is_one(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "events.md").read_text(encoding="utf-8")
    path = tmp_path / "site.yaml"
    path.write_text(text.partition("```yaml\n")[2].partition("```")[0])
    rules = read_site(path).camera("lobby")
    assert (rules.classes["person"], rules.lines[0].name) == (ClassRule(threshold=0.7, min_height=0.05), "gate")


def test_nothing_shows_a_password(site: Site) -> None:
    assert "secret" not in repr(site)
    with pytest.raises(ConfigError) as caught:
        Site.parse("", {"version": 1, "cameras": {"lobby": "rtsp://admin:se/cr@et@10.0.0.7/"}})
    assert str(caught.value).endswith("cameras.lobby: must be an object, got 'rtsp://...'")


TRIANGLE = [[0, 0], [1, 0], [0, 1]]


def zone(**over: Any) -> dict[str, Any]:
    return {"zones": [{"name": "z", "kind": "include", "polygon": TRIANGLE, **over}]}


def line(**over: Any) -> dict[str, Any]:
    return {"lines": [{"name": "l", "from": [0, 0], "to": [1, 1], **over}]}


@pytest.mark.parametrize(
    ("camera", "told"),
    [
        pytest.param({"zone": []}, "zone: no such key; did you mean cameras.hall.zones?", id="unknown-key"),
        pytest.param(zone(kinds=1), "zones.0.kinds: no such key; did you mean cameras.hall.zones.0.kind?", id="deep"),
        pytest.param(line(form=1), "lines.0.form: no such key; did you mean cameras.hall.lines.0.from?", id="alias"),
        pytest.param(
            {"rules": {"classes": {"person": {"treshold": 1}}}},
            "rules.classes.person.treshold: no such key; did you mean cameras.hall.rules.classes.person.threshold?",
            id="below-a-mapping",
        ),
        pytest.param(zone(polygon=TRIANGLE[:2]), "zones.0.polygon: must have at least 3 points, got [[0", id="points"),
        pytest.param(
            zone(polygon=[[0, 0], [1, 1], [1, 0], [0, 1]]), "zones.0.polygon: must not cross itself: the side", id="bow"
        ),
        pytest.param(
            zone(polygon=[*TRIANGLE[:2], [0, 1.5]]), "polygon.2.1: must be at most 1, got 1.5", id="outside-the-picture"
        ),
        pytest.param(zone(polygon=[*TRIANGLE[:2], [0, -0.1]]), "polygon.2.1: must be at least 0, got -0.1", id="below"),
        pytest.param(
            zone(polygon=[*TRIANGLE[:2], [0, float("nan")]]), "polygon.2.1: must be a finite number, got nan", id="nan"
        ),
        pytest.param(zone(polygon=[*TRIANGLE[:2], [0, 1, 1]]), "polygon.2: must have at most 2 items", id="three-d"),
        pytest.param(zone(kind="inside"), "zones.0.kind: must be 'include' or 'exclude', got 'inside'", id="kind"),
        pytest.param(zone(name="a/b"), "zones.0.name: must be 1 to 64 characters", id="name-with-a-slash"),
        pytest.param(zone(name=".."), "zones.0.name: must be 1 to 64 characters", id="name-that-climbs"),
        pytest.param(zone(name=""), "zones.0.name: must be 1 to 64 characters", id="no-name"),
        pytest.param(line(to=[0, 0]), "lines.0: `from` and `to` must be two different points", id="a-point"),
        pytest.param(line(direction="up"), "direction: must be 'both', 'left_to_right' or 'right_to_left'", id="way"),
        pytest.param(zone(classes=["persn"]), "did you mean 'person'?", id="zone-of-a-misspelt-class"),
        pytest.param(
            zone(classes=["dog"]),
            "zones.0.classes.0: the camera has no rule for 'dog'; name it under rules.classes",
            id="zone-of-a-class-without-a-rule",
        ),
        pytest.param(
            {**zone(name="l"), **line()}, "lines.0.name: must be the only one of its camera, got 'l' again", id="twice"
        ),
    ],
)
def test_what_is_told_of_a_wrong_camera(camera: dict[str, Any], told: str) -> None:
    values = {"version": 1, "rules": {"classes": {"person": {}}}, "cameras": {"hall": camera}}
    with pytest.raises(ConfigError, match=r"1 bad value\n  cameras\.hall\.") as caught:
        Site.parse("", values, "site.yaml")
    assert told in str(caught.value)


def test_all_errors_come_at_once(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump({"rules": {"mode": "bold", "cooldown_s": -1}, "cameras": {"a b/": {}}, "camera": 1}))
    with pytest.raises(ConfigError) as caught:
        read_site(path)
    name = "must be 1 to 64 characters, none of / \\ + #, and must not begin with a dot or a space"
    assert str(caught.value).splitlines() == [
        f"{path}: 5 bad values",
        "  version: missing",
        "  rules.mode: must be 'conservative' or 'sensitive', got 'bold'",
        "  rules.cooldown_s: must be at least 0, got -1",
        f"  cameras.a b/.[key]: {name}, got 'a b/'",
        "  camera: no such key; did you mean cameras?",
    ]


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(None, "is no file; give the path of a site.yaml", id="missing"),
        pytest.param(b"", "holds no keys", id="empty"),
        pytest.param(b"- 1", "holds no keys", id="a-list"),
        pytest.param(b"a: [", "is not YAML", id="broken"),
        pytest.param(b"\xff\xfe\x00", "is not YAML", id="binary"),
        pytest.param(b"!!python/object/apply:os.getcwd []", "is not YAML", id="code"),
        pytest.param(BOMB.encode(), "aliases and tags are not allowed", id="alias-bomb"),
        pytest.param(b"[" * 100_000, "is not YAML", id="very-deep"),
        pytest.param(b"version: 1\nversion: 1", "the key 'version' stands here twice", id="key-twice"),
        pytest.param(b"? [a]\n: 1", "a key must be a word", id="list-for-a-key"),
        pytest.param(b"version: " + b"1" * 5000, "is not YAML", id="endless-number"),
        pytest.param(b" " * (MAX_BYTES + 1), f"has more than {MAX_BYTES} bytes", id="too-large"),
    ],
)
def test_a_file_that_is_no_site(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "site.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(told)) as caught:
        read_site(path)
    assert str(path) in str(caught.value)


def test_the_site_must_fit_the_model(site: Site) -> None:
    site.check(("person", "vehicle", "bicycle"), ["hall"])
    with pytest.raises(ConfigError) as caught:
        site.check(("persons", "vehicle"), ["hall"])
    lines = str(caught.value).splitlines()
    assert lines[0] == "site.yaml: 5 bad values"  # person of all four, bicycle of the lobby
    unknown = "which the model does not have"
    assert f"  cameras.lobby: the rules name class 'person', {unknown}; did you mean 'persons'?" in lines
    way_out = "take it out, or train one: it has persons, vehicle"
    assert f"  cameras.lobby: the rules name class 'bicycle', {unknown}; {way_out}" in lines


def test_a_site_that_can_never_alarm_is_refused() -> None:
    Site(version=1).check(("person",))
    with pytest.raises(
        ConfigError, match=r"cameras\.hall: no class is named, so nothing could alarm; name one of perso"
    ):
        Site(version=1).check(("person",), ["hall"])
    Site(version=1, cameras={"hall": Camera.model_validate({"rules": {"mode": "sensitive"}})}).check(("person",))


def test_places_are_where_feet_are_of_what_is_tall_enough() -> None:
    camera = {
        "zones": [
            {"name": "upper", "kind": "include", "polygon": [[0, 0], [1, 0], [1, 0.5], [0, 0.5]]},
            {
                "name": "lower",
                "kind": "include",
                "classes": ["vehicle"],
                "polygon": [[0, 0.5], [1, 0.5], [1, 1], [0, 1]],
            },
            {"name": "tree", "kind": "exclude", "classes": ["person"], "polygon": [[0, 0], [0.2, 0], [0.2, 1], [0, 1]]},
        ]
    }
    rule = {"classes": {"person": {"min_height": 0.2}, "vehicle": {}}}
    rules = Site.parse("", {"version": 1, "rules": rule, "cameras": {"hall": camera}}).camera("hall")
    boxes = np.array(
        [
            [0.4, 0.1, 0.6, 0.3],
            [0.4, 0.3, 0.6, 0.4],
            [0.4, 0.6, 0.6, 0.9],
            [0.0, 0.1, 0.2, 0.4],
        ]  # just tall enough (0.3 - 0.1 is 0.19999999999999998), small, low, left
    )
    person, vehicle = (
        {name: mask.tolist() for name, mask in rules.places(label, boxes).items()} for label in ("person", "vehicle")
    )
    assert person == {"upper": [True, False, False, False]}
    assert vehicle == {"upper": [True, True, False, True], "lower": [False, False, True, False]}
    assert rules.counts("person", boxes).tolist() == [True, False, True, False]
