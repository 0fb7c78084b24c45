"""What did this iteration give, from the cameras to the verdict?

Reads what the stages before it left in --data, --models and --reports. Writes one HTML page to --out that opens from
disk, fetches nothing, and names the file that each figure comes from.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import DataError
from pipeline.core.params import DataParams
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.io.files import read_json, write_bytes
from pipeline.io.page import (
    Cell,
    Page,
    Picture,
    Section,
    Table,
    figure,
    interval,
    line_chart,
    mark,
    number,
    png,
    render,
    text,
)

NOT_ASSESSABLE = "not assessable"
BENCHMARK_FIGURES = ("AP", "AP50", "precision", "recall", "f1", "mean_iou", "false_alarms_per_frame")
SPLITS = ("train", "val", "benchmark", "gap")
REGISTRY_UI = "make ui"  # opens MLflow's pages on the local store


class Figures(dict[str, Any]):
    """A JSON object that names its file, and the stage to run, where a key is missing."""

    def __init__(self, values: Mapping[str, Any], origin: str, stage: str) -> None:
        super().__init__({key: _named(value, origin, stage) for key, value in values.items()})
        self.origin = origin
        self.stage = stage

    def __missing__(self, key: str) -> Any:
        raise DataError(f"{self.origin} has no {key!r}; another version wrote it; run: dvc repro -f {self.stage}")


def _named(value: Any, origin: str, stage: str) -> Any:
    if isinstance(value, dict):
        return Figures(value, origin, stage)
    return [_named(item, origin, stage) for item in value] if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder that stages write into; files are named by its last part, whatever lies above it."""

    path: Path

    def name(self, file: str) -> str:
        """How the page names a file."""
        return f"{self.path.name}/{file}"

    def figures(self, file: str, stage: str) -> Figures:
        """A JSON object. Raises DataError where the file is missing or holds something else; names the stage."""
        path = self._there(file, stage)
        value = read_json(path)
        if not isinstance(value, dict):
            raise DataError(f"{path} holds no object; run: dvc repro -f {stage}")
        return Figures(value, self.name(file), stage)

    def lines(self, file: str, stage: str) -> list[Figures]:
        """Objects of a JSON lines file. Raises DataError as `figures`."""
        path = self._there(file, stage)
        try:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except ValueError as error:
            raise DataError(f"{path} is not JSON lines: {error}; run: dvc repro -f {stage}") from None
        return [Figures(row, self.name(file), stage) for row in rows]

    def picture(self, file: str, stage: str, *, caption: str, alt: str) -> Picture:
        """A PNG. Raises DataError as `figures`."""
        return Picture(caption, alt, self.name(file), uri=png(self._there(file, stage)))

    def _there(self, file: str, stage: str) -> Path:
        path = self.path / file
        if not path.is_file():
            raise DataError(f"{path} does not exist; run: dvc repro {stage}")
        return path


def conditions(gate: Figures) -> Section:
    """Every limit with its figure."""
    rows = tuple(
        (
            text(line["metric"]),
            text(_bounds(line["min"], line["max"])),
            number(line["figure"]),
            mark("holds" if line["passed"] else line["reason"], good=line["passed"]),
        )
        for line in gate["lines"]
    )
    table = Table("Limits of the gate", ("Condition", "Asked", "Measured", "Result"), rows, gate.origin)
    return Section("conditions", "Conditions", "May it be promoted?", tables=(table,))


def _bounds(low: float | None, high: float | None) -> str:
    asked = [f"{word} {bound:g}" for word, bound in (("at least", low), ("at most", high)) if bound is not None]
    return " and ".join(asked) or "the exported model gives what the trained one gives"


def footage(ingest: Figures) -> Section:
    """Cameras, frames, quarantine, quality."""
    facts = (
        ("Cameras", figure(len(ingest["cameras"]))),
        ("Frames", figure(ingest["frames"])),
        ("Usable", figure(ingest["usable"])),
        ("Quarantined", figure(ingest["frames"] - ingest["usable"])),
    )
    cameras = tuple(
        (
            text(camera),
            number(it["frames"]),
            number(it["usable"]),
            number(it["clips"]),
            text(", ".join(it["sizes"])),
            *(number(it[name], 1) for name in ("luminance", "contrast", "sharpness")),
            *(number(it[name]) for name in ("under_exposed", "over_exposed")),
        )
        for camera, it in ingest["cameras"].items()
    )
    header = (
        "Camera",
        "Frames",
        "Usable",
        "Clips",
        "Size",
        "Luminance",
        "Contrast",
        "Sharpness",
        "Too dark",
        "Too bright",
    )
    tables = [Table("Frames and picture quality by camera (means)", header, cameras, ingest.origin)]
    if ingest["quarantined"]:
        tables.append(counts("Quarantined frames by reason", "Reason", ingest["quarantined"], ingest.origin))
    question = "What was collected, and is it usable?"
    return Section("data", "Data", question, facts, tables=tuple(tables), source=ingest.origin)


def counts(caption: str, what: str, numbers: Mapping[str, int], origin: str) -> Table:
    """A table of counts."""
    rows = tuple((text(name), number(count)) for name, count in numbers.items())
    return Table(caption, (what, "Count"), rows, origin)


