"""The report's section on robustness, from the figures that the stage left."""

from pipeline.io import charts
from pipeline.io.documents import Figures, Folder
from pipeline.io.page import Cell, Chart, Media, Picture, Section, Table, embedded, figure, number, text

EXAMPLES = (
    "robustness/figures/corruptions.png",
    "One frame in every corruption at its worst severity, with the AP50 over all frames",
    "Corrupted versions of one frame",
)
PATCHES = (
    "robustness/figures/patch.png",
    "What objects wear: nothing, random noise, the adversarial patch",
    "One frame as it is, with noise on its objects, and with the adversarial patch on them",
)
WORN = {"plain": "Nothing", "noise": "Random noise", "patch": "Adversarial patch"}


def robustness(scores: Figures, reports: Folder) -> Section:
    """What is left of the detector under corruption, by corruption, and behind an adversarial patch."""
    plain, means, shares = scores["plain"], scores["mPC"], scores["rPC"]
    facts = [("Frames", figure(scores["frames"])), ("Objects in them", figure(scores["objects"]))]
    facts += [("AP on plain frames", _figure(plain.get("AP")))]
    facts += [(f"rPC, {family}", _figure(shares[family].get("AP"))) for family in means]
    notes = (
        "rPC is the mean AP over all corruptions and severities as a share of the AP on the same frames as they are.",
        "A part of the benchmark, the same number of frames from each camera where there are as many.",
        "Few objects make the figures coarse: some points between two corruptions mean nothing.",
        "Tilt and shift move the truth with the picture; objects that leave it no longer count, so AP can rise.",
        "The patch is one attack of many, by someone who has the weights; that it fails proves no safety.",
    )
    pictures: list[Media] = [_chart(scores), _drawn(reports, *EXAMPLES)]
    pictures += [_drawn(reports, *PATCHES)] if reports.holds(PATCHES[0]) else []
    tables = (*_classes(scores), _corruptions(scores), _patch(scores["patch"]))
    question = "What does it still find in bad weather, noise, dirt, other colours, or behind an attack?"
    return Section("robustness", "Robustness", question, tuple(facts), notes, tables, tuple(pictures), scores.origin)


def _chart(scores: Figures) -> Chart:
    """Mean AP by corruption, the worst first, and AP at each severity over it."""
    plain = scores["plain"].get("AP")
    ordered = _worst_first(scores)
    rows = [_row(name.replace("_", " "), it) for name, it in ordered]
    broken = "" if plain is None else f"; broken line: {plain:.3f} on plain frames"
    worst = f"{ordered[0][0].replace('_', ' ')} costs most" if ordered else "no corruption was tried"
    return Chart(
        f"AP by corruption, mean of the severities; ticks: each severity, the severest boldest{broken}",
        f"Bars of AP by corruption; {worst}. The table has the figures.",
        scores.origin,
        charts.bars(rows, "AP", asked=plain, shares=True),
    )


def _row(name: str, it: Figures) -> charts.Row:
    parts = tuple((f"severity {n}", values["AP"]) for n, values in sorted(it["severity"].items()) if "AP" in values)
    share = it["rPC"].get("AP")
    if "AP" not in it["mean"]:
        return charts.Row(name, note="not measured")
    return charts.Row(name, it["mean"]["AP"], note="" if share is None else f"{share:.0%} left", parts=parts)


def _worst_first(scores: Figures) -> list[tuple[str, Figures]]:
    return sorted(scores["corruptions"].items(), key=lambda entry: entry[1]["rPC"].get("AP", 0.0))


def _classes(scores: Figures) -> tuple[Table, ...]:
    rows = tuple(
        (text(name), text(family), *(number(values.get(key)) for key in ("AP", "AP50")), *_shares(scores, family, name))
        for family, it in scores["mPC"].items()
        for name, values in it.get("class", {}).items()
    )
    header = ("Class", "Corruptions", "mPC of AP", "mPC of AP50", "rPC of AP", "rPC of AP50")
    return (Table("Mean over corruptions and severities, by class", header, rows, scores.origin),) if rows else ()


def _shares(scores: Figures, family: str, name: str) -> tuple[Cell, Cell]:
    it = scores["rPC"][family]["class"][name]
    return number(it.get("AP")), number(it.get("AP50"))


def _corruptions(scores: Figures) -> Table:
    """Worst first."""
    corruptions = _worst_first(scores)
    severities = sorted({severity for _, it in corruptions for severity in it["severity"]})
    rows = tuple(
        (
            text(name.replace("_", " ")),
            text(it["family"]),
            number(it["rPC"].get("AP")),
            *(number(it["severity"].get(severity, {}).get("AP")) for severity in severities),
            text(", ".join(it.get("steps", ()))),
        )
        for name, it in corruptions
    )
    header = ("Corruption", "Kind", "rPC", *(f"AP at {severity}" for severity in severities), "Severities 1 to 5")
    return Table("AP by corruption and severity, the worst first", header, rows, scores.origin)


def _patch(patch: Figures) -> Table:
    if "not_assessed" in patch:
        why = text("Adversarial patch"), Cell(f"not assessed: {patch['not_assessed']}", "quiet")
        return Table("Adversarial patch", ("Attack", "Result"), (why,), patch.origin)
    groups = {"all": patch, **patch["class"]}
    rows = tuple(
        (text(worn), text(name), number(it["objects"]), number(it["hits"][way]), number(it.get(f"{way}_recall_drop")))
        for way, worn in WORN.items()
        for name, it in groups.items()
    )
    caption = f"Objects found that wear a patch of at most {patch['area']:.0%} of their box, at the operating point"
    return Table(caption, ("Worn", "Class", "Objects", "Found", "Recall lost"), rows, patch.origin)


def _figure(value: float | None) -> str:
    return "not measured" if value is None else figure(value)


def _drawn(folder: Folder, file: str, caption: str, alt: str) -> Picture:
    return Picture(caption, alt, folder.name(file), uri=embedded(folder.path_of(file, "robustness")), wide=True)
