"""Sections of the report: what evaluation found, from the figures that it left."""

from collections.abc import Iterable, Mapping, Sequence

from pipeline.io import charts
from pipeline.io.documents import Figures, Folder
from pipeline.io.page import Cell, Chart, Picture, Section, Table, embedded, figure, number, text

BENCHMARK_FIGURES = {
    "AP": "AP",
    "AP50": "AP50",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "mean_iou": "Mean IoU",
    "false_alarms_per_frame": "False alarms per frame",
}
CURVES, IOUS = "evaluate/pr.csv", "evaluate/iou.csv"
CONFUSION = (  # file, caption, what a person who cannot see it is told
    "evaluate/figures/confusion.png",
    "Confusion at the operating point",
    "Matrix of actual by predicted classes",
)
ERRORS = {  # of TIDE -> what it is
    "classification": "on an object of another class",
    "localisation": "of the right class, its box too poor for a hit",
    "both": "box too poor, on an object of another class",
    "duplicate": "a second detection of an object",
    "background": "on no object",
    "missed": "object that nothing comes near",
    "false_positive": "every false alarm, left out",
    "false_negative": "every object not found, no longer asked for",
}
ALARMS_PICTURE = (
    "evaluate/figures/false_alarms.png",
    "Where in the picture false alarms are, by camera, over the frame with most of them",
    "Maps of false alarms by camera",
)
CALIBRATION_PICTURE = (
    "evaluate/figures/reliability.png",
    "What scores mean, before and after calibration; on the broken line they mean what they say",
    "Mean IoU over score by class; the table has the errors",
)
GALLERY = "evaluate/figures/gallery.png"
ISSUES_PICTURE = (
    "evaluate/figures/label_issues.png",
    "The most suspect labels: people's box blue, the model's orange",
    "Pictures of the most suspect labels; the table names them",
)
ISSUES_SHOWN = 20


def benchmark(metrics: Figures, operating: Figures, reports: Folder) -> Section:
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
    curves = reports.table(CURVES, "evaluate", ("recall", "precision", "class"))
    bins = reports.table(IOUS, "evaluate", ("iou", "objects"))
    pictures = (
        _precision_recall(curves, metrics, reports.name(CURVES)),
        _ious(bins, metrics.get("mean_iou"), reports.name(IOUS)),
        drawn(reports, "evaluate", *CONFUSION),
    )
    return Section(
        "benchmark", "Benchmark", "How good is it?", tuple(facts), notes, (table,), pictures, source=metrics.origin
    )


def _precision_recall(rows: Iterable[Mapping[str, str]], metrics: Figures, origin: str) -> Chart:
    """Precision over recall at IoU 0.5, with the operating point of each class."""
    series: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        series.setdefault(row["class"], []).append((float(row["recall"]), float(row["precision"])))
    of = {name: it for name, it in metrics["class"].items() if "recall" in it and "precision" in it and name in series}
    points = {name: (it["recall"], it["precision"]) for name, it in of.items()}
    told = "; ".join(f"{name}: AP50 {it['AP50']:.3f}" for name, it in of.items() if "AP50" in it)
    return Chart(
        "Precision over recall at IoU 0.5; the dots are the operating points",
        f"Precision over recall by class. {told}",
        f"{origin}, {metrics.origin}",
        charts.lines(series, "recall", "precision", shares=True, marked=points),
        tuple(series),
    )


def _ious(rows: Sequence[Mapping[str, str]], mean: float | None, origin: str) -> Chart:
    """How well matched boxes fit."""
    starts = [float(row["iou"]) for row in rows]
    ends = [*starts, 1.0][1:]
    bins = [(low, high, float(row["objects"])) for low, high, row in zip(starts, ends, rows, strict=True)]
    told = "no box was matched" if mean is None else f"mean {mean:.3f}"
    return Chart(
        f"IoU of matched boxes at the operating point; {told}",
        f"Histogram of the IoU of matched boxes: {told}",
        origin,
        charts.histogram(bins, "IoU with the annotated box", "Objects", mean=mean),
        values=Table("Matched boxes by IoU", ("IoU from", "Objects"), tuple(_bin(row) for row in rows), origin),
    )


