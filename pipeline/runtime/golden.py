"""golden.npz: pictures that travel with a model, and what each of its artifacts found in them where it was made.

On another machine the same picture must give the same, within a tolerance for the engine's arithmetic. That holds the
whole way from bytes to boxes to what was verified: decoding, colour order, letterbox, normalisation, weights, NMS.
Final boxes alone would not do: a detector that learned to bear other brightness finds them with a wrong mean too. So
the best candidates before NMS are compared as well, on the mean, which rounding hardly moves and a wrong input does.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.boxes import iou
from pipeline.core.errors import DataError
from pipeline.core.types import Detections
from pipeline.runtime.contract import CONTRACT, Contract
from pipeline.runtime.engines.onnx import OnnxEngine
from pipeline.runtime.files import read_model, read_plain
from pipeline.runtime.preprocess import letterbox
from pipeline.runtime.session import Session, open_session

GOLDEN = "golden.npz"
MAX_BYTES = 256 << 20
COLUMNS = ("boxes", "scores", "labels", "counts", "at", "candidate_boxes", "candidate_scores")
BEST = 100  # candidates of a picture that are kept

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What another machine may do differently."""

    iou: float  # of a box with the one expected, at least
    score: float  # difference, at most
    mean_iou: float  # of the best candidates' boxes with those expected, at least
    mean_score: float  # mean difference of their scores, at most; a share of the mean score


# By precision; a lower one is rounded differently by every instruction set. Measured on the demo's model: OpenVINO with
# float32 and with bfloat16 arithmetic differ in the means by 0.004 and 0.007, a picture that is brighter by five of 255
# levels by 0.02 and 0.02, one with swapped channels by 0.3 and 0.8.
TOLERANCES = {
    "fp32": Tolerance(0.99, 0.005, 0.999, 0.001),
    "fp16": Tolerance(0.95, 0.02, 0.99, 0.01),
    "bf16": Tolerance(0.90, 0.05, 0.99, 0.015),
    "int8": Tolerance(0.90, 0.05, 0.985, 0.015),
}


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """What one artifact found. P = number of pictures, K = of candidates kept, C = of classes."""

    detections: tuple[Detections, ...]  # P of them
    at: NDArray[np.int64]  # (P, K) which candidates have the best scores
    boxes: NDArray[np.float32]  # (P, K, 4) of these, input-pixel xyxy
    scores: NDArray[np.float32]  # (P, K, C)


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """Pictures, and what each artifact found in them."""

    pictures: tuple[bytes, ...]  # PNG: every decoder gives the same pixels
    found: Mapping[str, Expected]  # by artifact


def golden_of(sessions: Mapping[str, Session], images: Sequence[Image]) -> Golden:
    """What sessions find in at least one picture (H, W, 3) uint8 RGB, by artifact."""
    return Golden(
        tuple(_png(image) for image in images), {name: _expected(it, images) for name, it in sessions.items()}
    )


def write_golden(folder: Path, images: Sequence[Image]) -> None:
    """Write golden.npz beside the contract of an export, of at least one picture (H, W, 3) uint8 RGB.

    What ONNX Runtime finds is what TensorRT must find: an engine is built on the device that the kit is carried to.
    """
    contract = Contract.read(folder / CONTRACT)
    sessions = {
        name: on_onnx_runtime(folder, name) if artifact.engine == "tensorrt" else open_session(folder, name)
        for name, artifact in contract.artifacts.items()
    }
    (folder / GOLDEN).write_bytes(to_bytes(golden_of(sessions, images)))


def on_onnx_runtime(folder: Path, artifact: str) -> Session:
    """An ONNX file made for another engine, on ONNX Runtime. Raises DataError as `open_session`."""
    model = read_model(folder, artifact)
    return Session(model, OnnxEngine(model, 0, 1))


def _expected(session: Session, images: Sequence[Image]) -> Expected:
    boxes, scores = candidates(session, images)
    at = np.argsort(-scores.max(axis=2), axis=1, kind="stable")[:, :BEST, None]
    best = (np.take_along_axis(values, at, 1) for values in (boxes, scores))
    return Expected(tuple(session.detect(image) for image in images), at[..., 0], *best)


