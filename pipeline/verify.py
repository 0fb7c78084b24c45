"""Is what ships still as good, for every group, and how fast?

Runs every artifact of every target on the benchmark split through the runtime that ships with it, and holds it against
the trained model. What cannot be loaded or measured is not verified. Writes to --out: verify.json (figures, limits and
verdict of each artifact; a refusal is a result, not a failure) and latency.json. Times differ from run to run, so
latency.json is for people and no output that other stages build on.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.bootstrap import levels
from pipeline.core.drops import ap_interval, recall_drop
from pipeline.core.errors import DataError, SightlineError
from pipeline.core.groups import Evidence, Group, every_group
from pipeline.core.matching import Overlaps, match, match_overlaps, overlaps
from pipeline.core.params import DataParams, EvaluateParams, VerifyParams
from pipeline.core.progress import progress
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.core.types import Detections, Sample, Split, Truth
from pipeline.io.coco_eval import coco_scores
from pipeline.io.documents import thresholds
from pipeline.io.files import file_sha256, write_json
from pipeline.io.frames import labelled, pictures
from pipeline.io.shards import ShardReader
from pipeline.io.tables import read_detections
from pipeline.modeling.detector import Detector
from pipeline.modeling.predict import candidates, predict_with
from pipeline.modeling.zoo import load
from pipeline.runtime.contract import CONTRACT, Contract
from pipeline.runtime.golden import GOLDEN, TOLERANCES, check_golden, differences, on_onnx_runtime, read_golden
from pipeline.runtime.machine import this_machine
from pipeline.runtime.preprocess import letterbox
from pipeline.runtime.session import Session, open_session
from pipeline.runtime.timing import fresh_start, latency, throughput

BATCHES = (1, 2, 4, 8)
SHOWN = 5  # worst groups named in a reason
AP = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")

Image = NDArray[np.uint8]
Values = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The trained model on the benchmark: what an artifact is held against. C = number of classes."""

    sample: Sample  # with what it found
    near: Overlaps
    evidence: Evidence
    groups: tuple[Group, ...]
    scores: Values  # AP overall, and by class
    model: Detector  # itself, for raw heads
    images: tuple[Image, ...]  # some frames of the benchmark, as they are
    match_iou: float

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """(C,) operating thresholds."""
        return self.evidence.thresholds


def reference_of(
    sample: Sample, thresholds: NDArray[np.float64], model: Detector, images: Sequence[Image], e: EvaluateParams
) -> Reference:
    """The trained model's side, measured as `evaluate` does."""
    near = overlaps(sample.truths, sample.found)
    matched, at50 = match_overlaps(near, e.match_iou), match_overlaps(near, 0.5)
    drawn = levels(sample.frames, e.block_s, e.resamples, e.seed)
    groups = every_group(sample.frames, sample.truths, matched, sample.classes, e.height_bins)
    evidence = Evidence(matched, at50, thresholds, drawn, e.min_support)
    scores = ap_scores(sample, sample.found)
    return Reference(sample, near, evidence, tuple(groups), scores, model, tuple(images), e.match_iou)


def ap_scores(sample: Sample, found: Sequence[Detections]) -> Values:
    """AP of detections on the benchmark, overall and by class; what is not defined is left out."""
    overall, by_class = coco_scores(sample.truths, found, sample.classes)
    return {name: overall[name] for name in AP if name in overall} | {"class": by_class}


def accuracy(found: Sequence[Detections], reference: Reference) -> Values:
    """AP, what is lost of it, and recall lost by group, of what an artifact found on the benchmark."""
    sample = reference.sample
    scores = ap_scores(sample, found)
    near = overlaps(sample.truths, found)
    told = {**scores, **losses(scores, reference.scores)}
    if "drop_AP" in told:
        bounds = ap_interval(
            reference.near, near, len(sample.frames), len(sample.classes), reference.evidence.levels, told["drop_AP"]
        )
        told |= {f"drop_AP_{name}": value for name, value in bounds.items()}
    other = match_overlaps(near, reference.match_iou).found(reference.thresholds)
    groups: dict[str, Values] = {}
    for group in reference.groups:
        if group.objects.any():
            groups.setdefault(group.attribute, {})[group.value] = recall_drop(group, reference.evidence, other)
    return told | {"groups": groups}


