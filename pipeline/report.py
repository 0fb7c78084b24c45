"""What did this iteration give, from the cameras to the verdict?

Reads what the stages before it left in --data, --models and --reports. Writes one HTML page to --out that opens from
disk, fetches nothing, and names the file that each figure comes from.
"""

import re
from collections.abc import Iterable, Mapping

from pipeline.core.params import DataParams
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.io.documents import Figures, Folder
from pipeline.io.files import write_bytes
from pipeline.io.page import (
    Cell,
    Page,
    Picture,
    Section,
    Table,
    embedded,
    figure,
    interval,
    line_chart,
    mark,
    number,
    render,
    text,
)

NOT_ASSESSABLE = "not assessable"
BENCHMARK_FIGURES = {
    "AP": "AP",
    "AP50": "AP50",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "mean_iou": "Mean IoU",
    "false_alarms_per_frame": "False alarms per frame",
}
BENCHMARK_PICTURES = (  # file, caption, what a person who cannot see it is told
    ("evaluate/figures/pr.png", "Precision over recall", "Precision over recall by class; AP50 is in the table"),
    ("evaluate/figures/confusion.png", "Confusion at the operating point", "Matrix of actual by predicted classes"),
    ("evaluate/figures/iou.png", "IoU of matched boxes", "Histogram of the IoU of matched boxes"),
)
GROUPS_PICTURE = (
    "evaluate/figures/groups.png",
    "Recall of every assessable group with its 95 % interval",
    "Recall by group; the tables hold the same figures",
)
PREVIEW = "training/preview.png"
GALLERY = "evaluate/figures/gallery.png"


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
        ("Of them empty", figure(frames["labelled_empty"])),
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
        "No leak was found: no two splits share a picture (by its bytes or its look), a group, or moments closer than "
        "the gap. The stage ends with an error where there is one."
    )
    table = Table("Splits", ("Split", "Frames", "Groups", "Cameras", *classes), rows, split.origin)
    question = "What may the model see, and what must it never see?"
    return Section("splits", "Splits", question, facts, (checked, *split["warnings"]), (table,), source=split.origin)


def augmentation(augment: Figures, data: Folder) -> Section:
    """What was added to the training frames, and how it looks."""
    facts = (
        ("Policy", str(augment["policy"])),
        ("Training frames", figure(augment["frames"])),
        ("Training pictures", figure(augment["pictures"])),
        ("Ignore regions", figure(augment["ignore_regions"])),
    )
    origin = augment.origin
    tables = [counts("Boxes to learn from, by class", "Class", augment["boxes"], origin)]
    if augment["operations"]:
        tables.append(counts("Pictures by operation", "Operation", augment["operations"], origin))
    lost = {f"{why.replace('_', ' ')} to be taught": count for why, count in augment["made_ignore"].items()}
    tables.append(counts("Boxes that became ignore regions", "Reason", lost, origin))
    told = "Training pictures as the model sees them, each original followed by its augmented versions"
    pictures = (_drawn(data, "augment", PREVIEW, told, told),) if data.holds(PREVIEW) else ()
    question = "Which conditions are missing, and what stands in for them?"
    return Section("augmentation", "Augmentation", question, facts, (), tuple(tables), pictures, origin)