def _bin(row: Mapping[str, str]) -> tuple[Cell, Cell]:
    return text(row["iou"]), number(int(row["objects"]))


def operating_point(operating: Figures) -> Section:
    """The threshold of each class, with what it was chosen on and what it gave there."""
    chosen = operating["chosen_on"]
    keys = (
        "objects",
        "recall",
        "precision",
        "f_beta",
        "false_alarms",
        "false_alarms_per_frame",
        "false_alarms_per_hour",
    )
    rows = tuple(
        (
            text(name),
            number(operating["threshold"][name]),
            *(number(it.get(key)) for key in keys),
            text(it.get("reason", "")),
        )
        for name, it in chosen["class"].items()
    )
    beta = chosen["rule"]["beta"]
    header = (
        *("Class", "Threshold", "Objects", "Recall", "Precision", f"F{beta:g}"),
        *("False alarms", "a frame", "an hour", "Remark"),
    )
    hours = chosen["hours"]
    facts = (
        ("Rule", _rule(chosen["rule"])),
        ("Frames", figure(chosen["frames"])),
        ("Minutes of footage", "frames have no times" if hours is None else figure(60 * hours, 1)),
    )
    notes = (
        "Chosen on the validation split, so its figures flatter; the benchmark says what the thresholds give.",
        "An hour is one at the rate at which frames were taken; a false alarm counts in every frame that shows it.",
    )
    table = Table("Thresholds, and what each gives on the validation split", header, rows, operating.origin)
    question = "From which score on is a detection reported?"
    return Section("operating-point", "Operating point", question, facts, notes, (table,), source=operating.origin)


def _rule(rule: Figures) -> str:
    if rule["rule"] == "f_beta":
        return f"highest F{rule['beta']:g}"
    return f"at most {rule['budget']:g} {rule['rule'].replace('_', ' ')} and class"


def errors(metrics: Figures, reports: Folder) -> Section:
    """What goes wrong, what it costs, and where false alarms are."""
    pictures = (_costs(metrics["tide"]), drawn(reports, "evaluate", *ALARMS_PICTURE, wide=True))
    tables = (_tide_table(metrics["tide"]), _cause_table(metrics["false_alarms_by_cause"]))
    notes = (
        "Costs are TIDE's dAP at IoU 0.5, over all scores: the AP50 to be gained by mending that error alone.",
        "Errors hide one another, so their costs do not add up.",
    )
    return Section("errors", "Errors", "What goes wrong, and what does it cost?", (), notes, tables, pictures)


def _costs(tide: Figures) -> Chart:
    """What each error costs; the table beside it has the figures."""
    counts, gains = tide["count"], tide.get("dAP", {})
    names = {name: name.replace("_", " ") for name in ERRORS}
    rows = [
        charts.Row(names[name], gains[name], note=f"{counts[name]} times" if name in counts else "all of them")
        if name in gains
        else charts.Row(names[name], note="not measured")
        for name in ERRORS
    ]
    worst = max(counts, key=lambda name: gains.get(name, 0.0), default="")
    told = f"{names.get(worst, worst)} costs most: {gains[worst]:.3f}" if worst in gains else "nothing was measured"
    return Chart(
        "What the errors cost, and how often they are made",
        f"AP50 to be gained by mending each error; {told}",
        tide.origin,
        charts.bars(rows, "AP50 to be gained"),
    )


def calibration(metrics: Figures, operating: Figures, reports: Folder) -> Section:
    """What scores are worth, before and after calibration."""
    keys = ("LaECE0_before", "LaECE0_after", "LaECE_before", "LaECE_after")
    fitted, by_class = operating["calibration"], metrics["calibration"]["class"]
    rows = tuple(
        (
            text(name),
            number(it["detections"]),
            *(_error(it.get(key)) for key in keys),
            number(fitted[name]["objects"]),
            text(fitted[name].get("reason", "")),
        )
        for name, it in by_class.items()
    )
    header = ("Class", "Detections", "LaECE0 before", "after", "LaECE before", "after", "Fitted on objects", "Remark")
    table = Table("Calibration of scores at the operating point", header, rows, metrics.origin)
    notes = (
        "LaECE is how far scores are from what they should be: the IoU with the object found, 0 for a false alarm.",
        "For LaECE an object is found from the IoU of a hit on, for LaECE0 by any overlap.",
        "Calibration was fitted on the validation split; the exported model reports a calibrated score as confidence.",
    )
    picture = drawn(reports, "evaluate", *CALIBRATION_PICTURE)
    return Section("calibration", "Calibration", "What does a score mean?", (), notes, (table,), (picture,))