def candidates(session: Session, images: Sequence[Image]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Candidates of pictures before NMS: boxes (P, A, 4) and scores (P, A, C)."""
    size = session.contract.input.width, session.contract.input.height
    return session.candidates(np.stack([letterbox(image, size)[0] for image in images]).transpose(0, 3, 1, 2))


def to_bytes(golden: Golden) -> bytes:
    """The content of golden.npz; the same values give the same bytes."""
    arrays: dict[str, NDArray[Any]] = {
        f"picture/{i:03}": np.frombuffer(data, np.uint8) for i, data in enumerate(golden.pictures)
    }
    for name, expected in sorted(golden.found.items()):
        found = expected.detections
        columns: tuple[NDArray[Any], ...] = (
            np.concatenate([np.zeros((0, 4), np.float32), *(f.boxes for f in found)]),
            np.concatenate([np.zeros(0, np.float32), *(f.scores for f in found)]),
            np.concatenate([np.zeros(0, np.int64), *(f.labels for f in found)]),
            np.array([len(f) for f in found], np.int64),
            expected.at,
            expected.boxes,
            expected.scores,
        )
        arrays |= {f"{name}/{column}": values for column, values in zip(COLUMNS, columns, strict=True)}
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **arrays)
    return out.getvalue()


def read_golden(path: Path) -> Golden:
    """Read golden.npz. Raises DataError where it is missing, too large, or holds something else."""
    try:
        arrays = _arrays(read_plain(path, MAX_BYTES))
        names = sorted({name.partition("/")[0] for name in arrays} - {"picture"})
        pictures = tuple(arrays[name].tobytes() for name in sorted(arrays) if name.startswith("picture/"))
        return Golden(pictures, {name: _read(arrays, name) for name in names})
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; a model ships with its golden pictures: dvc repro export") from None
    except (ValueError, KeyError, IndexError, OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"{path} holds no golden pictures: {error}") from None


def _arrays(data: bytes) -> dict[str, NDArray[np.generic]]:
    with zipfile.ZipFile(io.BytesIO(data)) as members:
        if any(it.compress_type != zipfile.ZIP_STORED for it in members.infolist()):
            raise ValueError("compressed, which it never is")  # so nothing in it can unfold
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)


def _read(arrays: Mapping[str, NDArray[np.generic]], name: str) -> Expected:
    boxes, scores, labels, counts, at, best, best_scores = (arrays[f"{name}/{column}"] for column in COLUMNS)
    ends = np.cumsum(counts.astype(np.int64))[:-1]
    parts = zip(*(np.split(values, ends) for values in (boxes, scores, labels)), strict=True)
    found = [Detections(b.astype(np.float32), s.astype(np.float32), k.astype(np.int64)) for b, s, k in parts]
    return Expected(tuple(found), at.astype(np.int64), best.astype(np.float32), best_scores.astype(np.float32))


def check_golden(session: Session, golden: Golden) -> tuple[int, list[str]]:
    """How many boxes a session must find, and where it finds something else than it must, in words.

    Raises:
        DataError: a picture cannot be decoded, nothing is expected of this artifact, or it cannot run.
    """
    if session.artifact not in golden.found:
        raise DataError(f"{GOLDEN} expects nothing of {session.artifact!r}, only of {sorted(golden.found)}")
    expected, contract = golden.found[session.artifact], session.contract
    tolerance = TOLERANCES[contract.artifacts[session.artifact].precision]
    least = np.array([contract.thresholds[name] / 2 for name in contract.classes])  # where a box is no noise
    images = [decode(data) for data in golden.pictures]
    wrong = _candidate_differences(expected, candidates(session, images), tolerance)
    for i, (wanted, image) in enumerate(zip(expected.detections, images, strict=True)):
        wrong += [f"picture {i}: {words}" for words in differences(wanted, session.detect(image), least, tolerance)]
    return sum(int((it.scores >= least[it.labels]).sum()) for it in expected.detections), wrong


def _candidate_differences(
    expected: Expected, found: tuple[NDArray[np.float32], NDArray[np.float32]], tolerance: Tolerance
) -> list[str]:
    """Where the best candidates differ on the mean of a picture, in words."""
    if expected.at.max(initial=0) >= found[0].shape[1] or expected.scores.shape[2] != found[1].shape[2]:
        return ["another number of candidates or classes: this is another model"]
    boxes, scores = (np.take_along_axis(values, expected.at[..., None], 1) for values in found)
    wrong = []
    for i, (ours, theirs, boxes_here, scores_here) in enumerate(
        zip(expected.boxes, expected.scores, boxes, scores, strict=True)
    ):
        shared = float(np.diagonal(iou(ours, boxes_here)).mean())
        moved = float(np.abs(theirs - scores_here).mean() / max(float(theirs.mean()), 1e-6))
        if not (shared >= tolerance.mean_iou and moved <= tolerance.mean_score):
            wrong.append(
                f"picture {i}: the best candidates overlap those expected by {shared:.3f} (at least "
                f"{tolerance.mean_iou:g}), their scores differ by {moved:.1%} (at most {tolerance.mean_score:.1%})"
            )
    return wrong


def differences(expected: Detections, found: Detections, least: NDArray[np.float64], tolerance: Tolerance) -> list[str]:
    """Where detections of one picture differ, in words; nothing where they agree.

    Args:
        expected: what was found where the model was made.
        found: what is found here.
        least: (C,) score by class from which on a detection counts; one below may be its counterpart.
        tolerance: what may differ.
    """
    missing = _alone(expected, found, least, tolerance)
    surplus = _alone(found, expected, least + tolerance.score, tolerance)
    return [
        *(f"class {k} with score {s:.3f} expected, none like it found" for k, s in missing),
        *(f"class {k} with score {s:.3f} found, none like it expected" for k, s in surplus),
    ]


def _alone(
    one: Detections, other: Detections, least: NDArray[np.float64], tolerance: Tolerance
) -> list[tuple[int, float]]:
    """Label and score of the detections of one that have no counterpart in the other."""
    counts = one.scores >= least[one.labels]
    near = iou(one.boxes, other.boxes) >= tolerance.iou
    near &= np.abs(one.scores[:, None] - other.scores[None]) <= tolerance.score
    near &= one.labels[:, None] == other.labels[None]
    rows = np.flatnonzero(counts & ~near.any(axis=1))
    return [(int(one.labels[i]), float(one.scores[i])) for i in rows]


def decode(data: bytes) -> Image:
    """A picture file as (H, W, 3) uint8 RGB, upright. Raises DataError where the bytes are none."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    except cv2.error as error:
        raise DataError(f"the picture cannot be decoded: {error.err}") from None
    if image is None:
        raise DataError("the bytes are no picture that can be decoded")
    return np.asarray(image, np.uint8)


def _png(image: Image) -> bytes:
    return bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())
