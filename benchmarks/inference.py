"""How fast `nano` runs on this CPU in each form in which it ships, beside PyTorch and two peers, in one run.

    python benchmarks/inference.py [--size 320] [--threads 1] [--turns 5] [--seconds 0.6] [--peer detector.onnx]

Everything runs with the same threads on the same pictures, one picture at a time, in turns: a slow minute of the
machine meets all of them. Printed are medians over the turns in milliseconds, ratios of these, and the instruction
set, which decides what int8 and bfloat16 are worth. Weights are random: they cost what trained ones do. End to end is
from the bytes of a JPEG of 768 x 432 pixels to boxes. Peers are torchvision's ssdlite320_mobilenet_v3_large on PyTorch
and, where --peer names it, another detector's ONNX file on ONNX Runtime, on its own input size. OpenVINO's forms are
left out where OpenVINO or NNCF is not installed.
"""

import argparse
import importlib.util
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

from pipeline.io.images import decode, encode_jpeg
from pipeline.modeling.onnx_graph import IMAGES, to_onnx
from pipeline.modeling.predict import candidates
from pipeline.modeling.quantise import Quantiser
from pipeline.modeling.targets.cpu import SCHEME
from pipeline.modeling.zoo import build
from pipeline.runtime.contract import OutputContract
from pipeline.runtime.machine import this_machine
from pipeline.runtime.postprocess import select
from pipeline.runtime.preprocess import letterbox

CLASSES, PICTURES, OPSET = 2, 32, 18
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16")
RULE = OutputContract(boxes="boxes", scores="scores", score_floor=0.25, nms_iou=0.6, max_detections=100)
BARS = (  # faster, slower, at least so many times
    ("ONNX Runtime int8", "ONNX Runtime fp32", 1.8),
    ("best OpenVINO", "ONNX Runtime fp32", 3.0),
    ("best OpenVINO", "PyTorch eager", 6.0),
    ("end to end, best OpenVINO", "end to end, PyTorch eager", 2.5),
)

Image = NDArray[np.uint8]
Candidates = tuple[NDArray[np.float32], NDArray[np.float32]]
Infer = Callable[[Image], Candidates]  # of a batch (1, 3, H, W)


def smooth(count: int) -> list[Image]:
    """Pictures of 768 x 432 with large and small structure, as footage has."""
    rng = np.random.default_rng(0)
    sizes = [(int(s), int(s * 9 / 16) + 1) for s in rng.integers(8, 96, count)]
    noise = [rng.integers(0, 256, (h, w, 3), np.uint8) for w, h in sizes]
    return [np.asarray(cv2.resize(it, (768, 432), interpolation=cv2.INTER_CUBIC), np.uint8) for it in noise]


def onnx_session(file: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def on_onnx(file: Path, threads: int) -> Infer:
    session = onnx_session(file, threads)
    return lambda batch: tuple(session.run(None, {IMAGES: batch}))


def on_openvino(model: Any, threads: int, precision: str) -> Infer:
    import openvino  # noqa: PLC0415 - an extra

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision}
    request = openvino.compile_model(model, "CPU", settings).create_infer_request()

    def infer(batch: Image) -> Candidates:
        found = request.infer({0: batch}, share_inputs=True)
        return found[0], found[1]

    return infer


def openvino_forms(file: Path, batches: list[Image], threads: int) -> dict[str, Infer]:
    """OpenVINO's forms of an ONNX file; none where the libraries are not installed."""
    if not all(importlib.util.find_spec(name) for name in ("openvino", "nncf")):
        return {}
    os.environ.setdefault("NNCF_CI", "1")  # else NNCF tells its makers of each use, unasked
    import nncf  # noqa: PLC0415 - an extra
    import openvino  # noqa: PLC0415 - an extra

    graph, bf16 = openvino.convert_model(str(file)), this_machine().bf16
    quantised = nncf.quantize(graph, nncf.Dataset(batches), subset_size=len(batches))
    return {
        "OpenVINO fp32": on_openvino(graph, threads, "f32"),
        **({"OpenVINO bf16": on_openvino(graph, threads, "bf16")} if bf16 else {}),
        "OpenVINO int8": on_openvino(quantised, threads, "f32"),
    }


