from pathlib import Path

import pytest
from pydantic import Field

from pipeline.core.config import LONGEST, Params, bad_values, parse_yaml, read_params, shown
from pipeline.core.errors import ConfigError


class Optimizer(Params):
    lr: float = Field(gt=0)


class Train(Params):
    epochs: int = Field(ge=1, le=100)
    classes: tuple[str, ...] = ()
    optimizer: Optimizer = Optimizer(lr=0.1)
    others: dict[str, tuple[Optimizer, ...]] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        pytest.param({"epochs": 0}, "train.epochs: must be at least 1, got 0", id="too small"),
        pytest.param({"epochs": 101}, "train.epochs: must be at most 100, got 101", id="too large"),
        pytest.param({"epochs": "3"}, "train.epochs: must be a valid integer, got '3'", id="text for a number"),
        pytest.param({"epochs": True}, "train.epochs: must be a valid integer, got True", id="truth for a number"),
        pytest.param({}, "train.epochs: missing", id="missing"),
        pytest.param({"epochs": 3, "epoch": 3}, "train.epoch: no such key; did you mean train.epochs?", id="misspelt"),
        pytest.param({"epochs": 3, "zz": 3}, "train.zz: no such key", id="unknown"),
        pytest.param(
            {"epochs": 3, "optimizer": {"lr": 0.1, "l": 1}},
            "train.optimizer.l: no such key; did you mean train.optimizer.lr?",
            id="misspelt below",
        ),
        pytest.param(
            {"epochs": 3, "others": {"b": [{"lr": 1}, {"lr": 1, "l": 1}]}},
            "train.others.b.1.l: no such key; did you mean train.others.b.1.lr?",
            id="misspelt in a list in a mapping",
        ),
        pytest.param(
            {"epochs": 3, "optimizer": {"lr": float("nan")}},
            "train.optimizer.lr: must be a finite number, got nan",
            id="not a number",
        ),
        pytest.param(
            {"epochs": 3, "optimizer": {"lr": float("inf")}},
            "train.optimizer.lr: must be a finite number, got inf",
            id="infinite",
        ),
        pytest.param(
            {"epochs": 3, "classes": ["a", 1]}, "train.classes.1: must be a valid string, got 1", id="in a list"
        ),
        pytest.param(
            {"epochs": 3, "optimizer": 5}, "train.optimizer: must be an object, got 5", id="value for a mapping"
        ),
    ],
)
def test_a_bad_value_is_named_by_dotted_key(values: object, line: str) -> None:
    assert Train.problems("train", values) == [line]
    with pytest.raises(ConfigError) as caught:
        Train.parse("train", values)
    assert str(caught.value) == f"params.yaml: 1 bad value\n  {line}"


def test_all_bad_values_come_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Train.parse("train", {"epochs": 0, "epoch": 1, "optimizer": {}}, "other.yaml")
    assert str(caught.value).splitlines() == [
        "other.yaml: 3 bad values",
        "  train.epochs: must be at least 1, got 0",
        "  train.optimizer.lr: missing",
        "  train.epoch: no such key; did you mean train.epochs?",
    ]


def test_a_list_fills_a_tuple() -> None:
    assert Train.parse("train", {"epochs": 3, "classes": ["a"]}).classes == ("a",)


def test_a_section_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Train(epochs=3).epochs = 4  # type: ignore[misc]


def test_load_reads_its_section(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("train: {epochs: 3}\nother: 1\n")
    assert Train.load("train", path) == Train(epochs=3)
    with pytest.raises(ConfigError, match="section 'val' is missing; run: sightline compose"):
        Train.load("val", path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(None, "is missing; run: sightline compose", id="no file"),
        pytest.param(b"a: [", "is not YAML", id="broken"),
        pytest.param(b"\xff\xfe\x00", "is not YAML", id="binary"),
        pytest.param(b"", "holds no sections", id="empty"),
        pytest.param(b"- 1", "holds no sections", id="a list"),
        pytest.param(b"!!python/object/apply:os.getcwd []", "is not YAML", id="code"),
    ],
)
def test_a_file_without_sections_is_an_error(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=told):
        read_params(path)


def test_one_error_for_many_lines() -> None:
    assert str(bad_values("p.yaml", ["a: missing", "b: missing"])) == "p.yaml: 2 bad values\n  a: missing\n  b: missing"


class Range(Params):
    low: int
    high: int

    def misfits(self) -> list[str]:
        return [] if self.low <= self.high else ["low: is above high"]


def test_what_does_not_fit_together_is_told_where_each_value_is_good() -> None:
    assert Range.problems("", {"low": 1, "high": 2}) == []
    assert Range.problems("", {"low": 3, "high": 2}) == ["low: is above high"]
    assert Range.problems("", {"low": 3, "high": "2"}) == ["high: must be a valid integer, got '2'"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        pytest.param("a", "'a'", id="short"),
        pytest.param("x" * 500, "'" + "x" * (LONGEST - 1) + "...", id="long"),
        pytest.param({"u": "http://a:b@c/d e"}, "{'u': 'http://... e'}", id="address"),
    ],
)
def test_a_bad_value_is_shown_short_and_without_addresses(value: object, told: str) -> None:
    assert shown(value) == told


def test_keys_of_yaml_are_words() -> None:
    assert parse_yaml(b"on: yes\n1: {007: 1.5}\nlist: [1, a]", "f") == {
        "on": True,
        "1": {"007": 1.5},
        "list": [1, "a"],
    }


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(b"a: 1\nb: 2\na: 3", "the key 'a' stands here twice", id="twice"),
        pytest.param(b"x: {a: 1, a: 3}", "the key 'a' stands here twice", id="twice below"),
        pytest.param(b"a: &x 1\nb: *x", "aliases and tags are not allowed", id="alias"),
        pytest.param(b"a: !!timestamp x", "aliases and tags are not allowed", id="tag"),
        pytest.param(b"5", "holds no keys", id="no mapping"),
        pytest.param(b"a: {s: http://u:secret@h/,\nb: [}", r"read: line 2, column 5: expected .*$", id="where"),
        pytest.param(b"a: 2020-13-45", "is not YAML that can be read", id="no such day"),
    ],
)
def test_what_parse_yaml_refuses(content: bytes, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        parse_yaml(content, "site.yaml")
    assert "secret" not in str(caught.value)
