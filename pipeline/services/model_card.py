"""model_card.md: what a bundle's model is for, how good it is, for whom, and under which conditions.

After Mitchell et al., "Model cards for model reporting" (2019): every figure comes from a report of the iteration.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.runtime.contract import Contract

Values = Mapping[str, Any]


def model_card(contract: Contract, metrics: Values, preconditions: Values, verified: Values) -> str:
    """The card in Markdown.

    Args:
        contract: of the bundle.
        metrics: metrics.json of `evaluate`.
        preconditions: preconditions.json of `evaluate`.
        verified: verify.json.
    """
    parts = [
        _what(contract),
        _benchmark(metrics),
        _artifacts(contract, verified),
        _conditions(preconditions),
        _limits(contract),
    ]
    return "\n".join(line for part in parts for line in [*part, ""]).rstrip() + "\n"


def _what(contract: Contract) -> list[str]:
    it = contract.input
    rows = [
        (name, f"{contract.thresholds[name]:.3f}", contract.evidence[name].rule if name in contract.evidence else "-")
        for name in contract.classes
    ]
    return [
        f"# {contract.model} for {contract.target}",
        "",
        f"Detects {', '.join(contract.classes)} in single pictures, letterboxed to {it.width} x {it.height} pixels.",
        "",
        *_table(("Class", "Operating threshold", "Chosen for"), rows),
        "",
        f"- Weights (SHA-256): `{contract.weights}`",
        f"- Training frames (SHA-256 of their ids): `{contract.training_data}`",
        f"- Calibration set (SHA-256): `{contract.calibration or 'nothing was quantised'}`",
    ]


def _benchmark(metrics: Values) -> list[str]:
    keys = ("AP", "AP50", "precision", "recall")
    rows = [
        (name, str(it.get("objects", 0)), *(_figure(it.get(key)) for key in keys))
        for name, it in metrics.get("class", {}).items()
    ]
    every = ("all", str(metrics.get("objects", 0)), *(_figure(metrics.get(key)) for key in keys))
    told = f"Measured on {metrics.get('frames', 0)} frames of the benchmark split, which training never saw."
    return [
        "## Benchmark",
        "",
        told,
        "",
        *_table(("Class", "Objects", "AP", "AP50", "Precision", "Recall"), [every, *rows]),
    ]


def _artifacts(contract: Contract, verified: Values) -> list[str]:
    """What ships, as it was measured: the bytes that ship, not the trained model."""
    rows = []
    for name, artifact in contract.artifacts.items():
        it = verified["artifacts"].get(f"{contract.target}/{name}", {})
        verdict = (
            "verified" if it.get("verified") else f"NOT verified: {'; '.join(it.get('reasons', ['not measured']))}"
        )
        default = " (default)" if name == contract.default else ""
        figures = (_figure(it.get("AP")), _points(it.get("drop_AP")))
        rows.append((f"{name}{default}", f"{artifact.engine}, {artifact.precision}", *figures, verdict))
    header = ("Artifact", "Runs on", "AP", "AP points lost", "Verdict")
    return ["## What ships", "", "Each through the runtime, on the benchmark:", "", *_table(header, rows)]


def _conditions(preconditions: Values) -> list[str]:
    """Under which conditions recall is enough, and where that is not so or not known."""
    lines = [f"- {it['title']}: {it['words']}" for it in preconditions.get("conditions", [])]
    floor = preconditions.get("recall_floor")
    asked = "" if floor is None else f" Asked for is a recall of {floor:g} at its lower 95 % bound."
    told = f"What was measured on the benchmark; preconditions.json has the figures.{asked}"
    return ["## Conditions", "", told, "", *(lines or ["- None was measured: nothing is promised."])]


def _limits(contract: Contract) -> list[str]:
    return [
        "## Use",
        "",
        "- For assisting people who watch cameras. Not for deciding about persons, and not for identifying them.",
        "- On cameras, places and conditions that the benchmark does not show, nothing is known: measure first.",
        f"- Check every machine before use: `sightline selftest` on this bundle ({contract.target}).",
    ]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in line)} |" for line in lines]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