def forms(size: tuple[int, int], batches: list[Image], threads: int, folder: Path) -> dict[str, Infer]:
    """`nano` in every form, by name."""
    torch.manual_seed(0)
    model = build("nano", CLASSES, size, "none").eval()
    plain, int8 = folder / "fp32.onnx", folder / "int8.onnx"
    proto = to_onnx(model, size, OPSET, dynamic=False)
    plain.write_bytes(proto.SerializeToString())
    int8.write_bytes(Quantiser(folder, proto, np.concatenate(batches), SCHEME).make())
    return {
        "PyTorch eager": lambda batch: candidates(model, [batch[0].transpose(1, 2, 0)]),
        "ONNX Runtime fp32": on_onnx(plain, threads),
        "ONNX Runtime int8": on_onnx(int8, threads),
        **openvino_forms(plain, batches, threads),
    }


def end_to_end(infer: Infer, size: tuple[int, int], files: list[bytes]) -> Callable[[], object]:
    """From the bytes of the next JPEG to boxes."""
    turn = itertools.cycle(files)

    def once() -> object:
        image = decode(next(turn))
        placed, placement = letterbox(image, size)
        boxes, scores = infer(np.ascontiguousarray(placed.transpose(2, 0, 1)[None]))
        return select(boxes[0], scores[0], RULE, placement, (image.shape[1], image.shape[0]))

    return once


def peers(file: Path | None, images: list[Image], threads: int) -> dict[str, Callable[[], object]]:
    """Other detectors, from a prepared input to their own raw outputs (torchvision's: to boxes)."""
    torch.manual_seed(0)
    ssd = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES + 1).eval()
    tensor = torch.from_numpy(cv2.resize(images[0], (320, 320))).permute(2, 0, 1).float() / 255

    def torchvision() -> object:
        with torch.inference_mode():
            return ssd([tensor])

    found: dict[str, Callable[[], object]] = {"peer: torchvision ssdlite320, PyTorch eager": torchvision}
    if file is not None:
        session = onnx_session(file, threads)
        it = session.get_inputs()[0]
        batch = np.random.default_rng(0).random([n if isinstance(n, int) else 1 for n in it.shape], np.float32)
        shape = "x".join(map(str, batch.shape[2:]))
        found[f"peer: {file.stem} {shape}, ONNX Runtime fp32"] = lambda: session.run(None, {it.name: batch})
    return found


def timed(work: Callable[[], object], seconds: float) -> float:
    """Median milliseconds of one call, over so many seconds."""
    work()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken) < 5:
        start = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)


def measure(works: dict[str, Callable[[], object]], turns: int, seconds: float) -> dict[str, float]:
    """Median over interleaved turns of each piece of work, milliseconds."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(turns):
        for name, work in works.items():
            found[name].append(timed(work, seconds))
    return {name: statistics.median(values) for name, values in found.items()}


def best(found: dict[str, float]) -> dict[str, float]:
    """The fastest of OpenVINO's forms, alone and end to end, where there are any."""
    told: dict[str, float] = {}
    for prefix in ("", "end to end, "):
        values = [value for name, value in found.items() if name.startswith(f"{prefix}OpenVINO")]
        told |= {f"{prefix}best OpenVINO": min(values)} if values else {}
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.6)
    parser.add_argument("--peer", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    size = args.size, args.size
    images = smooth(PICTURES)
    files = [encode_jpeg(image, 90) for image in images]
    batches = [np.ascontiguousarray(letterbox(it, size)[0].transpose(2, 0, 1)[None]) for it in images]
    with tempfile.TemporaryDirectory() as folder:
        ways = forms(size, batches, args.threads, Path(folder))
        raw = {name: (lambda infer=infer: infer(batches[0])) for name, infer in ways.items()}
        whole = {f"end to end, {name}": end_to_end(infer, size, files) for name, infer in ways.items()}
        found = measure({**raw, **whole, **peers(args.peer, images, args.threads)}, args.turns, args.seconds)
    machine = this_machine()
    flags = ", ".join(flag for flag in FLAGS if flag in machine.flags) or "no instructions for low precision"
    print(f"nano at {args.size} x {args.size}, {args.threads} of {machine.cores} cores; {flags}")
    packages = [name for name in ("torch", "onnxruntime", "openvino", "nncf") if importlib.util.find_spec(name)]
    print(", ".join(f"{name} {version(name)}" for name in packages))
    for name, value in found.items():
        print(f"  {value:8.2f} ms  {name}")
    found |= best(found)
    for fast, slow, bar in BARS:
        if fast not in found:
            print(f"  not measured: {fast}; pip install 'sightline[intel]'")
            continue
        ratio = found[slow] / found[fast]
        print(f"  {ratio:6.2f}x  {fast} against {slow} (asked: {bar}x): {'reached' if ratio >= bar else 'NOT reached'}")


if __name__ == "__main__":
    main()