def _tide_table(tide: Figures) -> Table:
    gains = tide.get("dAP", {})
    rows = tuple(
        (text(name.replace("_", " ")), number(tide["count"].get(name)), number(gains.get(name)), text(words))
        for name, words in ERRORS.items()
    )
    return Table("Errors and their cost", ("Error", "Count", "AP50 to be gained", "What it is"), rows, tide.origin)


def _cause_table(causes: Figures) -> Table:
    by_class = causes["class"]
    names = [name for name in causes if name != "class"]
    rows = tuple(
        (text(name.replace("_", " ")), number(causes[name]), *(number(it[name]) for it in by_class.values()))
        for name in names
    )
    caption = "False alarms at the operating point, by what caused them"
    return Table(caption, ("Cause", "All", *by_class), rows, causes.origin)


def _error(value: float | None) -> Cell:
    return Cell("not assessable", "quiet") if value is None else number(value)


def failures(reports: Folder) -> Section:
    """The worst frames of the benchmark; a benchmark without an error has none."""
    question = "Where does it fail?"
    if not reports.holds(GALLERY):
        return Section("failures", "Failures", question, notes=("No miss and no false alarm on the benchmark.",))
    told = "Worst frames of the benchmark: hits green, misses red, false alarms orange, ignore regions grey"
    return Section("failures", "Failures", question, pictures=(drawn(reports, "evaluate", GALLERY, told, told),))


def label_issues(issues: Figures, reports: Folder) -> Section:
    """Where the model and people disagree: how often, the worst to see, and the worst to look up."""
    title, question = "Labels to look at again", "Where do the model and people disagree?"
    frames = ", ".join(f"{figure(count)} of the {split} split" for split, count in issues["frames"].items())
    kinds = ((kind.replace("_", " ").capitalize(), figure(count)) for kind, count in issues["counts"].items())
    facts = (("Objects that people drew", figure(issues["objects"])), *kinds)
    notes = (
        f"Looked at: {frames}. The model has learned from none of them.",
        "A disagreement is no proof: the model errs as well. The suspicion ranks; it is no probability.",
        "Correcting only what the model disputes brings labels nearer to the model: look at others too, by chance.",
    )
    rows = tuple(_issue_cells(it) for it in issues["issues"][:ISSUES_SHOWN])
    if not rows:
        return Section("label-issues", title, question, facts, notes[:1], source=issues.origin)
    header = ("Issue", "Suspicion", "People say", "Model says", "Score", "IoU", "Camera", "Clip", "Index", "Split")
    table = Table(f"The first {len(rows)} of the list", header, rows, issues.origin)
    picture = drawn(reports, "evaluate", *ISSUES_PICTURE)
    return Section("label-issues", title, question, facts, notes, (table,), (picture,), issues.origin)


def _issue_cells(it: Figures) -> tuple[Cell, ...]:
    says = text(it["human"]["label"] if it["human"] else "-"), text(it["label"])
    place = text(it["camera"]), text(it["clip"]), number(it["index"]), text(it["split"])
    kind = text(it["kind"].replace("_", " "))
    return (kind, number(it["suspicion"]), *says, number(it["score"]), number(it["iou"]), *place)


def drawn(folder: Folder, stage: str, file: str, caption: str, alt: str, *, wide: bool = False) -> Picture:
    """A picture that a stage left. Raises DataError where it is missing; names the stage."""
    return Picture(caption, alt, folder.name(file), uri=embedded(folder.path_of(file, stage)), wide=wide)
