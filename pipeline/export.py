"""What ships?

Reads the trained weights, the operating thresholds, frames of the training split to calibrate integers on, and frames
of the validation split to judge them on; pictures of the benchmark are never read. Writes to --out, for each of
export.targets, a folder with model files, contract.json (all that a runtime must know) and golden.npz (pictures, and
what is to be found in them); parity.json (whether float files give what PyTorch gives) and export.json (what fewer bits
cost, and which layers stay float for it). The same weights and frames give the same bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from pipeline.core.calibration_set import calibration_set, fingerprint, spread
from pipeline.core.errors import DataError
from pipeline.core.params import EvaluateParams, ExportParams
from pipeline.core.progress import progress
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.core.types import Frame, Split
from pipeline.io.files import file_sha256, read_json, whole_folder, write_json
from pipeline.io.frames import find, pictures, split_ids, truth_of
from pipeline.io.shards import by_id
from pipeline.io.tables import read_annotations, read_frames
from pipeline.modeling.detector import Detector
from pipeline.modeling.judge import Judge
from pipeline.modeling.onnx_graph import IMAGES, to_onnx
from pipeline.modeling.parity import parity
from pipeline.modeling.predict import candidates, rule_of
from pipeline.modeling.quantise import Pictures
from pipeline.modeling.targets import cpu, intel, nvidia
from pipeline.modeling.targets.material import Made, Material
from pipeline.modeling.zoo import ModelCard, load
from pipeline.runtime.contract import CONTRACT, Contract, Evidence, InputContract, Knots
from pipeline.runtime.golden import write_golden
from pipeline.runtime.preprocess import FILL, letterbox

TARGETS: Mapping[str, Callable[[Path, Material], Made]] = {"cpu": cpu.make, "intel": intel.make, "nvidia": nvidia.make}
PRODUCERS = ("torch", "torchvision", "onnx", "onnxscript")
KNOTS: TypeAdapter[Knots] = TypeAdapter(Knots)

Image = NDArray[np.uint8]
Size = tuple[int, int]  # width and height, pixels


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


@dataclass(frozen=True, slots=True)
class Data:
    """Where frames, annotations and splits lie: the folders of their stages."""

    frames: Path
    annotations: Path
    splits: Path

    def held(self, split: Split) -> list[Frame]:
        """The frames of one split. Raises DataError where one was not ingested."""
        known = by_id(read_frames(self.frames / "frames.parquet"))
        return [find(known, frame_id, self.frames) for frame_id in split_ids(self.splits, split)]

    def calibration(self, count: int) -> list[str]:
        """Ids of a calibration set. Raises DataError where there are none, or the benchmark shares one."""
        annotations = read_annotations(self.annotations / "annotations.parquet")
        return calibration_set(self.held(Split.TRAIN), annotations, count, split_ids(self.splits, Split.BENCHMARK))

    def letterboxed(self, frame_ids: Sequence[str], size: Size) -> Pictures:
        """Pictures (N, 3, H, W) as the model sees them."""
        seen = [letterbox(image, size)[0] for _, image in pictures(self.frames, frame_ids)]
        return np.ascontiguousarray(np.stack(seen).transpose(0, 3, 1, 2))

    def validation(self, count: int) -> list[str]:
        """Ids of at most `count` validation frames, of all cameras. Raises DataError where there are none."""
        held = self.held(Split.VAL)
        if not held:
            raise DataError(f"{self.splits} holds no validation frame to judge on; raise split.fractions.val")
        return spread(held, count)

    def judge(self, contract: Contract, count: int) -> Judge:
        """At most `count` validation frames with their truth."""
        ids, size = self.validation(count), (contract.input.width, contract.input.height)
        truths = truth_of(self.annotations, self.splits, Split.VAL, contract.classes)
        found = [(letterbox(image, size), image.shape) for _, image in pictures(self.frames, ids)]
        return Judge(
            contract,
            np.ascontiguousarray(np.stack([image for (image, _), _ in found]).transpose(0, 3, 1, 2)),
            [placement for (_, placement), _ in found],
            [(shape[1], shape[0]) for _, shape in found],
            [truths[frame_id] for frame_id in ids],
        )


def contract_of(weights: Path, splits: Path, operating: Operating, rule: EvaluateParams, opset: int) -> dict[str, Any]:
    """What the contracts of all targets have in common."""
    card = ModelCard.read(weights)
    return {
        "model": card.name,
        "classes": card.classes,
        "thresholds": operating.thresholds,
        "evidence": operating.evidence,
        "confidence": operating.confidence,
        "input": InputContract(
            name=IMAGES,
            width=card.width,
            height=card.height,
            layout="NCHW",
            dtype="uint8",
            color="RGB",
            letterbox="centre",
            fill=FILL,
        ),
        "output": rule_of(rule),
        "opset": opset,
        "weights": file_sha256(weights / "best.safetensors"),
        "training_data": fingerprint(split_ids(splits, Split.TRAIN)),
    }


def material(model: Detector, data: Data, draft: Contract, p: ExportParams) -> Material:
    """What every target is made of."""
    size = draft.input.width, draft.input.height
    most = len(split_ids(data.splits, Split.TRAIN))
    return Material(
        graph=to_onnx(model, size, p.opset, dynamic=True),
        single=partial(to_onnx, model, size, p.opset, dynamic=False),
        pictures=cache(lambda count: data.letterboxed(data.calibration(count), size)),
        judge=data.judge(draft, p.int8.frames),
        frames=p.calibration_frames,
        budget=p.int8.max_drop,
        sensitivity=tuple(sorted({min(count, most) for count in p.int8.sensitivity})),
    )


def write_target(
    folder: Path, target: str, it: Material, common: Mapping[str, Any], digest: str
) -> tuple[Contract, Made]:
    """Write a target's files and its contract; `digest` is of the calibration set."""
    folder.mkdir()
    made = TARGETS[target](folder, it)
    contract = Contract(
        **common,
        target=target,
        artifacts=dict(made.artifacts),
        default=made.default,
        calibration=digest,
        producers={name: version(name) for name in (*PRODUCERS, *made.packages)},
    )
    write_json(folder / CONTRACT, contract.model_dump(mode="json"))
    return contract, made


