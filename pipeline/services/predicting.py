"""`sightline predict`: an exported model on pictures and videos, without the rest of the cycle."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.core.params import SamplingParams, UsableParams
from pipeline.core.progress import progress
from pipeline.core.stage import summary
from pipeline.core.types import Detections
from pipeline.io.files import write_bytes, write_json
from pipeline.io.formats.prediction import Found, to_coco_results, to_json, to_mot
from pipeline.io.images import FORMATS, decode, defect, encode_jpeg
from pipeline.runtime.bundle import unpacked
from pipeline.runtime.session import Session, open_session
from pipeline.services.arguments import count
from pipeline.vision.draw import Color, draw_boxes

MODEL, OUT = Path("models/export/cpu"), Path("predictions")
KINDS = ("pictures", "json", "coco", "mot")
# Okabe and Ito: told apart by colour-blind eyes as well.
COLORS: Sequence[Color] = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0))
# Whatever can be opened is looked at; the limits only keep a header from claiming more than the memory holds.
LIMITS = UsableParams(min_side=1, max_side=16384, max_megapixels=100.0, min_luminance=0.0, min_sharpness=0.0)
QUALITY = 90  # of the pictures written, JPEG's 0..100


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One picture, or one frame of a clip, to look at."""

    source: str  # below the folder given, or the file's name; POSIX style
    index: int | None  # frame in the clip, from 0; None for a picture
    timestamp_s: float | None
    pixels: NDArray[np.uint8]  # (H, W, 3) RGB, upright


def predict_command(args: argparse.Namespace) -> None:
    """Run an exported model on pictures, folders and videos: draw its boxes, or write them as JSON, COCO or MOT.

    The model is a target's folder or a bundle (a folder or a zip). Detections are those at or above the operating
    threshold of their class; --all gives everything from the contract's score floor up. A picture that cannot be read
    is named and left out.

    Examples:
      sightline predict street.jpg
      sightline predict site/pictures lobby.mp4 --model models/export/intel --artifact int8
      sightline predict lobby.mp4 --format mot --fps 5 --out tracks
      sightline predict site/pictures --model bundle.zip --format coco --all
    """
    files = list(sources(args.sources))
    with unpacked(args.model) as folder:
        session = open_session(folder, args.artifact, args.threads)
        print(f"  {session.contract.model}, {session.artifact}: {session.chosen}", flush=True)
        broken: list[str] = []
        found = list(_looked_at(session, files, args, broken))
    if not found:
        raise DataError(f"nothing could be read: {'; '.join(broken)}")
    _write(found, session, args)
    count = sum(len(it.detections) for it in found)
    left = f", {len(broken)} files could not be read whole" if broken else ""
    summary("predict", f"{count} detections in {len(found)} pictures -> {args.out}{left}")