def losses(scores: Values, before: Values) -> Values:
    """What is lost of each AP against the trained model, and the share of AP that is kept."""
    lost: Values = {f"drop_{name}": before[name] - scores[name] for name in AP if name in before and name in scores}
    if before.get("AP") and "AP" in scores:
        lost["kept_AP"] = scores["AP"] / before["AP"]
    return lost


def agreement(found: Sequence[Detections], reference: Reference) -> Values:
    """How alike detections at the operating point are: matched within a class, from IoU 0.5 on."""
    shared, moved, ours, theirs = [], [], 0, 0
    for one, other in zip(reference.sample.found, found, strict=True):
        a, b = (it.above(reference.thresholds) for it in (one, other))
        matches = match(Truth(a.boxes, a.labels, np.zeros(len(a), np.bool_)), b, 0.5)
        both = matches.truth >= 0
        shared.append(matches.iou[both])
        moved.append(b.scores[both] - a.scores[matches.truth[both]])
        ours, theirs = ours + len(a), theirs + len(b)
    iou, score = np.concatenate(shared), np.abs(np.concatenate(moved))
    told: Values = {"reference": ours, "found": theirs, "matched": len(iou)}
    if len(iou):
        told |= {"mean_iou": float(iou.mean()), "least_iou": float(iou.min())}
        told |= {"mean_score_difference": float(score.mean()), "largest_score_difference": float(score.max())}
    return told


def heads(session: Session, reference: Reference, p: VerifyParams) -> Values:
    """Raw candidates against PyTorch's, on real frames: largest differences, and whether they are within tolerance.

    Boxes are compared in shares of the input's sides: near the left edge a coordinate of a thousandth of a pixel has
    no relative error to speak of.
    """
    size = session.contract.input.width, session.contract.input.height
    placed = [letterbox(image, size)[0] for image in reference.images]
    expected = candidates(reference.model, placed)
    found = session.candidates(np.stack(placed).transpose(0, 3, 1, 2))
    if [it.shape for it in expected] != [it.shape for it in found]:
        return {"frames": len(placed), "within": False, "reason": "another number of candidates"}
    sides = np.array([*size, *size], np.float32)
    boxes, scores = (expected[0] / sides, found[0] / sides), (expected[1], found[1])
    within = all(np.allclose(theirs, ours, p.rtol, p.atol) for ours, theirs in (boxes, scores))
    told = {"boxes": _largest(expected[0], found[0]), "scores": _largest(*scores)}
    return {"frames": len(placed), "within": within, **told}


def _largest(a: NDArray[np.float32], b: NDArray[np.float32]) -> float | None:
    """The largest difference, three digits; None where a value is not finite."""
    value = float(np.abs(a - b).max(initial=0))
    return float(f"{value:.3g}") if np.isfinite(value) else None


def batches(session: Session, reference: Reference) -> dict[str, bool]:
    """Whether pictures found together give what each gives alone, by how many they are."""
    images = [reference.images[i % len(reference.images)] for i in range(max(BATCHES))]
    alone = [session.detect(image) for image in images]
    tolerance = TOLERANCES[precision_of(session)]
    return {
        str(count): not any(
            differences(one, other, reference.thresholds / 2, tolerance)
            for one, other in zip(alone, session.detect_batch(images[:count]), strict=False)
        )
        for count in BATCHES
    }


def odd_pictures() -> dict[str, Image]:
    """Pictures that no camera gives and that must do no harm."""
    noise = np.random.default_rng(0).integers(0, 256, (333, 17, 3), np.uint8)
    return {
        "empty": np.full((432, 768, 3), 114, np.uint8),
        "1x1": np.full((1, 1, 3), 200, np.uint8),
        "17x333": noise,
        "4000x3": np.tile(noise[:3], (1, 236, 1))[:, :4000],
    }


