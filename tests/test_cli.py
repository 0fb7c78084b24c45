import shutil
from pathlib import Path

import pytest
import yaml

from pipeline.cli import COMMANDS, main
from pipeline.core.params import SECTIONS

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fails(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_by_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"sightline {command}" in capsys.readouterr().out.partition("Examples:")[2]


def test_compose_writes_the_overrides_and_says_what_changed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compose", "model=ssdlite", "train.epochs=3"])
    values = yaml.safe_load((project / "params.yaml").read_text())
    assert (values["model"]["name"], values["train"]["epochs"]) == ("ssdlite", 3)
    told = capsys.readouterr().out
    assert "  model.name: nano -> ssdlite\n" in told
    assert told.endswith("params.yaml: 2 values changed\n")


def test_compose_without_overrides_brings_the_defaults_back(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compose"])
    assert capsys.readouterr().out == "params.yaml: unchanged\n"
    main(["compose", "experiment=smoke"])
    main(["compose"])
    assert (project / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


def test_compose_needs_no_earlier_params(project: Path) -> None:
    (project / "params.yaml").unlink()
    main(["compose"])
    assert (project / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


def test_a_bad_composition_leaves_params_as_they_were(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(["compose", "data=video", "train.epochs=0"])
    told = capsys.readouterr().err
    assert "data.path: must be given" in told
    assert "train.epochs: must be at least 1, got 0" in told
    assert (project / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


def test_check_counts_good_sections(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["check"])
    assert capsys.readouterr().out == f"params.yaml: {len(SECTIONS)} sections are good\n"


def test_check_names_every_bad_value(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = yaml.safe_load((project / "params.yaml").read_text())
    values["train"]["epochs"] = "many"
    values["export"]["opset"] = 8
    (project / "params.yaml").write_text(yaml.safe_dump(values))
    fails(["check"])
    assert capsys.readouterr().err == (
        "error: params.yaml: 2 bad values\n"
        "  train.epochs: must be a valid integer, got 'many'\n"
        "  export.opset: must be at least 17, got 8\n"
    )


def test_repair_outside_a_dvc_repository_says_so(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(["repair"])
    assert "has no .dvc folder" in capsys.readouterr().err


def test_repair_of_a_sound_repository_finds_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / ".dvc" / "tmp").mkdir(parents=True)
    main(["repair"])
    assert capsys.readouterr().out == "repair: nothing to repair\n"


def test_the_ledger_of_an_empty_store_says_so(
    project: Path, mlflow_store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["ledger"])
    assert capsys.readouterr().out == "ledger: 0 iterations of sightline\n"
