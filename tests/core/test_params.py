import copy
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.config import Params, read_params
from pipeline.core.params import SECTIONS

IN_FORCE = read_params(Path(__file__).parents[2] / "params.yaml")


def with_value(section: str, key: str, value: object) -> dict[str, Any]:
    """The section in force with another value at a dotted key."""
    values: dict[str, Any] = copy.deepcopy(IN_FORCE[section])
    *above, last = key.split(".")
    inner = values
    for name in above:
        inner = inner[name]
    inner[last] = value
    return values


@pytest.mark.parametrize("section", SECTIONS)
def test_the_section_in_force_is_good(section: str) -> None:
    assert SECTIONS[section].problems(section, IN_FORCE[section]) == []


@pytest.mark.parametrize(("section", "model"), SECTIONS.items(), ids=list(SECTIONS))
def test_no_section_takes_an_unknown_key(section: str, model: type[Params]) -> None:
    assert model.problems(section, {**IN_FORCE[section], "no_such_key": 1}) == [f"{section}.no_such_key: no such key"]


@pytest.mark.parametrize(
    ("section", "key", "value", "told"),
    [
        pytest.param("input", "width", 33, "multiple of 32", id="input width"),
        pytest.param("data", "classes", [], "at least 1 item", id="no class"),
        pytest.param("data", "ignore", ["person"], "named twice in classes, count_only, ignore: person", id="two ways"),
        pytest.param("data", "labels.format", "kitti", "'label_studio', 'coco', 'voc' or 'yolo'", id="label format"),
        pytest.param("ingest", "sampling.fps", 0, "greater than 0", id="no frame a second"),
        pytest.param("ingest", "near_duplicate_bits", 17, "at most 16", id="everything a duplicate"),
        pytest.param("annotate", "unknown_label", "drop", "'error' or 'count'", id="policy"),
        pytest.param("split", "fractions.train", 0.95, "leave a share for the benchmark", id="no benchmark"),
        pytest.param("augment", "steps", [{"op": "fog", "p": 1.5, "strength": 0}], "at most 1", id="probability"),
        pytest.param("model", "name", "huge", "must be", id="model"),
        pytest.param("train", "optimizer.lr", -1, "greater than 0", id="learning rate"),
        pytest.param("train", "ema_decay", 1, "less than 1", id="an average that never moves"),
        pytest.param("evaluate", "match_iou", 0, "greater than 0", id="every box a hit"),
        pytest.param("export", "opset", 16, "at least 17", id="opset"),
        pytest.param("gate", "limits", [{"metric": "AP50"}], "needs min or max", id="limit without bound"),
        pytest.param("register", "model", "", "at least 1 character", id="nameless"),
        pytest.param("compute", "workers", -1, "at least 0", id="workers"),
    ],
)
def test_a_value_out_of_its_range_is_refused(section: str, key: str, value: object, told: str) -> None:
    problems = SECTIONS[section].problems(section, with_value(section, key, value))
    assert len(problems) == 1
    assert told in problems[0]