def odd(session: Session, reference: Reference) -> dict[str, bool]:
    """Whether odd pictures give what the trained model gives (fp32), or at least boxes within the picture."""
    named = odd_pictures()
    rule, size = session.contract.output, (session.contract.input.width, session.contract.input.height)
    trained = dict(predict_with(reference.model, named.items(), target=size, rule=rule, batch_size=len(named)))
    exact = precision_of(session) == "fp32"
    told = {}
    for name, image in named.items():
        found = session.detect(image)
        inside = _inside(found, image)
        tolerance = TOLERANCES["fp32"]
        same = not differences(trained[name], found, reference.thresholds / 2, tolerance) if exact else True
        told[name] = inside and same
    return told


def _inside(found: Detections, image: Image) -> bool:
    limits = np.array([image.shape[1], image.shape[0]] * 2)
    return bool(
        ((found.boxes >= 0) & (found.boxes <= limits)).all() and ((found.scores >= 0) & (found.scores <= 1)).all()
    )


def precision_of(session: Session) -> str:
    """The precision that its contract gives the artifact that runs."""
    return session.contract.artifacts[session.artifact].precision


def measure(session: Session, images: Iterator[tuple[str, Image]], reference: Reference, p: VerifyParams) -> Values:
    """All figures of one artifact but its times."""
    frames = len(reference.sample.frames)
    told = f"verify {session.contract.target}/{session.artifact}"
    found = [session.detect(image) for _, image in progress(images, desc=told, total=frames, unit="frame")]
    return {
        **accuracy(found, reference),
        "agreement": agreement(found, reference),
        "heads": heads(session, reference, p),
        "batches": batches(session, reference),
        "odd": odd(session, reference),
    }


def judge(figures: Values, precision: str, p: VerifyParams) -> list[str]:
    """Why an artifact is refused, in words; nothing where it is verified. What was not measured is a reason."""
    limit, least = getattr(p.max_ap_drop, precision), getattr(p.min_ap_kept, precision)
    reasons = []
    if "drop_AP" not in figures or "kept_AP" not in figures:
        reasons.append("AP is not measured: the benchmark has no object, or the trained model finds none")
    elif _above(figures["drop_AP"], limit):
        reasons.append(f"loses {100 * figures['drop_AP']:.2f} points of AP, at most {100 * limit:g} may be lost")
    if "kept_AP" in figures and _above(least, figures["kept_AP"]):
        reasons.append(f"keeps {figures['kept_AP']:.2%} of the trained model's AP, at least {least:.0%} must stay")
    if precision == "fp32" and not figures["heads"]["within"]:
        reasons.append("raw heads differ from PyTorch's by more than the tolerance")
    reasons += [f"a batch of {count} gives other boxes" for count, good in figures["batches"].items() if not good]
    reasons += [f"the picture {name!r} gives what it must not" for name, good in figures["odd"].items() if not good]
    return reasons + [words for words in [_paying(figures["groups"], p)] if words]


def _above(value: float, limit: float) -> bool:
    """Whether a value is above its limit by more than the arithmetic of shares can explain."""
    return value > limit + 1e-9


def paying(groups: Mapping[str, Values], p: VerifyParams) -> list[tuple[str, float]]:
    """Groups with enough objects that lose more recall than they may, the worst first: name and what is lost."""
    lost = [
        (f"{attribute} {value}", it["drop"])
        for attribute, values in groups.items()
        for value, it in values.items()
        if it["objects"] >= p.min_support and _above(it["drop"], p.max_recall_drop)
    ]
    return sorted(lost, key=lambda it: -it[1])


