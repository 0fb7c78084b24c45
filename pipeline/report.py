"""What did this iteration give, from the cameras to the verdict?

Reads what the stages before it left in --data, --models and --reports. Writes one HTML page to --out that opens from
disk, fetches nothing, and names the file that each figure comes from.
"""

from collections.abc import Mapping

from pipeline.core.params import DataParams
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.io.documents import Figures, Folder
from pipeline.io.explain_section import inside
from pipeline.io.export_section import shipped
from pipeline.io.fieldtest_section import field_headline, field_test
from pipeline.io.files import write_bytes
from pipeline.io.gate_section import conditions, headline, ledger, reasons, with_conditions
from pipeline.io.group_sections import groups, preconditions
from pipeline.io.page import Cell, Page, Section, Table, digest, figure, interval, number, render, text
from pipeline.io.purpose_section import headlines, purpose
from pipeline.io.robustness_section import robustness
from pipeline.io.sections import benchmark, calibration, drawn, errors, failures, label_issues, operating_point
from pipeline.io.select_section import selection
from pipeline.io.training_section import training
from pipeline.io.verify_section import verification

NOT_ASSESSABLE = "not assessable"
PREVIEW = "training/preview.png"


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
    tables = [counts("Boxes by class", "Class", annotate["boxes"], annotate.origin)]
    if agreement["tasks"]:
        tables.append(_agreement_table(agreement))
    if annotate["annotators"]:
        tables.append(_annotator_table(annotate["annotators"]))
    left_out = {kind: it["count"] for kind, it in annotate["left_out"].items()}
    if left_out:
        tables.append(counts("Left out, by kind", "Kind", left_out, annotate.origin))
    if annotate["mended"]:
        tables.append(counts("Mended, by kind", "Kind", annotate["mended"], annotate.origin))
    note = "Intervals of the agreement are bootstrapped over frames, at 95 %; neighbours in a video tell less."
    notes = (note,) if agreement["tasks"] else ()
    question = "What do people say is in it, and do they agree?"
    return Section("labels", "Labels", question, tuple(facts), notes, tuple(tables), source=annotate.origin)


def _agreement_table(agreement: Figures) -> Table:
    rows = tuple(
        (text(title), number(agreement[f"mean_{name}"]), _agreement_interval(agreement, name))
        for name, title in (("f1", "F1 of matching"), ("iou", "IoU of matched boxes"))
    )
    caption = f"Agreement of annotators, mean over {agreement['tasks']} frames"
    return Table(caption, ("Agreement", "Mean", "95 % interval"), rows, agreement.origin)


def _agreement_interval(agreement: Figures, name: str) -> Cell:
    it = agreement[f"interval_{name}"]
    if "not_assessable" in it:
        return Cell(f"{NOT_ASSESSABLE}: {it['not_assessable']}", "quiet")
    return interval(it["low"], agreement[f"mean_{name}"], it["high"])


def _annotator_table(annotators: Figures) -> Table:
    keys = ("tasks", "shared", "boxes", "mean_f1", "mean_iou", "disputed", "missed")
    header = ("Annotator", "Frames", "Shared", "Boxes", "F1 with others", "IoU with others", "Only theirs", "Missed")
    rows = tuple((text(name), *(number(it[key]) for key in keys)) for name, it in annotators.items())
    return Table("Annotators", header, rows, annotators.origin)


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
    pictures = (drawn(data, "augment", PREVIEW, told, told),) if data.holds(PREVIEW) else ()
    question = "Which conditions are missing, and what stands in for them?"
    return Section("augmentation", "Augmentation", question, facts, (), tuple(tables), pictures, origin)


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
    rows = tuple((text(name), digest(register[name])) for name in ("iteration", "weights", "benchmark"))
    tables = (Table("What the version is made of", ("What", "SHA-256"), rows, register.origin),)
    return Section("registry", "Registry", "Which version is the champion?", facts, notes, tables, (), register.origin)


def _champion(met: Figures | None) -> str:
    if met is None:
        return "there was none"
    return figure(met["AP"]) if met["comparable"] else "not comparable: another benchmark"


def build(data: Folder, models: Folder, reports: Folder, name: str) -> Page:
    """The page of one iteration. Raises DataError where a stage has not left what it should; names the stage."""
    gate = reports.figures("gate.json", "gate")
    register = reports.figures("register.json", "register")
    card = models.figures("train/model.json", "train")
    ingest = data.figures("frames/ingest.json", "ingest")
    metrics = reports.figures("evaluate/metrics.json", "evaluate")
    operating = reports.figures("evaluate/operating.json", "evaluate")
    conditions_found = reports.figures("evaluate/preconditions.json", "evaluate")
    scores = reports.figures("robustness/robustness.json", "robustness")
    verified = reports.figures("verify/verify.json", "verify")
    tried = reports.figures("fieldtest/fieldtest.json", "fieldtest")
    ledger_figures = reports.figures("ledger.json", "register")
    passed, conditional, verdict = headline(gate, register)
    return Page(
        title=f"{name}: {card['name']} on {', '.join(card['classes'])}",
        subtitle="One iteration of Sightline, from the cameras to the verdict",
        passed=passed,
        conditional=conditional,
        verdict=verdict,
        reasons=reasons(register),
        headlines=(*headlines(metrics, ledger_figures, scores, verified), field_headline(tried)),
        sections=(
            purpose(gate, register, card, ingest, conditions_found),
            footage(ingest),
            labels(data.figures("annotations/annotate.json", "annotate")),
            splits(data.figures("splits/split.json", "split")),
            augmentation(data.figures("training/augment.json", "augment"), data),
            training(models.figures("train/train.json", "train"), card, models.lines("train/curves.jsonl", "train")),
            benchmark(metrics, operating, reports),
            operating_point(operating),
            errors(metrics, reports),
            calibration(metrics, operating, reports),
            failures(reports),
            groups(
                reports.figures("evaluate/groups.json", "evaluate"),
                reports.figures("evaluate/comparisons.json", "evaluate"),
            ),
            robustness(scores, reports),
            inside(
                reports.figures("explain/costs.json", "explain"),
                reports.figures("explain/explain.json", "explain"),
                reports,
            ),
            shipped(models),
            verification(verified),
            field_test(tried, reports),
            with_conditions(preconditions(conditions_found), gate, register),
            conditions(gate, register),
            label_issues(reports.figures("evaluate/label_issues.json", "evaluate"), reports),
            selection(reports.figures("select/select.json", "select"), reports),
            registry(register),
            ledger(ledger_figures),
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
