"""What ships?

Reads the trained weights, the operating thresholds and, for parity, frames of the validation split; the benchmark is
never read. Writes to --out: model.onnx (any batch), model-b1.onnx (one picture), contract.json (all that a runtime must
know) and parity.json (whether ONNX Runtime gives what PyTorch gives). The same weights give the same bytes.
"""

import contextlib
import io
import logging
import sys
import tempfile
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from tqdm import tqdm

from pipeline.core.boxes import iou
from pipeline.core.errors import DataError, SightlineError
from pipeline.core.params import EvaluateParams, ExportParams
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.core.types import Detections, Frame, Split
from pipeline.io.files import file_sha256, read_json, sha256, whole_folder, write_bytes, write_json
from pipeline.io.frames import find, pictures, split_ids
from pipeline.io.shards import by_id
from pipeline.io.tables import read_frames
from pipeline.modeling.detector import Detector
from pipeline.modeling.predict import candidates
from pipeline.modeling.zoo import ModelCard, load
from pipeline.runtime.contract import Contract, Evidence, InputContract, Knots, OutputContract
from pipeline.runtime.postprocess import CANDIDATES, select
from pipeline.runtime.preprocess import FILL, Placement, letterbox
from pipeline.runtime.session import CONTRACT, DYNAMIC, SINGLE, OnnxSession

IMAGES, BOXES, SCORES = "images", "boxes", "scores"
TRACED_BATCH = 2  # an exporter that writes the example's batch into the graph is found out by a batch of one
BATCH = 8  # pictures at once in parity
PRODUCERS = ("torch", "torchvision", "onnx", "onnxscript")
NOT_COMPUTED = {"producer_name", "producer_version", "doc_string", "metadata_props", "value_info"}
KNOTS: TypeAdapter[Knots] = TypeAdapter(Knots)

Image = NDArray[np.uint8]
Candidates = tuple[NDArray[np.float32], NDArray[np.float32]]  # boxes (B, A, 4) input-pixel xyxy, scores (B, A, C)


def to_onnx(model: Detector, size: tuple[int, int], opset: int, *, dynamic: bool) -> onnx.ModelProto:
    """The detector's graph, checked, and free of everything that is not computed.

    Args:
        model: in eval mode, on the CPU.
        size: width and height of the input, pixels.
        opset: version of ONNX's operators.
        dynamic: whether any number of pictures may go in at once; else one.

    Raises:
        SightlineError: neither of PyTorch's exporters can write the graph.
    """
    images = torch.zeros(TRACED_BATCH if dynamic else 1, 3, size[1], size[0], dtype=torch.uint8)
    reasons = []
    for dynamo in (True, False):  # the old exporter writes some graphs that the new one cannot
        try:
            proto = plain(_trace(model, images, opset, dynamic=dynamic, dynamo=dynamo))
        except RuntimeError as error:  # the root of what both exporters raise
            reasons.append(str(error).strip().partition("\n")[0])
            continue
        onnx.checker.check_model(proto, full_check=True)
        if dynamic == bool(proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param):
            return proto
        reasons.append("the number of pictures is written into the graph")
    raise SightlineError(
        f"export: {type(model).__name__} cannot be written as ONNX opset {opset} with "
        f"{'any' if dynamic else 'a fixed'} batch: {'; '.join(reasons)}"
    )


def _trace(model: Detector, images: torch.Tensor, opset: int, *, dynamic: bool, dynamo: bool) -> onnx.ModelProto:
    batch: dict[str, Any] = {}
    if dynamic and dynamo:
        batch = {"dynamic_shapes": {IMAGES: {0: torch.export.Dim("batch", min=1)}}}
    elif dynamic:
        batch = {"dynamic_axes": {name: {0: "batch"} for name in (IMAGES, BOXES, SCORES)}}
    with tempfile.TemporaryDirectory() as folder, _silence(), torch.no_grad():
        file = Path(folder) / "model.onnx"
        torch.onnx.export(
            model,
            (images,),
            file,
            input_names=[IMAGES],
            output_names=[BOXES, SCORES],
            opset_version=opset,
            dynamo=dynamo,
            external_data=False,
            **batch,
        )
        return onnx.load(file)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Both exporters print whole graphs and pages of advice; what matters is raised."""
    noise = io.StringIO()
    with (
        contextlib.redirect_stdout(noise),
        contextlib.redirect_stderr(noise),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def plain(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same computation without stack traces, documentation and producer, which name paths and machines."""
    clean = onnx.ModelProto()
    clean.CopyFrom(proto)
    _strip(clean)
    return clean


def _strip(message: Any) -> None:  # protobuf's messages have no types
    for descriptor, value in message.ListFields():
        if descriptor.name in NOT_COMPUTED:
            message.ClearField(descriptor.name)
        elif descriptor.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                _strip(part)