def _paying(groups: Mapping[str, Values], p: VerifyParams) -> str:
    worst = paying(groups, p)
    if not worst:
        return ""
    named = ", ".join(f"{name} {100 * drop:.1f}" for name, drop in worst[:SHOWN])
    more = f" and {len(worst) - SHOWN} more" if len(worst) > SHOWN else ""
    return f"groups lose more than {100 * p.max_recall_drop:g} points of recall: {named}{more}"


def verify(
    folder: Path,
    name: str,
    contract: Contract,
    images: Iterator[tuple[str, Image]],
    reference: Reference,
    p: VerifyParams,
) -> Values:
    """The verdict on one artifact, with its figures where it could be measured."""
    artifact = contract.artifacts[name]
    told: Values = {
        **{key: getattr(artifact, key) for key in ("engine", "precision", "model", "batch")},
        "files": dict(artifact.files),
    }
    try:
        session, unseen = opened(folder, name, contract)
        told |= measure(session, images, reference, p)
        reasons = judge(told, artifact.precision, p) + golden_reasons(folder, session)
    except SightlineError as error:
        print(f"verify: {folder.name}/{name}: {error}", file=sys.stderr, flush=True)
        reasons, unseen = [f"could not be loaded or measured: {str(error).splitlines()[0]}"], ""
    return told | {"verified": not reasons and not unseen, "reasons": reasons, "not_assessed": unseen}


def opened(folder: Path, name: str, contract: Contract) -> tuple[Session, str]:
    """A session of an artifact, and why it is not the one that ships; "" where it is.

    A TensorRT engine is built on its device. Without one the same graph runs on ONNX Runtime: its figures tell what
    quantisation costs, and may refuse the artifact, but do not verify it.
    """
    if contract.artifacts[name].engine != "tensorrt":
        return open_session(folder, name), ""
    try:
        return open_session(folder, name), ""
    except SightlineError as error:
        why = str(error).splitlines()[0]
        return on_onnx_runtime(folder, name), f"measured on ONNX Runtime, not on the engine that ships: {why}"


def golden_reasons(folder: Path, session: Session) -> list[str]:
    """What is wrong with the golden pictures that go along, in words: selftest would refuse the bundle everywhere."""
    _, wrong = check_golden(session, read_golden(folder / GOLDEN))
    return [f"{GOLDEN}: {wrong[0]}"] if wrong else []


def targets(export: Path) -> dict[str, Contract]:
    """Contracts by target. Raises DataError where there is none, or one cannot be read."""
    found = {path.parent.name: Contract.read(path) for path in sorted(export.glob(f"*/{CONTRACT}"))}
    folders = {path.name for path in export.iterdir() if path.is_dir()} if export.is_dir() else set()
    if not found or folders - set(found):
        lacking = ", ".join(sorted(folders - set(found))) or "every target"
        raise DataError(f"{export}: {CONTRACT} is missing of {lacking}; run: dvc repro export")
    return found


def times(folder: Path, name: str, encoded: Sequence[bytes], p: VerifyParams) -> Values:
    """What one artifact takes on this machine: time by step, throughput, start, memory, size."""
    cores = this_machine().cores
    session, parallel = open_session(folder, name), open_session(folder, name, threads=1, streams=cores)
    artifact = session.contract.artifacts[name]
    return {
        "chosen": session.chosen,
        "precision": artifact.precision,
        "milliseconds": latency(session, encoded, p.latency_pictures),
        "pictures_per_second": {
            "1": throughput(session, encoded, p.latency_pictures, 1),
            str(cores): throughput(parallel, encoded, p.latency_pictures, cores),
        },
        "process": fresh_start(folder, name, encoded[0]),
        "bytes": sum((folder / file).stat().st_size for file in artifact.files),
    }