def training(train: Figures, card: Figures, curves: list[Figures]) -> Section:
    """What was trained, and how it went."""
    origin = curves[0].origin if curves else train.origin
    facts = (
        ("Model", str(card["name"])),
        ("Input", f"{card['width']} x {card['height']} px"),
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
    pictures = tuple(
        _chart(name, title, keys, curves, origin)
        for name, title, keys in charts
        if any(key in row for key in keys for row in curves)
    )
    return Section("training", "Training", "How did it learn?", facts, pictures=pictures, source=train.origin)


def _chart(name: str, title: str, keys: Iterable[str], curves: list[Figures], origin: str) -> Picture:
    lines = {key: [(row["epoch"], row[key]) for row in curves if key in row] for key in keys}
    drawn = {key: points for key, points in lines.items() if points}
    ends = "; ".join(f"{key} from {points[0][1]:.3g} to {points[-1][1]:.3g}" for key, points in drawn.items())
    return Picture(f"{title} by epoch", f"{title}: {ends}", origin, svg=line_chart(name, drawn, "epoch", title.lower()))


def benchmark(metrics: Figures, operating: Figures, pictures: tuple[Picture, ...]) -> Section:
    """Figures on the benchmark split, overall and by class."""
    facts = [(title, figure(metrics[name])) for name, title in BENCHMARK_FIGURES.items() if name in metrics]
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
        f"Measured on {figure(metrics['frames'])} frames of the benchmark split, which training never saw.",
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
    independent = (
        "Intervals of the recall are Wilson's, at 95 %. They take objects as independent, which those in neighbouring "
        "frames of a video are not: the truth is less certain than they say."
    )
    told = f"{len(cells)} groups, {short} of them not assessable: too few objects for a figure that means something."
    return Section(
        "groups", "Groups", "For whom, where and when is it good?", (), (told, independent), tables, (picture,)
    )


def _group_table(attribute: str, values: Figures, origin: str) -> Table:
    header = ("Value", "Objects", "Recall", "95 % interval", "Precision", "AP50", "Mean IoU", "False alarms")
    ordered = sorted(values.items(), key=lambda entry: _natural(entry[0]))
    rows = tuple((text(value), number(it["objects"]), *_group_cells(it)) for value, it in ordered)
    return Table(f"By {attribute}", header, rows, origin)


def _natural(name: str) -> list[str | int]:
    """A key that puts `48-96 px` before `192-384 px`."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _group_cells(it: Figures) -> tuple[Cell, ...]:
    if it["verdict"] == NOT_ASSESSABLE:
        why = Cell(f"{NOT_ASSESSABLE}: fewer than {it['needed']} objects", "quiet")
        return (number(None), why, *(number(None) for _ in range(4)))
    return (
        number(it["recall"]),
        interval(it["recall_low"], it["recall"], it["recall_high"]),
        *(number(it.get(key)) for key in ("precision", "AP50", "mean_iou", "false_alarms")),
    )


def failures(reports: Folder) -> Section:
    """The worst frames of the benchmark; a benchmark without an error has none."""
    question = "Where does it fail?"
    if not reports.holds(GALLERY):
        return Section("failures", "Failures", question, notes=("No miss and no false alarm on the benchmark.",))
    told = "Worst frames of the benchmark: hits green, misses red, false alarms orange, ignore regions grey"
    return Section("failures", "Failures", question, pictures=(_drawn(reports, "evaluate", GALLERY, told, told),))


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
            number(run["boxes"]),
            number(run["scores"]),
            mark(run["reason"] or "equal", good=run["passed"]),
        )
        for run in parity["runs"]
    )
    files = tuple((text(name), text(digest)) for name, digest in contract["files"].items())
    made = {"weights": contract["weights"], "training data": contract["training_data"], **contract["producers"]}
    origins = tuple((text(name), text(value)) for name, value in made.items())
    tables = (
        Table(
            f"Parity with PyTorch (tolerance {parity['rtol']:g} relative, {parity['atol']:g} absolute)",
            ("File", "Batch", "Boxes differ by, px", "Scores differ by", "Detections"),
            runs,
            parity.origin,
        ),
        Table("Files that ship", ("File", "SHA-256"), files, contract.origin),
        Table("Where they come from", ("What", "Hash or version"), origins, contract.origin),
    )
    return Section("export", "Export", "What ships?", facts, tables=tables, source=contract.origin)


def registry(register: Figures) -> Section:
    """What the registry decided, and where to look."""
    met = register["met"]
    facts = (
        ("Registered model", str(register["model"])),
        ("Alias", "champion and challenger" if register["champion"] else "challenger"),
        ("AP", "not measured" if register["AP"] is None else figure(register["AP"])),
        ("AP of the champion it met", _champion(met)),
    )
    notes = (
        f"Why: {register['reason']}.",
        "MLflow holds the run with its parameters, figures and lineage, and the model version; see them with: make ui",
    )
    rows = tuple((text(name), text(register[name])) for name in ("iteration", "weights", "benchmark"))
    tables = (Table("What the version is made of", ("What", "SHA-256"), rows, register.origin),)
    return Section("registry", "Registry", "Which version is the champion?", facts, notes, tables, (), register.origin)


def _champion(met: Figures | None) -> str:
    if met is None:
        return "there was none"
    return figure(met["AP"]) if met["comparable"] else "not comparable: another benchmark"


def _verdict(gate: Figures) -> tuple[bool, str]:
    passed = gate["verdict"] == "promote"
    lines = gate["lines"]
    held = sum(line["passed"] for line in lines)
    told = "May be promoted" if passed else "May not be promoted"
    return passed, f"{told}: {held} of {len(lines)} conditions hold"


def _drawn(folder: Folder, stage: str, file: str, caption: str, alt: str) -> Picture:
    return Picture(caption, alt, folder.name(file), uri=embedded(folder.path_of(file, stage)))


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
            augmentation(data.figures("training/augment.json", "augment"), data),
            training(models.figures("train/train.json", "train"), card, models.lines("train/curves.jsonl", "train")),
            benchmark(
                reports.figures("evaluate/metrics.json", "evaluate"),
                reports.figures("evaluate/operating.json", "evaluate"),
                tuple(_drawn(reports, "evaluate", *it) for it in BENCHMARK_PICTURES),
            ),
            groups(reports.figures("evaluate/groups.json", "evaluate"), _drawn(reports, "evaluate", *GROUPS_PICTURE)),
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