def spread(frames: Iterable[Frame], count: int) -> list[str]:
    """Ids of at most `count` frames: the same share of every camera, evenly over its clips and their time."""
    cameras: dict[str, list[Frame]] = defaultdict(list)
    for frame in sorted(frames, key=lambda f: (f.camera, f.clip, f.index)):
        cameras[frame.camera].append(frame)
    rounds = [camera for i in range(count) for camera, held in cameras.items() if i < len(held)]
    share = Counter(rounds[:count])
    return [
        held[(2 * i + 1) * len(held) // (2 * share[camera])].frame_id
        for camera, held in cameras.items()
        for i in range(share[camera])
    ]


def parity(model: Detector, folder: Path, images: Sequence[Image], p: ExportParams) -> dict[str, Any]:
    """Whether the exported files give what PyTorch gives: candidates within tolerance, and the same detections.

    Args:
        model: the trained detector, on the CPU.
        folder: the export, contract included.
        images: letterboxed (H, W, 3) uint8 RGB.
        p: section `export`.
    """
    expected = _in_batches(lambda batch: candidates(model, batch), images, BATCH)
    runs = [
        {"file": file, "batch": batch} | compare(expected, OnnxSession(folder, file, threads=1), images, batch, p)
        for file, batch in ((DYNAMIC, min(BATCH, len(images))), (DYNAMIC, 1), (SINGLE, 1))
    ]
    largest: list[Any] = [run[name] for run in runs for name in (BOXES, SCORES)]
    return {
        "passed": all(run["passed"] for run in runs),
        "frames": len(images),
        "max_abs_difference": None if None in largest else max(largest),
        "detections_equal": all(run["detections_equal"] for run in runs),
        "rtol": p.rtol,
        "atol": p.atol,
        "runs": runs,
    }


def compare(
    expected: Candidates, session: OnnxSession, images: Sequence[Image], batch: int, p: ExportParams
) -> dict[str, Any]:
    """One file at one batch size against PyTorch: the largest differences, and whether it passed."""
    failed = {BOXES: None, SCORES: None, "detections_equal": False, "passed": False}
    try:
        found = _in_batches(lambda part: session.candidates(np.stack(part).transpose(0, 3, 1, 2)), images, batch)
    except DataError as error:
        print(f"export: {error}", file=sys.stderr, flush=True)  # the engine's words differ between machines
        return failed | {"reason": "the file does not run, or does not give what its contract says"}
    if found[0].shape != expected[0].shape:
        return failed | {"reason": "another number of candidates"}
    pairs = list(zip(expected, found, strict=True))
    near = all(np.allclose(ours, theirs, p.rtol, p.atol) for ours, theirs in pairs)
    same = near and same_detections(expected, found, session.contract, p)
    figures = {name: _largest(*pair) for name, pair in zip((BOXES, SCORES), pairs, strict=True)}
    reason = "" if same else "detections differ" if near else "candidates differ by more than the tolerance"
    return {**figures, "detections_equal": same, "passed": same, "reason": reason}


def _in_batches(infer: Callable[[list[Image]], Candidates], images: Sequence[Image], batch: int) -> Candidates:
    found = [infer(list(images[i : i + batch])) for i in range(0, len(images), batch)]
    boxes, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return boxes, scores


def _largest(a: NDArray[np.float32], b: NDArray[np.float32]) -> float | None:
    """The largest difference, three digits; None where a value is not finite."""
    value = float(np.abs(a - b).max())
    return float(f"{value:.3g}") if np.isfinite(value) else None


def same_detections(expected: Candidates, found: Candidates, contract: Contract, p: ExportParams) -> bool:
    """Whether every detection at or above its operating threshold has its like on the other side, in every frame."""
    whole, size = Placement(1.0, 0, 0), (contract.input.width, contract.input.height)
    thresholds = np.array([contract.thresholds[name] for name in contract.classes])
    rule = contract.output
    for one, other in zip(zip(*expected, strict=True), zip(*found, strict=True), strict=True):
        a, b = (select(boxes, scores, rule, whole, size) for boxes, scores in (one, other))
        cut = max(_first_left_out(one[1], a, rule), _first_left_out(other[1], b, rule))
        if not all(
            _has_all(x, y, np.maximum(thresholds, _above(cut, p)), rule.nms_iou, p) for x, y in ((a, b), (b, a))
        ):
            return False
    return True


def _has_all(
    wanted: Detections, held: Detections, thresholds: NDArray[np.float64], nms_iou: float, p: ExportParams
) -> bool:
    """Whether each detection wanted is held, or one that NMS may keep instead where scores are as good as equal."""
    seen = wanted.scores >= thresholds[wanted.labels]
    near = iou(wanted.boxes[seen], held.boxes) >= nms_iou - p.rtol
    strong = _above(held.scores[None], p) >= wanted.scores[seen, None]
    labels = wanted.labels[seen, None] == held.labels[None]
    return bool((near & strong & labels).any(1).all())


def _above(score: Any, p: ExportParams) -> Any:
    """A score, or scores, and the tolerance on top."""
    return score * (1 + p.rtol) + p.atol


def _first_left_out(scores: NDArray[np.float32], found: Detections, rule: OutputContract) -> float:
    """Best score that the limits on candidates and on detections may have left out; chance decides near it."""
    ranked = np.sort(scores, axis=None)[::-1]
    candidate = float(ranked[CANDIDATES]) if len(ranked) > CANDIDATES else 0.0
    return max(candidate, float(found.scores[-1]) if len(found) == rule.max_detections else 0.0)


@dataclass(frozen=True, slots=True)
class Operating:
    """What evaluation chose on the validation split, by class."""

    thresholds: dict[str, float]
    evidence: dict[str, Evidence]
    confidence: dict[str, Knots]

    @classmethod
    def read(cls, path: Path, classes: Sequence[str]) -> "Operating":
        """Read operating.json. Raises DataError where it does not hold what a contract needs of every class."""
        document = read_json(path)
        found = document.get("threshold") if isinstance(document, dict) else None
        if not isinstance(found, dict) or set(found) != set(classes):
            raise DataError(f"{path}: expected a threshold for each of {', '.join(classes)}; run: dvc repro evaluate")
        try:
            return cls(
                {name: found[name] for name in classes},
                {name: _evidence(document["chosen_on"], name) for name in classes},
                {name: KNOTS.validate_python(document["calibration"][name]["knots"]) for name in classes},
            )
        except (KeyError, TypeError, ValidationError) as error:
            why = f"{type(error).__name__}: {error}"
            raise DataError(f"{path}: another version wrote it ({why}); run: dvc repro -f evaluate") from None


def _evidence(chosen_on: dict[str, Any], name: str) -> Evidence:
    rule, of_class = chosen_on["rule"], chosen_on["class"][name]
    words = f"F{rule['beta']:g}" if rule["rule"] == "f_beta" else f"at most {rule['budget']:g} {rule['rule']}"
    told = {"frames": chosen_on["frames"], "hours": chosen_on["hours"], **of_class}
    shown = {key: value for key, value in told.items() if key in Evidence.model_fields}
    return Evidence(rule=words.replace("_", " "), **shown)


def parity_images(frames: Path, splits: Path, size: tuple[int, int], count: int) -> list[Image]:
    """Letterboxed frames of the validation split. Raises DataError where it has none."""
    known = by_id(read_frames(frames / "frames.parquet"))
    held = [find(known, frame_id, frames) for frame_id in split_ids(splits, Split.VAL)]
    if not held:
        raise DataError(f"{splits} holds no validation frame, on which parity is tested; raise split.fractions.val")
    return [letterbox(image, size)[0] for _, image in pictures(frames, spread(held, count))]


def contract_of(folder: Path, weights: Path, splits: Path, operating: Operating, p: EvaluateParams) -> Contract:
    """The contract of the model files in `folder`."""
    card = ModelCard.read(weights)
    (opset,) = (o.version for o in onnx.load(folder / DYNAMIC).opset_import if not o.domain)
    return Contract(
        model=card.name,
        classes=card.classes,
        thresholds=operating.thresholds,
        evidence=operating.evidence,
        confidence=operating.confidence,
        input=InputContract(
            name=IMAGES,
            width=card.width,
            height=card.height,
            layout="NCHW",
            dtype="uint8",
            color="RGB",
            letterbox="centre",
            fill=FILL,
        ),
        output=OutputContract(
            boxes=BOXES,
            scores=SCORES,
            score_floor=p.score_floor,
            nms_iou=p.nms_iou,
            max_detections=p.max_detections,
        ),
        opset=opset,
        files={file: file_sha256(folder / file) for file in (DYNAMIC, SINGLE)},
        weights=file_sha256(weights / "best.safetensors"),
        training_data=sha256("\n".join(sorted(split_ids(splits, Split.TRAIN))).encode()),
        calibration="",
        producers={name: version(name) for name in PRODUCERS},
    )


def main(argv: list[str] | None = None) -> None:
    """Run the stage."""
    args = stage_arguments(__doc__, "weights", "frames", "splits", "operating", "out").parse_args(argv)
    p, rule = ExportParams.load("export"), EvaluateParams.load("evaluate")
    model, card = load(args.weights), ModelCard.read(args.weights)
    size = card.width, card.height
    operating = Operating.read(args.operating, card.classes)
    images = parity_images(args.frames, args.splits, size, p.parity_frames)
    with whole_folder(args.out) as folder:
        for file in tqdm((DYNAMIC, SINGLE), desc="export", unit="file"):
            proto = to_onnx(model, size, p.opset, dynamic=file == DYNAMIC)
            write_bytes(folder / file, proto.SerializeToString(deterministic=True))
        contract = contract_of(folder, args.weights, args.splits, operating, rule)
        write_json(folder / CONTRACT, contract.model_dump(mode="json"))
        result = parity(model, folder, images, p)
        write_json(folder / "parity.json", result)
    summary("export", _told(contract, result))


def _told(contract: Contract, result: dict[str, Any]) -> str:
    what = f"{contract.model} as ONNX opset {contract.opset}"
    if result["passed"]:
        return f"{what}; parity on {result['frames']} frames: largest difference {result['max_abs_difference']:.2g}"
    failed = [f"  {r['file']}, batch {r['batch']}: {r['reason']}" for r in result["runs"] if not r["passed"]]
    return "\n".join([f"{what}; PARITY FAILED on {result['frames']} frames, so the gate will refuse it", *failed])


if __name__ == "__main__":
    run(main)