def machine() -> Values:
    """The machine that times hold for."""
    it = this_machine()
    known = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16", "asimddp", "i8mm", "sve")
    return {"processor": _processor(), "cores": it.cores, "instructions": [flag for flag in known if flag in it.flags]}


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def read_reference(args: Namespace, e: EvaluateParams, p: VerifyParams) -> Reference:
    """The trained model's side of the comparison. Raises DataError where the benchmark holds no frame."""
    classes = DataParams.load("data").classes
    frames, truths = labelled(args.frames, args.annotations, args.splits, Split.BENCHMARK, classes)
    if not frames:
        raise DataError(f"{args.splits}: the benchmark split holds no frame; leave it a share in split.fractions")
    ids = [frame.frame_id for frame in frames]
    found = read_detections(args.evaluation / "detections.parquet", ids)
    sample = Sample(frames, truths, tuple(found[frame_id] for frame_id in ids), classes)
    chosen = [frames[i].frame_id for i in np.unique(np.linspace(0, len(frames) - 1, p.frames).astype(int))]
    images = [image for _, image in pictures(args.frames, chosen)]
    return reference_of(sample, thresholds(args.evaluation / "operating.json", classes), load(args.weights), images, e)


def encoded_frames(frames: Path, reference: Reference, count: int) -> list[bytes]:
    """The first picture files of the benchmark, as they are stored."""
    with ShardReader(frames) as reader:
        return [reader.read(frame) for frame in reference.sample.frames[:count]]


def report(args: Namespace, contracts: Mapping[str, Contract], reference: Reference, p: VerifyParams) -> Values:
    """The content of verify.json."""
    ids = [frame.frame_id for frame in reference.sample.frames]
    artifacts = {
        f"{target}/{name}": verify(args.export / target, name, contract, pictures(args.frames, ids), reference, p)
        for target, contract in contracts.items()
        for name in contract.artifacts
    }
    return {
        "frames": len(ids),
        "objects": len(reference.near.object_label),
        "weights": file_sha256(args.weights / "best.safetensors"),
        "reference": reference.scores,
        "limits": p.model_dump(mode="json"),
        "targets": {
            target: {
                "default": contract.default,
                "verified": [name for name in contract.artifacts if artifacts[f"{target}/{name}"]["verified"]],
            }
            for target, contract in contracts.items()
        },
        "artifacts": artifacts,
    }


def all_times(args: Namespace, contracts: Mapping[str, Contract], reference: Reference, p: VerifyParams) -> Values:
    """The content of latency.json; what cannot be timed says why."""
    encoded = encoded_frames(args.frames, reference, min(p.latency_pictures, 32))
    told: Values = {}
    for target, contract in contracts.items():
        for name in progress(contract.artifacts, desc=f"latency {target}", unit="artifact"):
            try:
                told[f"{target}/{name}"] = times(args.export / target, name, encoded, p)
            except SightlineError as error:
                told[f"{target}/{name}"] = {"not_measured": str(error)}
    return {"machine": machine(), "pictures": p.latency_pictures, "artifacts": told}


def main(argv: list[str] | None = None) -> None:
    """Run the stage."""
    names = ("weights", "frames", "annotations", "splits", "evaluation", "export", "out")
    args = stage_arguments(__doc__, *names).parse_args(argv)
    p, e = VerifyParams.load("verify"), EvaluateParams.load("evaluate")
    contracts = targets(args.export)
    reference = read_reference(args, e, p)
    result = report(args, contracts, reference, p)
    write_json(args.out / "verify.json", result)
    write_json(args.out / "latency.json", all_times(args, contracts, reference, p))
    summary("verify", verdicts(result))


def verdicts(result: Values) -> str:
    """The verdicts, a line each."""
    lines = []
    for name, it in result["artifacts"].items():
        drop = f", AP {100 * it['drop_AP']:+.2f} points lost" if "drop_AP" in it else ""
        word = "verified" if it["verified"] else "REFUSED" if it["reasons"] else "not assessed"
        lines.append(f"{name}: {word}{drop}")
        lines += [f"  {reason}" for reason in (*it["reasons"], it["not_assessed"]) if reason]
    verified = sum(it["verified"] for it in result["artifacts"].values())
    return "\n  ".join([f"{verified} of {len(result['artifacts'])} artifacts are verified", *lines])


if __name__ == "__main__":
    run(main)