def sources(paths: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Pictures and videos of what was given: a name for each, and where it lies. Folders are read by name.

    Raises:
        DataError: there is no such file or folder, it holds nothing of the kind, or two files have one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise DataError(f"{path} does not exist; give pictures, folders of them, or videos")
        inside = sorted(it for it in path.rglob("*") if it.is_file() and _known(it)) if path.is_dir() else [path]
        if not inside or not _known(inside[0]):
            raise DataError(f"{path} holds no picture or video; known are {', '.join(sorted({*FORMATS, *_videos()}))}")
        for file in inside:
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            if name in found:
                raise DataError(f"{found[name]} and {file} would be written under one name; run one after another")
            found[name] = file
    yield from found.items()


def _known(path: Path) -> bool:
    return path.suffix.lower() in {*FORMATS, *_videos()}


def _videos() -> frozenset[str]:
    from pipeline.runtime.video import SUFFIXES  # noqa: PLC0415 - opens FFmpeg's libraries

    return SUFFIXES


def _looked_at(
    session: Session, files: Sequence[tuple[str, Path]], args: argparse.Namespace, broken: list[str]
) -> Iterator[Found]:
    """What the model finds, picture by picture; those to look at are drawn on the way, one in memory at a time."""
    contract = session.contract
    thresholds = np.array([contract.thresholds[name] for name in contract.classes])
    bar = progress(desc="predict", unit=" pictures")
    for name, path in files:
        try:
            for shot in shots(name, path, args.fps):
                kept = session.detect(shot.pixels)
                kept = kept if args.all else kept.above(thresholds)
                if args.format == "pictures":
                    _draw(args.out, shot, kept, contract.classes)
                bar.update()
                height, width = shot.pixels.shape[:2]
                yield Found(shot.source, shot.index, shot.timestamp_s, (width, height), kept)
        except UnreadableError as problem:
            broken.append(f"{path}: {problem}")
            print(f"  {broken[-1]}", file=sys.stderr, flush=True)
    bar.close()


class UnreadableError(DataError):
    """A picture or video that cannot be read, or not to its end."""


def shots(name: str, path: Path, fps: float) -> Iterator[Shot]:
    """The picture, or the frames of the video, `fps` of them a second, or all where it is 0.

    Raises:
        UnreadableError: it cannot be read; of a video once all its good frames are out.
    """
    try:
        if path.suffix.lower() in FORMATS:
            yield Shot(name, None, None, _picture(path))
        else:
            yield from _frames(name, path, fps)
    except (DataError, OSError) as problem:
        raise UnreadableError(str(problem)) from None


def _picture(path: Path) -> NDArray[np.uint8]:
    data = path.read_bytes()
    if reason := defect(data, path.suffix.lower(), LIMITS):
        raise DataError(reason)
    return decode(data)


def _frames(name: str, path: Path, fps: float) -> Iterator[Shot]:
    from pipeline.runtime.video import read_video  # noqa: PLC0415 - opens FFmpeg's libraries

    sampling = SamplingParams(mode="fps" if fps else "all", fps=fps or 1.0, jpeg_quality=QUALITY)
    for frame in read_video(path, sampling, LIMITS):
        yield Shot(name, frame.index, frame.timestamp_s, frame.pixels)


def _draw(out: Path, shot: Shot, found: Detections, classes: Sequence[str]) -> None:
    canvas = shot.pixels
    for label, name in enumerate(classes):
        mine = found.labels == label
        captions = [f"{name} {score:.2f}" for score in found.scores[mine]]
        canvas = draw_boxes(canvas, found.boxes[mine], captions, COLORS[label % len(COLORS)])
    # The whole name stays: a.png and a.jpg are two pictures.
    name = f"{shot.source}.jpg" if shot.index is None else f"{shot.source}/{shot.index:06d}.jpg"
    write_bytes(out / name, encode_jpeg(canvas, QUALITY))


def _write(found: Sequence[Found], session: Session, args: argparse.Namespace) -> None:
    contract = session.contract
    if args.format == "json":
        about = {"model": contract.model, "artifact": session.artifact, "weights": contract.weights}
        write_json(args.out / "predictions.json", to_json(found, contract.classes, about))
    elif args.format == "coco":
        write_json(args.out / "coco.json", to_coco_results(found, contract.classes))
    elif args.format == "mot":
        for name, sequence in sequences(found).items():
            write_bytes(args.out / f"{name}.txt", to_mot(sequence).encode())


def sequences(found: Sequence[Found]) -> Mapping[str, list[Found]]:
    """Each clip is a sequence, and so are the pictures of each folder; those given on their own are `pictures`."""
    held: dict[str, list[Found]] = defaultdict(list)
    for it in found:
        folder = Path(it.source).parent.as_posix()
        held[it.source if it.index is not None else "pictures" if folder == "." else folder].append(it)
    return held


def predict_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `predict`."""
    parser.add_argument("sources", nargs="+", type=Path, metavar="SOURCE", help="picture, video, or folder of them")
    parser.add_argument("--model", type=Path, default=MODEL, metavar="PATH", help=f"default: {MODEL}")
    parser.add_argument("--artifact", default="", metavar="NAME", help="of the contract's; default: its default")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help=f"default: {OUT}")
    parser.add_argument("--format", choices=KINDS, default=KINDS[0], help="of what is written (default: pictures)")
    parser.add_argument("--all", action="store_true", help="also below the operating thresholds")
    parser.add_argument("--fps", type=_rate, default=0.0, metavar="N", help="frames a second of a video (default: all)")
    parser.add_argument("--threads", type=count, default=0, metavar="N", help="default: one a core")


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value <= 240:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 240, got {value:g}")
    return value
