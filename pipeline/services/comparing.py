"""`sightline compare`: every registered iteration side by side, from MLflow, at the terminal and as a page."""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pipeline.core.contenders import Contender, Field, fields, latency, size, table
from pipeline.core.errors import SightlineError
from pipeline.core.params import RegisterParams
from pipeline.core.stage import summary
from pipeline.io.files import write_bytes
from pipeline.services import ledger, tracking

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

OUT = Path("reports/comparison.html")
HOST, PORT = "127.0.0.1", 5000
FIGURES = {  # key of a contender's figure -> that of a run's
    **{name: name for name in ("AP", "AP50", "AP_small", "AP_medium", "AP_large")},
    "worst_recall": f"{ledger.PREFIX}worst_recall",
    "minutes": tracking.MINUTES,
    "parameters": "explain/parameters",
    "macs": "explain/macs",
    "bytes": "explain/bytes/weights",
}


def contenders(client: "MlflowClient", experiment: str) -> list[Contender]:
    """Every registered iteration; of one that came several times from the same weights, the latest.

    Raises:
        SightlineError: there is none.
    """
    found = client.get_experiment_by_name(experiment)
    runs = [] if found is None else _registered(client, found.experiment_id)
    latest: dict[tuple[str, str], Contender] = {}
    for run in runs:
        row = contender(run)
        key = run.data.tags.get(tracking.WEIGHTS, ""), row.benchmark
        if key not in latest or latest[key].version < row.version:
            latest[key] = row
    if not latest:
        raise SightlineError(f"the MLflow experiment {experiment!r} holds no registered iteration; run: dvc repro")
    return list(latest.values())


def _registered(client: "MlflowClient", experiment_id: str) -> list["Run"]:
    """All runs that have a model version, page by page."""
    runs: list[Run] = []
    page = client.search_runs([experiment_id], f"tags.`{tracking.ITERATION}` != ''")
    runs.extend(page)
    while page.token:
        page = client.search_runs([experiment_id], f"tags.`{tracking.ITERATION}` != ''", page_token=page.token)
        runs.extend(page)
    return [run for run in runs if run.data.tags.get(tracking.REGISTERED, "").isdigit()]


def contender(run: "Run") -> Contender:
    """What a registered run says of its detector."""
    metrics, tags, params = run.data.metrics, run.data.tags, run.data.params
    figures = {name: metrics[key] for name, key in FIGURES.items() if key in metrics}
    for key, value in metrics.items():
        match key.split("/"):
            case ["targets", target, "milliseconds"]:
                figures[latency(target)] = value
            case ["targets", target, "bytes"]:
                figures[size(target)] = value
    return Contender(
        run_id=run.info.run_id,
        model=params.get("model.name", "?"),
        version=int(tags[tracking.REGISTERED]),
        data=params.get("data.name", ""),
        benchmark=tags.get(tracking.BENCHMARK, ""),
        figures=figures,
        worst_group=tags.get(ledger.WORST, ""),
    )


def compare_url(address: str, experiment_id: str, rows: Sequence[Contender]) -> str:
    """MLflow's page that compares these runs, with parallel coordinates."""
    runs, experiments = (quote(json.dumps(ids, separators=(",", ":"))) for ids in (_ids(rows), [experiment_id]))
    return f"{address}/#/compare-runs?runs={runs}&experiments={experiments}"


def _ids(rows: Sequence[Contender]) -> list[str]:
    return [row.run_id for row in rows]


def compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `compare`."""
    parser.add_argument("--out", type=Path, default=OUT, metavar="PATH", help=f"the page (default: {OUT})")
    parser.add_argument("--ui", action="store_true", help="start MLflow's own page, and say where it compares them")
    parser.add_argument("--port", type=int, default=PORT, help=f"of MLflow's page (default: {PORT})")


def compare_command(args: argparse.Namespace) -> None:
    """Compare every registered detector: accuracy, worst group, minutes, multiply-adds, latency, size.

    Prints a table, and writes a page that opens from disk. All figures are those of MLflow's runs.

    Examples:
      sightline compare
      sightline compare --ui     # and MLflow's parallel coordinates of the same runs, on 127.0.0.1
    """
    experiment = RegisterParams.load("register").experiment
    with tracking.reachable():
        client = tracking.connect()
        grouped = fields(contenders(client, experiment))
        experiment_id = tracking.experiment_id(client, experiment)
    for field in grouped:
        print(f"{field.data}, benchmark {field.benchmark[:12]}\n{table(field.rows)}\n")
    write_page(args.out, grouped, experiment)
    local = f"http://{HOST}:{args.port}"
    store = tracking.store_uri()
    address = store.rstrip("/") if store.startswith("http") else local
    for field in grouped:
        print(f"  MLflow: {compare_url(tracking.masked(address), experiment_id, field.rows)}")
    count = sum(len(field.rows) for field in grouped)
    summary("compare", f"{count} detectors on {len(grouped)} benchmarks; open {args.out}")
    if args.ui and address == local:
        serve(args.port)
    elif not args.ui:
        print("  start MLflow's page with: sightline compare --ui")


def write_page(path: Path, grouped: Sequence[Field], experiment: str) -> None:
    """Write the page, whole or not at all."""
    from pipeline.io.comparison_page import page  # noqa: PLC0415 - matplotlib: a second
    from pipeline.io.page import render  # noqa: PLC0415

    write_bytes(path, render(page(grouped, f"MLflow, experiment {experiment}")))


def serve(port: int) -> None:
    """MLflow's page on this machine alone, until it is interrupted."""
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", tracking.store_uri()]
    try:
        subprocess.run([*command, "--host", HOST, "--port", str(port)], check=False)
    except KeyboardInterrupt:
        summary("compare", "MLflow's page is closed")
