"""The report's section on what ships: the exported files, their parity with the trained model, and their price."""

from collections.abc import Mapping

from pipeline.io.documents import Figures, Folder
from pipeline.io.page import Section, Table, digest, figure, mark, number, text

LAYERS = 3  # named of those that suffer most from fewer bits


def shipped(models: Folder) -> Section:
    """The exported files of every target, whether they give what the trained model gives, and what integers cost."""
    parity, export = models.figures("export/parity.json", "export"), models.figures("export/export.json", "export")
    contracts = {name: models.figures(f"export/{name}/contract.json", "export") for name in export["targets"]}
    first = next(iter(contracts.values()))
    it = first["input"]
    facts = (
        ("Model", f"{first['model']}, ONNX opset {first['opset']}"),
        ("Input", f"{it['dtype']} {it['color']}, {it['width']} x {it['height']} px"),
        ("Parity", "holds" if parity["passed"] else "FAILED"),
        ("Frames compared", figure(parity["frames"])),
        ("Frames that integers are calibrated on", figure(export["calibration"]["frames"])),
    )
    runs = tuple(
        (
            text(f"{run['target']}/{run['artifact']}"),
            number(run["batch"]),
            number(run["boxes"]),
            number(run["scores"]),
            mark(run["reason"] or "equal", good=run["passed"]),
        )
        for run in parity["runs"]
    )
    files = tuple(
        (text(f"{target}/{name}"), text(file), digest(value))
        for target, contract in contracts.items()
        for name, artifact in contract["artifacts"].items()
        for file, value in artifact["files"].items()
    )
    made = {"weights": first["weights"], "training data": first["training_data"]}
    for contract in contracts.values():
        made |= contract["producers"]
    origins = tuple((text(name), digest(value)) for name, value in made.items())
    tables = (
        Table(
            f"Parity with PyTorch (tolerance {parity['rtol']:g} relative, {parity['atol']:g} absolute)",
            ("Artifact", "Batch", "Boxes differ by, px", "Scores differ by", "Detections"),
            runs,
            parity.origin,
        ),
        _fewer_bits(export),
        Table("Files that ship", ("Artifact", "File", "SHA-256"), files, first.origin),
        Table("Where they come from", ("What", "Hash or version"), origins, first.origin),
    )
    return Section("export", "Export", "What ships?", facts, tables=tables, source=export.origin)


def _fewer_bits(export: Figures) -> Table:
    """What each artifact of fewer bits costs on the validation frames, and which layers pay."""
    made = {f"{target}/{name}": it for target, of in export["targets"].items() for name, it in of["fewer_bits"].items()}
    rows = tuple(
        (
            text(name),
            number(it["float_AP"]),
            number(it["AP"]),
            text(", ".join(it["kept_in_float"]) or "none"),
            text(", ".join(_worst(it.get("damage", {}))) or "-"),
            text(", ".join(f"{n}: {lost:+.2f}" for n, lost in it.get("drop_by_calibration_frames", {}).items()) or "-"),
        )
        for name, it in made.items()
    )
    layers = ("Layers kept in float", "Layers that move it most")
    header = ("Artifact", "AP in float", "AP", *layers, "Points lost by calibration frames")
    return Table("What fewer bits cost on validation frames (AP of 100)", header, rows, export.origin)


def _worst(damage: Mapping[str, float]) -> list[str]:
    return sorted(damage, key=lambda layer: -damage[layer])[:LAYERS]