def main(argv: list[str] | None = None) -> None:
    """Run the stage."""
    names = ("weights", "frames", "annotations", "splits", "operating", "out")
    args = stage_arguments(__doc__, *names).parse_args(argv)
    p, rule = ExportParams.load("export"), EvaluateParams.load("evaluate")
    data = Data(args.frames, args.annotations, args.splits)
    operating = Operating.read(args.operating, ModelCard.read(args.weights).classes)
    common = contract_of(args.weights, args.splits, operating, rule, p.opset)
    draft = Contract.model_construct(**common)  # without artifacts, which are yet to be made
    shown = [image for _, image in pictures(args.frames, data.validation(max(p.parity_frames, p.golden_frames)))]
    chosen = data.calibration(p.calibration_frames)
    model = load(args.weights)
    it = material(model, data, draft, p)
    with whole_folder(args.out) as root:
        made = {}
        for target in progress(p.targets, desc="export", unit="target"):
            made[target] = write_target(root / target, target, it, common, fingerprint(chosen))
            write_golden(root / target, shown[: p.golden_frames])
        contracts: dict[str, Contract] = {target: contract for target, (contract, _) in made.items()}
        seen = [letterbox(image, (draft.input.width, draft.input.height))[0] for image in shown[: p.parity_frames]]
        result = parity(partial(candidates, model), contracts, root, seen, p)
        told: dict[str, Any] = {
            "calibration": {"frames": len(chosen), "sha256": fingerprint(chosen)},
            "validation_frames": len(it.judge.batch),
            "targets": {target: {"fewer_bits": dict(m.quantised), **m.extra} for target, (_, m) in made.items()},
        }
        write_json(root / "parity.json", result)
        write_json(root / "export.json", told)
    summary("export", "\n  ".join([_parity_line(result), *_cost_lines(told["targets"])]))


def _parity_line(result: dict[str, Any]) -> str:
    if result["passed"] and result["runs"]:
        return f"parity on {result['frames']} frames: largest difference {result['max_abs_difference']:.2g}"
    if result["passed"]:
        return "parity waits for the engine that is built on the device"
    failed = [
        f"{r['target']}/{r['artifact']}, batch {r['batch']}: {r['reason']}" for r in result["runs"] if not r["passed"]
    ]
    return "\n  ".join([f"PARITY FAILED on {result['frames']} frames, so the gate will refuse it", *failed])


def _cost_lines(targets: dict[str, Any]) -> list[str]:
    return [
        f"{target}/{name}: AP {it['AP']:.2f} of {it['float_AP']:.2f} on validation frames, "
        f"{len(it['kept_in_float'])} layers kept in float"
        for target, found in targets.items()
        for name, it in found["fewer_bits"].items()
    ]


if __name__ == "__main__":
    run(main)
