import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.core.config import read_params
from pipeline.core.errors import ConfigError
from pipeline.services.composition import changes, compose, validate

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param([], id="defaults"),
        pytest.param(
            [
                "model=ssdlite",
                "train.epochs=3",
                "data=coco",
                "data.path='/b\u00fcro 1'",
                "data.labels.path='/x y.json'",
            ],
            id="groups, values, paths",
        ),
    ],
)
def test_params_are_byte_for_byte_what_dvc_exp_run_writes(tmp_path: Path, overrides: list[str]) -> None:
    shutil.copytree(CONF, tmp_path / "conf")
    (tmp_path / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", tmp_path / ".dvc")
    (tmp_path / "params.yaml").write_text(compose([]))
    (tmp_path / "dvc.yaml").write_text("stages: {look: {cmd: 'true', params: [train]}}\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "start"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)

    settings = [part for override in overrides for part in ("-S", override)]
    subprocess.run(["dvc", "exp", "run", "-q", *settings], cwd=tmp_path, check=True, capture_output=True)

    assert (tmp_path / "params.yaml").read_text(encoding="utf-8") == compose(overrides, CONF)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        pytest.param("train.epoch=3", "Key 'epoch' is not in struct", id="unknown key"),
        pytest.param("model=foo", "Could not find 'model/foo'", id="unknown option"),
        pytest.param("engine=gpu", "Could not override 'engine'", id="unknown group"),
        pytest.param("train.epochs=1,2", "To sweep over it", id="sweep"),
        pytest.param("train.epochs=[", "train.epochs=[ does not compose", id="no override"),
        pytest.param("data.name=${nothing.there}", "nothing.there", id="dangling interpolation"),
    ],
)
def test_an_override_that_does_not_compose_says_why(override: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose([override], CONF)
    assert told in str(caught.value)
    assert str(ROOT) not in str(caught.value)


def test_a_folder_without_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml does not exist; run this from the root"):
        compose([], tmp_path / "conf")


def test_the_configuration_in_force_is_good() -> None:
    validate(read_params(ROOT / "params.yaml"))


def test_all_errors_of_all_sections_come_at_once() -> None:
    values = yaml.safe_load(compose(["data=video", "input.width=33", "train.epochs=0"], CONF))
    del values["gate"]
    values["gates"] = {}
    with pytest.raises(ConfigError) as caught:
        validate(values)
    assert str(caught.value).splitlines() == [
        "params.yaml: 5 bad values",
        "  data.path: must be given: sightline compose ... data.path=<value>",
        "  input.width: must be a multiple of 32, got 33",
        "  train.epochs: must be at least 1, got 0",
        "  gate: missing; run: sightline compose",
        "  gates: no such section",
    ]


def test_changes_name_what_is_new_other_and_gone() -> None:
    before = {"train": {"epochs": 30, "seed": 0}, "old": "x"}
    after = {"train": {"epochs": 3, "seed": 0, "classes": ["person"]}}
    assert changes(before, after) == ["train.epochs: 30 -> 3", "train.classes: [person] (new)", "old: x (gone)"]
