import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main
from pipeline.core.types import LabelledFrame
from pipeline.io.files import write_json
from pipeline.io.tables import write_labelled
from pipeline.services.labelling.commands import COMMANDS
from pipeline.services.labelling.local import LocalServer


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["labels", command, "--help"])
    assert end.value.code == 0
    assert f"Examples:\n  sightline labels {command}" in capsys.readouterr().out


def test_frames_that_nobody_labelled_are_pushed(site: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write_labelled(Path("data/annotations/labelled.parquet"), [LabelledFrame(site.items[0].key, "1")])
    main(["labels", "push"])
    assert {task["data"]["frame_id"] for task in site.tasks()} == {item.key for item in site.items[1:]}
    main(["labels", "push", "--labelled"])
    assert len(site.tasks()) == 3
    assert "1 tasks added to" in capsys.readouterr().out


def test_chosen_frames_are_pushed_in_their_order(site: Any) -> None:
    Path("chosen.txt").write_text("\n".join(item.key for item in reversed(site.items)))
    main(["labels", "push", "--only", "chosen.txt", "--budget", "2"])
    assert [task["data"]["frame_id"] for task in site.tasks()] == [item.key for item in reversed(site.items)][:2]


def test_an_exported_model_proposes_boxes(site: Any, write_export: Callable[..., Path]) -> None:
    export = write_export(Path("models/export"))
    main(["labels", "push", "--predict", str(export)])
    assert {prediction["model_version"] for prediction in site.predictions()} >= {
        site.server.project(site.p.project)["model_version"]
    }
    assert all(prediction["model_version"].startswith("brightness-") for prediction in site.predictions())


def test_what_was_evaluated_is_sent_for_review(site: Any) -> None:
    box = {"label": "person", "score": 0.9, "box": [1, 2, 3, 4], "kind": "missing_label", "suspicion": 0.9}
    issues = [{**box, "frame_id": site.items[i].key, "human": None, "iou": None} for i in (2, 0, 1)]
    write_json(Path("reports/evaluate/label_issues.json"), {"issues": issues})
    main(["labels", "push", "--review", "2"])
    assert [task["data"]["frame_id"] for task in site.tasks()] == [site.items[i].key for i in (2, 0)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["push", "--predict"], "the model 'sightline' has no champion yet; run: dvc repro", id="no-champion"
        ),
        pytest.param(["push", "--predict", "nowhere/"], "contract.json does not exist", id="no-model"),
        pytest.param(["push", "--only", "chosen.txt"], "chosen.txt: .* no usable frame ffff", id="no-such-frame"),
        pytest.param(["push", "--frames", "nowhere"], "nowhere/frames.parquet does not exist", id="no-frames"),
        pytest.param(["push", "--review"], "label_issues.json does not exist", id="not-evaluated"),
        pytest.param(["pull"], "holds no task; run: sightline labels push", id="nothing-to-pull"),
    ],
)
def test_what_is_missing_is_named(
    site: Any, mlflow_store: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("chosen.txt").write_text("ffff")
    with pytest.raises(SystemExit) as end:
        main(["labels", *arguments])
    assert end.value.code == 2
    assert re.search(f"^error: .*{message}", capsys.readouterr().err, re.MULTILINE)


def test_the_token_appears_nowhere(site: Any, running: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    token = "deadbeef" * 5
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", token)
    code = "import sys, logging; logging.basicConfig(level=0); from pipeline.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, "labels", "status"],
        capture_output=True,
        text=True,
        env={**os.environ},
        check=False,
    )
    assert done.returncode == 2
    assert "refuses the token (401); copy a valid one" in done.stderr
    assert token not in done.stdout + done.stderr
    for path in Path().rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes()


@pytest.mark.parametrize("missing", ["LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"])
def test_address_and_token_come_from_a_file_too(
    site: Any, running: LocalServer, missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    value = os.environ[missing]
    monkeypatch.delenv(missing)
    with pytest.raises(SystemExit):
        main(["labels", "status"])
    assert f"error: {missing} not set; set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY" in capsys.readouterr().err
    Path(".env").write_text(f"{missing}={value}\n")
    main(["labels", "status"])
    assert "0 tasks" in capsys.readouterr().out
