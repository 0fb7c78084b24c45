from typing import Any

import pytest
from defusedxml.ElementTree import fromstring
from label_studio_sdk.label_interface.interface import LabelInterface

from pipeline.core.params import DataParams, LabellingParams
from pipeline.io.formats.label_config import label_config

DATA = DataParams.parse(
    "data",
    {
        "name": "test",
        "format": "images",
        "path": "pictures",
        "labels": {"format": "label_studio", "path": "labels"},
        "classes": ["person", "a & <b>"],
        "rename": {},
        "count_only": ["bicycle"],
        "ignore": ["ignore"],
    },
)


def config(**more: Any) -> str:
    values = {
        "project": "test",
        "template": "image",
        "annotators": 1,
        "instruction": "",
        "colours": {"person": "#D4380D"},
        "hotkeys": {"ignore": "1"},
        "attributes": {"occluded": ["no", "yes"]},
        "tracks": True,
        "serve": {"by": "upload", "root": "", "url": ""},
        "batch": 100,
        "pull": [],
    }
    return label_config(DATA, LabellingParams.parse("labelling", {**values, **more}))


def test_every_label_has_a_colour_and_a_key_of_its_own() -> None:
    labels = [label.attrib for label in fromstring(config()).iter("Label")]
    assert [label["value"] for label in labels] == ["person", "a & <b>", "bicycle", "ignore"]
    assert [label["hotkey"] for label in labels] == ["2", "3", "4", "1"]
    assert labels[0]["background"] == "#D4380D"
    assert len({label["background"] for label in labels}) == 4


@pytest.mark.parametrize(
    ("template", "controls"),
    [
        pytest.param("image", {"label": "rectanglelabels", "occluded": "choices", "track_id": "textarea"}, id="image"),
        pytest.param(
            "video",
            {"label": "labels", "box": "videorectangle", "occluded": "choices", "track_id": "textarea"},
            id="video",
        ),
    ],
)
def test_label_studios_own_reader_finds_the_controls(template: str, controls: dict[str, str]) -> None:
    interface = LabelInterface(config(template=template))
    assert {control.name: control.tag.lower() for control in interface.controls} == controls
    assert interface.is_valid