def labels(annotate: Figures) -> Section:
    """Boxes by class, agreement, what was left out."""
    frames, agreement = annotate["frames"], annotate["agreement"]
    facts = [
        ("Frames labelled", figure(frames["labelled"])),
        ("of them empty", figure(frames["labelled_empty"])),
        ("Ignore regions", figure(annotate["ignore_regions"])),
        ("Frames with several annotators", figure(agreement["tasks"])),
    ]
    agreed = (("Agreement, mean IoU", agreement["mean_iou"]), ("Agreement, mean F1", agreement["mean_f1"]))
    facts += [(name, figure(value)) for name, value in agreed if value is not None]
    tables = [counts("Boxes by class", "Class", annotate["boxes"], annotate.origin)]
    left_out = {kind: it["count"] for kind, it in annotate["left_out"].items()}
    if left_out:
        tables.append(counts("Left out, by kind", "Kind", left_out, annotate.origin))
    question = "What do people say is in it, and do they agree?"
    return Section("labels", "Labels", question, tuple(facts), tables=tuple(tables), source=annotate.origin)


def splits(split: Figures) -> Section:
    """Frames and objects of each split, and what is known of leakage."""
    parts = split["splits"]
    classes = list(next(iter(parts.values()))["objects"])
    rows = tuple(
        (
            text(name),
            number(it["frames"]),
            number(it["groups"]),
            number(len(it["cameras"])),
            *(number(it["objects"][label]) for label in classes),
        )
        for name, it in parts.items()
    )
    facts = (
        ("Split by", str(split["by"]).replace("_", " ")),
        ("Frames labelled and usable", figure(split["labelled"])),
        ("Left out between splits", figure(split["left_out_in_gaps"])),
    )
    checked = (
        "No leak: no two splits share a picture (same bytes, or the same look), a group, or moments closer than the gap. "
        "The stage ends with an error where they do."
    )
    table = Table("Splits", ("Split", "Frames", "Groups", "Cameras", *classes), rows, split.origin)
    question = "What may the model see, and what must it never see?"
    return Section("splits", "Splits", question, facts, (checked, *split["warnings"]), (table,), source=split.origin)


def training(train: Figures, card: Figures, curves: list[Figures]) -> Section:
    """What was trained, and how it went."""
    origin = curves[0].origin if curves else train.origin
    facts = (
        ("Model", f"{card['name']}, {card['width']} x {card['height']} px"),
        ("Parameters", figure(train["parameters"])),
        ("Epochs", figure(train["epochs"])),
        ("Best epoch", figure(train["best_epoch"])),
        ("Validation AP there", figure(train["best_val_AP"])),
    )
    charts = (
        ("loss", "Loss", [key for row in curves[:1] for key in row if key == "loss" or key.startswith("loss/")]),
        ("validation", "Validation", ["val/AP", "val/AP50"]),
        ("rate", "Learning rate", ["lr"]),
    )
    pictures = tuple(_chart(name, title, keys, curves, origin) for name, title, keys in charts)
    return Section("training", "Training", "How did it learn?", facts, pictures=pictures, source=train.origin)


def _chart(name: str, title: str, keys: Iterable[str], curves: list[Figures], origin: str) -> Picture:
    lines = {key: [(row["epoch"], row[key]) for row in curves if key in row] for key in keys}
    drawn = {key: points for key, points in lines.items() if points}
    ends = "; ".join(f"{key} from {points[0][1]:.3g} to {points[-1][1]:.3g}" for key, points in drawn.items())
    return Picture(f"{title} by epoch", f"{title}: {ends}", origin, svg=line_chart(name, drawn, "epoch", title.lower()))


def benchmark(metrics: Figures, operating: Figures, pictures: tuple[Picture, ...]) -> Section:
    """Figures on the benchmark split, overall and by class."""
    facts = [(name.replace("_", " "), figure(metrics[name])) for name in BENCHMARK_FIGURES if name in metrics]
    rows = tuple(
        (
            text(name),
            number(it.get("objects")),
            *(number(it.get(key)) for key in ("AP", "AP50", "precision", "recall", "f1", "mean_iou")),
            number(operating["threshold"].get(name)),
        )
        for name, it in metrics["class"].items()
    )
    header = ("Class", "Objects", "AP", "AP50", "Precision", "Recall", "F1", "Mean IoU", "Threshold")
    table = Table("Benchmark by class, at the operating point", header, rows, metrics.origin)
    notes = (
        f"Measured on {figure(metrics['frames'])} frames of the benchmark split, which training never saw. "
        f"Thresholds were chosen on the validation split ({operating.origin}).",
    )
    return Section(
        "benchmark", "Benchmark", "How good is it?", tuple(facts), notes, (table,), pictures, source=metrics.origin
    )


