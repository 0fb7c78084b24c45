"""Rows from real runs; that they hold what the reports say: tests/test_register.py."""

import argparse
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from pipeline.core.contenders import Contender, latency, size
from pipeline.core.errors import SightlineError
from pipeline.services import tracking
from pipeline.services.comparing import compare_arguments, compare_command, compare_url, contenders
from pipeline.services.tracking import connect, experiment_id

ROOT = Path(__file__).parents[2]


def run(model: str, version: str, weights: str, benchmark: str = "b1", **metrics: float) -> str:
    client = connect()
    tags = {tracking.WEIGHTS: weights, tracking.BENCHMARK: benchmark, tracking.ITERATION: f"i{version}"}
    tags |= {tracking.REGISTERED: version, "sightline.worst_group": "camera hall"}
    made = client.create_run(experiment_id(client, "sightline"), tags=tags)
    tracking.log_params(client, made, {"model.name": model, "data.name": "demo"})
    named = {key.replace("__", "/"): value for key, value in metrics.items()}
    tracking.log_metrics(client, made.info.run_id, named)
    return str(made.info.run_id)


def test_a_run_becomes_a_row(mlflow_store: str) -> None:
    figures: dict[str, Any] = {
        "AP": 0.7,
        "AP_small": 0.3,
        "iteration__worst_recall": 0.5,
        "train__minutes": 3.5,
        "loss": 1.0,
    }
    figures |= {"explain__parameters": 1e6, "explain__macs": 2.5e8, "explain__bytes__weights": 4e6}
    made = run("nano", "3", "w1", targets__cpu__milliseconds=4.8, targets__cpu__bytes=4.3e6, **figures)
    (row,) = contenders(connect(), "sightline")
    assert row == Contender(
        made, "nano", 3, "demo", "b1",
        {"AP": 0.7, "AP_small": 0.3, "worst_recall": 0.5, "minutes": 3.5, "parameters": 1e6, "macs": 2.5e8,
         "bytes": 4e6, latency("cpu"): 4.8, size("cpu"): 4.3e6},
        "camera hall",
    )  # fmt: skip


def test_of_the_same_weights_the_latest_and_of_the_unregistered_none(mlflow_store: str) -> None:
    run("nano", "1", "w1", AP=0.5)
    run("nano", "10", "w1", AP=0.6)
    run("nano", "9", "w1", AP=0.7)
    run("nano", "11", "w1", "b2", AP=0.1)
    run("fcos", "started", "w2", AP=0.9)
    found = {(row.version, row.benchmark): row.figures["AP"] for row in contenders(connect(), "sightline")}
    assert found == {(10, "b1"): 0.6, (11, "b2"): 0.1}


@pytest.mark.parametrize("experiment", ["sightline", "never made"])
def test_nothing_registered_says_what_to_run(mlflow_store: str, experiment: str) -> None:
    experiment_id(connect(), "sightline")
    with pytest.raises(SightlineError, match="no registered iteration; run: dvc repro"):
        contenders(connect(), experiment)


def test_the_address_names_the_runs_as_mlflow_wants_them() -> None:
    rows = [Contender(run_id, "nano", 1, "demo", "b", {}) for run_id in ("a1", "b2")]
    parts = urlsplit(compare_url("http://127.0.0.1:5000", "1", rows))
    path, _, query = parts.fragment.partition("?")
    assert (parts.netloc, path) == ("127.0.0.1:5000", "/compare-runs")
    assert parse_qs(query) == {"runs": ['["a1","b2"]'], "experiments": ['["1"]']}


def compare(*words: str) -> None:
    parser = argparse.ArgumentParser()
    compare_arguments(parser)
    compare_command(parser.parse_args(words))


def test_the_command_prints_the_table_and_writes_the_page(
    mlflow_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    params: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    Path("params.yaml").write_text(yaml.safe_dump({"register": params["register"]}))
    first, second = run("nano", "1", "w1", AP=0.7), run("fcos", "2", "w2", AP=0.6)
    compare("--out", "out/comparison.html", "--port", "5001")
    told = capsys.readouterr().out
    assert "nano   1        0.700*" in told
    assert "http://127.0.0.1:5001/#/compare-runs?runs=" in told
    assert first in told
    assert second in told
    assert "2 detectors on 1 benchmarks; open out/comparison.html" in told
    assert "nano, version 1" in Path("out/comparison.html").read_text(encoding="utf-8")
