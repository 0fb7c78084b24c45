"""The report's section on the detector's inside, from the figures that `explain` left."""

from pipeline.io.documents import Figures, Folder
from pipeline.io.page import Cell, Picture, Section, Table, embedded, figure, number, text

FIELDS = (
    "explain/figures/fields.png",
    "Objects of the training split by size, and as corners what each level sees of the picture",
    "Scatter of widths and heights; the table has the levels",
)
ATTENTION = (
    "explain/figures/attention.png",
    "What moves the score, red most: hits (green box), misses (red), false alarms (orange)",
    "Pictures under a map of attention; the table has the figures",
)
MAPS = (
    "explain/figures/maps.png",
    "What each level makes of some frames: mean strength of all channels, red most",
    "Pictures under the maps of each level",
)
FILTERS = ("explain/figures/filters.png", "Filters of the first convolution", "Small pictures of learned filters")


def inside(costs: Figures, it: Figures, reports: Folder) -> Section:
    """What the detector costs, what its levels see, what its filters do, and what it looks at."""
    layers = it["layers"]
    dead, filters = (sum(layer[key] for layer in layers) for key in ("dead", "filters"))
    facts = (
        ("Parameters", figure(costs["parameters"])),
        ("Multiply-adds of a picture", _large(costs["macs"])),
        ("Input", "{} x {} px".format(*it["input"])),
        ("Weights", _megabytes(costs["bytes"]["weights"])),
        (
            "Dead filters",
            f"{figure(dead)} of {figure(filters)}" if layers else "not assessed: no activation to judge by",
        ),
    )
    notes = (
        "A receptive field is what can reach a place of a map, the effective one what moves it noticeably (its side).",
        "An object larger than the effective field of a level is seen there in parts.",
        f"A dead filter is never above 0, or constant, on {figure(it['frames'])} validation frames.",
        "What moves a score is its gradient with respect to the pixels (SmoothGrad), whichever way it moves it.",
    )
    pictures = [_drawn(reports, FIELDS), _drawn(reports, MAPS)]
    pictures += [_drawn(reports, more) for more in (ATTENTION, FILTERS) if reports.holds(more[0])]
    tables = (_levels(it), _objects(it), _cost(it, costs), _files(costs), *_dead(it), *_cases(it))
    question = "What has it learned, how far does it see, and what does it look at?"
    return Section("inside", "Looking inside", question, facts, notes, tables, tuple(pictures), costs.origin)


def _levels(it: Figures) -> Table:
    rows = tuple(
        (
            text(f"stride {level['stride']}"),
            text(f"{level['width']} x {level['height']}"),
            number(level["channels"]),
            text(_field(level["field"], it["input"])),
            number(level["effective"], 0),
            _share(level.get("holds")),
        )
        for level in it["levels"]
    )
    header = ("Level", "Cells", "Channels", "Receptive field, px", "Effective, px", "Objects within it")
    return Table("Levels in which objects are looked for", header, rows, it.origin)


def _field(field: list[int], size: list[int]) -> str:
    if not any(field):
        return "not measured"
    return "whole input" if field == size else "{} x {}".format(*field)


def _objects(it: Figures) -> Table:
    rows = tuple(
        (text(name), number(of["objects"]), *(_range(of.get(side)) for side in ("width", "height")))
        for name, of in it["objects"].items()
    )
    caption = "Objects of the training split, input pixels: median (5 % to 95 %)"
    return Table(caption, ("Class", "Objects", "Width", "Height"), rows, it.origin)


def _range(sides: Figures | None) -> Cell:
    return text("-" if sides is None else f"{sides['p50']:.0f} ({sides['p5']:.0f} to {sides['p95']:.0f})")


def _cost(it: Figures, costs: Figures) -> Table:
    rows = tuple(
        (
            text(part["name"]),
            number(part["parameters"]),
            _share(part["parameters"] / costs["parameters"] if costs["parameters"] else None),
            Cell(_large(part["macs"]), "number"),
            _share(part["macs"] / costs["macs"] if costs["macs"] else None),
        )
        for part in it["parts"]
    )
    header = ("Part", "Parameters", "Share", "Multiply-adds", "Share")
    return Table("What the parts cost", header, rows, it.origin)


def _files(costs: Figures) -> Table:
    sizes = {"weights": costs["bytes"]["weights"]}
    for target, of in costs["bytes"].items():
        sizes |= {f"{target}/{name}": size for name, size in of.items()} if isinstance(of, dict) else {}
    rows = tuple((text(name), Cell(_megabytes(size), "number")) for name, size in sizes.items())
    return Table("Sizes of files", ("File", "Size"), rows, costs.origin)


def _dead(it: Figures) -> tuple[Table, ...]:
    """The layers that have dead filters; none where all live."""
    rows = tuple(
        (text(layer["name"]), number(layer["filters"]), number(layer["dead"]), _share(layer["dead"] / layer["filters"]))
        for layer in it["layers"]
        if layer["dead"]
    )
    header = ("Layer", "Filters", "Dead", "Share")
    return (Table("Layers with dead filters", header, rows, it.origin),) if rows else ()


def _cases(it: Figures) -> tuple[Table, ...]:
    rows = tuple(
        (
            text(case["kind"]),
            text(case["class"]),
            number(case.get("score")),
            *((_share(case["inside"]), _share(case["area"])) if "inside" in case else _unsaid(case["not_assessed"])),
            text(case["camera"]),
            number(case["index"]),
        )
        for case in it["cases"]
    )
    header = ("Case", "Class", "Score", "Of what moves it, in the box", "Box's share of the picture", "Camera", "Frame")
    return (Table("What moves the scores on the benchmark", header, rows, it.origin),) if rows else ()


def _unsaid(why: str) -> tuple[Cell, Cell]:
    return Cell(f"not assessed: {why}", "quiet"), number(None)


def _share(value: float | None) -> Cell:
    return Cell("-" if value is None else f"{value:.0%}", "number")


def _large(count: int) -> str:
    return f"{count / 1e9:.3g} G"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.3g} MB"


def _drawn(folder: Folder, picture: tuple[str, str, str]) -> Picture:
    file, told, alt = picture
    return Picture(told, alt, folder.name(file), uri=embedded(folder.path_of(file, "explain")), wide=True)