def groups(figures: Figures, picture: Picture) -> Section:
    """One table an attribute, with the groups that cannot be assessed."""
    tables = tuple(_group_table(name, values, figures.origin) for name, values in figures.items())
    cells = [it for values in figures.values() for it in values.values()]
    short = sum(it["verdict"] == NOT_ASSESSABLE for it in cells)
    notes = (
        f"{len(cells)} groups, {short} of them not assessable: too few objects for a figure that means something.",
        "Intervals are 95 % Wilson intervals of the recall. They take objects as independent, which neighbouring frames "
        "of a video are not: the truth is less certain than they say.",
    )
    return Section("groups", "Groups", "For whom, where and when is it good?", (), notes, tables, (picture,))


def _group_table(attribute: str, values: Figures, origin: str) -> Table:
    header = ("Value", "Objects", "Recall", "95 % interval", "Precision", "AP50", "Mean IoU", "False alarms")
    rows = tuple((text(value), number(it["objects"]), *_group_cells(it)) for value, it in values.items())
    return Table(f"By {attribute}", header, rows, origin)


def _group_cells(it: Figures) -> tuple[Cell, ...]:
    if it["verdict"] == NOT_ASSESSABLE:
        why = Cell(f"{NOT_ASSESSABLE}: fewer than {it['needed']} objects", "quiet")
        return (number(None), why, *(number(None) for _ in range(4)))
    return (
        number(it["recall"]),
        interval(it["recall_low"], it["recall"], it["recall_high"]),
        *(number(it.get(key)) for key in ("precision", "AP50", "mean_iou", "false_alarms")),
    )


def shipped(contract: Figures, parity: Figures) -> Section:
    """The exported files, and whether they give what the trained model gives."""
    it = contract["input"]
    facts = (
        ("Model", f"{contract['model']}, ONNX opset {contract['opset']}"),
        ("Input", f"{it['dtype']} {it['color']}, {it['width']} x {it['height']} px"),
        ("Parity", "holds" if parity["passed"] else "FAILED"),
        ("Frames compared", figure(parity["frames"])),
    )
    runs = tuple(
        (
            text(run["file"]),
            number(run["batch"]),
            number(run["boxes"], 6),
            number(run["scores"], 6),
            mark(run["reason"] or "equal", good=run["passed"]),
        )
        for run in parity["runs"]
    )
    files = tuple((text(name), text(digest)) for name, digest in contract["files"].items())
    made = [("weights", contract["weights"]), ("training data", contract["training_data"]), *contract["producers"].items()]
    tables = (
        Table(
            f"Parity with PyTorch (tolerance {parity['rtol']:g} relative, {parity['atol']:g} absolute)",
            ("File", "Batch", "Boxes differ by, px", "Scores differ by", "Detections"),
            runs,
            parity.origin,
        ),
        Table("Files that ship", ("File", "SHA-256"), files, contract.origin),
        Table("Where they come from", ("What", "Hash or version"), tuple((text(k), text(v)) for k, v in made), contract.origin),
    )
    return Section("export", "Export", "What ships?", facts, tables=tables, source=contract.origin)


def _verdict(gate: Figures) -> tuple[bool, str]:
    passed = gate["verdict"] == "promote"
    lines = gate["lines"]
    held = sum(line["passed"] for line in lines)
    told = "May be promoted" if passed else "May not be promoted"
    return passed, f"{told}: {held} of {len(lines)} conditions hold"


def build(data: Folder, models: Folder, reports: Folder, name: str) -> Page:
    """The page of one iteration. Raises DataError where a stage has not left what it should; names the stage."""
    gate = reports.figures("gate.json", "gate")
    card = models.figures("train/model.json", "train")
    passed, verdict = _verdict(gate)
    return Page(
        title=f"{name}: {card['name']} on {', '.join(card['classes'])}",
        subtitle="One iteration of Sightline, from the cameras to the verdict",
        passed=passed,
        verdict=verdict,
        reasons=tuple(gate["reasons"]),
        sections=(
            conditions(gate),
            footage(data.figures("frames/ingest.json", "ingest")),
            labels(data.figures("annotations/annotate.json", "annotate")),
            splits(data.figures("splits/split.json", "split")),
            augmentation(data.figures("training/augment.json", "augment"), _preview(data)),
            training(
                models.figures("train/train.json", "train"), card, models.lines("train/curves.jsonl", "train")
            ),
            benchmark(
                reports.figures("evaluate/metrics.json", "evaluate"),
                reports.figures("evaluate/operating.json", "evaluate"),
                tuple(_drawn(reports, *it) for it in BENCHMARK_PICTURES),
            ),
            groups(reports.figures("evaluate/groups.json", "evaluate"), _drawn(reports, *GROUPS_PICTURE)),
            failures(reports),
            shipped(models.figures("export/contract.json", "export"), models.figures("export/parity.json", "export")),
            registry(reports.figures("register.json", "register")),
        ),
    )


def main(argv: list[str] | None = None) -> None:
    """Run the stage."""
    args = stage_arguments(__doc__, "data", "models", "reports", "out").parse_args(argv)
    page = build(Folder(args.data), Folder(args.models), Folder(args.reports), DataParams.load("data").name)
    write_bytes(args.out, render(page))
    summary("report", f"{page.verdict}; open {args.out}")


if __name__ == "__main__":
    run(main)
