"""What have we collected, and is it usable?

Reads a folder of videos or pictures. Writes a folder: frames.parquet (a row a frame, and one for each file that gave
none), shard-*.tar (the frames' bytes; JPEG sources as they are) and ingest.json (what was found, per camera).

Every file is either ingested or quarantined with a reason, `key: details`. A quarantined picture that can be looked at
keeps its bytes in the shards. Bytes that were met before are a duplicate: stored once, and the first keeps its use.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.core.parallel import map_ordered
from pipeline.core.params import ComputeParams, DataParams, IngestParams
from pipeline.core.progress import progress
from pipeline.core.stage import run, stage_arguments, summary
from pipeline.core.types import Frame
from pipeline.io.files import sha256, whole_folder, write_json
from pipeline.io.images import FORMATS, decode, defect, encode_jpeg
from pipeline.io.manifest import Listing, SourceFile, list_sources
from pipeline.io.shards import Place, ShardWriter
from pipeline.io.tables import write_frames
from pipeline.runtime import video
from pipeline.vision.quality import THUMBNAIL_SIDE, luma, measure, perceptual_hash, quality_defect, thumbnail
from pipeline.vision.similarity import near_duplicates

BATCH = 32  # pictures a worker takes at once
ID_DIGITS = 16
BYTES_PER_PIXEL = 8  # of an uncompressed picture, 16 bits a channel: no file within the limit on pixels is larger
HEADROOM = 1 << 20  # bytes, for headers and metadata


@dataclass(frozen=True, slots=True)
class Found:
    """One row to be, its bytes still in the worker's spool file at `frame.offset`; `length` 0 means none are kept."""

    frame: Frame
    suffix: str = ""  # of its name in the shard
    thumbnail: bytes = b""  # of a single picture, for the search for near duplicates


@dataclass(frozen=True, slots=True)
class Task:
    """Files that one worker turns into rows and a spool file of bytes."""

    files: tuple[SourceFile, ...]
    spool: Path
    size: int  # bytes of the files, for the progress bar


@dataclass
class Spool:
    """Bytes on their way to the shards, so that no worker's result is larger than its rows."""

    file: BinaryIO

    def keep(self, frame: Frame, data: bytes) -> Frame:
        """Append the bytes; the frame says where."""
        offset = self.file.tell()
        self.file.write(data)
        return replace(frame, offset=offset, length=len(data))


def collect(task: Task, p: IngestParams, *, is_video: bool) -> list[Found]:
    """Rows of a task's files, in order."""
    cv2.setNumThreads(1)  # the workers share the cores
    read = video_rows if is_video else image_rows
    with task.spool.open("wb") as file:
        spool = Spool(file)
        return [found for source in task.files for found in read(source, p, spool)]


def image_rows(source: SourceFile, p: IngestParams, spool: Spool) -> Iterator[Found]:
    """The row of one picture file."""
    row = _row(source, source.index)
    suffix = Path(source.name).suffix.lower()
    data, reason = _read(source, p)
    if not reason:
        row = replace(row, sha256=sha256(data), frame_id=sha256(data)[:ID_DIGITS])
        reason = defect(data, suffix, p.usable)
    if reason:
        yield Found(replace(row, reason=reason))
        return
    try:
        pixels = decode(data)
    except DataError as error:
        yield Found(replace(row, reason=f"broken picture: {error}"))
        return
    single = source.timestamp_s is None  # a picture with a time is one of a sequence, whose neighbours look alike
    small = thumbnail(luma(pixels)).tobytes() if single else b""
    yield Found(spool.keep(examined(row, pixels, p), data), suffix, small)


def _read(source: SourceFile, p: IngestParams) -> tuple[bytes, str]:
    """The bytes of a file, or the reason why they are not read."""
    if source.refusal:
        return b"", source.refusal
    try:
        size = source.path.stat().st_size
        if size > p.usable.max_megapixels * 1e6 * BYTES_PER_PIXEL + HEADROOM:
            return b"", f"too large: {size} bytes"
        return source.path.read_bytes(), ""
    except OSError as error:
        return b"", f"unreadable: {error.strerror}"


def video_rows(source: SourceFile, p: IngestParams, spool: Spool) -> Iterator[Found]:
    """Rows of one video's frames, and one more, of index -1, where it is broken."""
    failed = replace(_row(source, -1), timestamp_s=None, reason=source.refusal)
    if source.refusal:
        yield Found(failed)
        return
    start = source.timestamp_s or 0.0
    try:
        for shot in video.read_video(source.path, p.sampling, p.usable):
            data = encode_jpeg(shot.pixels, p.sampling.jpeg_quality)
            digest = sha256(data)
            row = replace(_row(source, shot.index), timestamp_s=start + shot.timestamp_s)
            row = replace(row, sha256=digest, frame_id=digest[:ID_DIGITS])
            yield Found(spool.keep(examined(row, shot.pixels, p), data), ".jpg")
    except DataError as error:
        yield Found(replace(failed, reason=str(error)))


def _row(source: SourceFile, index: int) -> Frame:
    return Frame(
        frame_id="",
        camera=source.camera,
        clip=source.clip,
        index=index,
        timestamp_s=source.timestamp_s,
        width=0,
        height=0,
        source=source.name,
        attributes=source.attributes,
    )


def examined(frame: Frame, pixels: NDArray[np.uint8], p: IngestParams) -> Frame:
    """The frame with its size, its quality figures, its perceptual hash, and the reason if it shows too little."""
    quality = measure(luma(pixels))
    height, width = pixels.shape[:2]
    return replace(
        frame,
        width=width,
        height=height,
        reason=quality_defect(quality, p.usable),
        phash=perceptual_hash(pixels),
        **asdict(quality),
    )


def tasks_of(listing: Listing, spools: Path, *, is_video: bool) -> list[Task]:
    """One video, or a batch of pictures, a task."""
    step = 1 if is_video else BATCH
    batches = [listing.files[start : start + step] for start in range(0, len(listing.files), step)]
    return [Task(files, spools / f"{n}.spool", sum(map(_size, files))) for n, files in enumerate(batches)]


def _size(source: SourceFile) -> int:
    return 0 if source.refusal else source.path.stat().st_size


def stored(results: Iterable[tuple[Task, list[Found]]], writer: ShardWriter) -> Iterator[Found]:
    """Move the bytes from the spools to the shards, each content once; a content met before is a duplicate."""
    first: dict[str, Frame] = {}
    for task, rows in results:
        with task.spool.open("rb") as spool:
            for found in rows:
                yield _stored(found, spool, writer, first)
        task.spool.unlink()


def _stored(found: Found, spool: BinaryIO, writer: ShardWriter, first: dict[str, Frame]) -> Found:
    frame = found.frame
    if not frame.length:
        return found
    earlier = first.get(frame.sha256)
    if earlier is not None:
        place = Place(earlier.shard, earlier.offset, earlier.length)
        reason = f"duplicate: of {_title(earlier)}"
        return replace(found, frame=_placed(replace(frame, reason=reason, duplicate_of=earlier.frame_id), place))
    data = os.pread(spool.fileno(), frame.length, frame.offset)
    frame = first[frame.sha256] = _placed(frame, writer.write(f"{frame.frame_id}{found.suffix}", data))
    return replace(found, frame=frame)


def _placed(frame: Frame, place: Place) -> Frame:
    return replace(frame, shard=place.shard, offset=place.offset, length=place.length)


def _title(frame: Frame) -> str:
    return frame.source if frame.timestamp_s is None else f"{frame.source}, frame {frame.index}"


def without_near_duplicates(rows: Sequence[Found], bits: int) -> list[Frame]:
    """The rows' frames; single pictures that look like an earlier one are quarantined."""
    frames = [found.frame for found in rows]
    singles = [n for n, found in enumerate(rows) if found.thumbnail and found.frame.usable]
    hashes = np.array([int(frames[n].phash, 16) for n in singles], np.uint64)
    looks = np.frombuffer(b"".join(rows[n].thumbnail for n in singles), np.uint8).reshape(-1, THUMBNAIL_SIDE**2)
    for n, original in zip(singles, near_duplicates(hashes, looks, bits).tolist(), strict=True):
        if original >= 0:
            like = frames[singles[original]]
            frames[n] = replace(frames[n], reason=f"near duplicate: of {_title(like)}", duplicate_of=like.frame_id)
    return frames


def report(frames: Sequence[Frame], listing: Listing) -> dict[str, Any]:
    """What was found, for ingest.json."""
    quarantined = Counter(_key(frame) for frame in frames if not frame.usable)
    cameras = sorted({frame.camera for frame in frames})
    return {
        "files": len(listing.files),
        "ignored_files": dict(listing.ignored),
        "frames": len(frames),
        "usable": sum(frame.usable for frame in frames),
        "quarantined": dict(sorted(quarantined.items())),
        "duplicates": {"exact": quarantined["duplicate"], "near": quarantined["near duplicate"]},
        "cameras": {camera: _camera([f for f in frames if f.camera == camera]) for camera in cameras},
    }


def _key(frame: Frame) -> str:
    """The short stable name of a quarantined frame's reason."""
    return frame.reason.partition(":")[0]


def _camera(frames: Sequence[Frame]) -> dict[str, Any]:
    """Figures of one camera; means are over the frames that can be looked at."""
    shown = [frame for frame in frames if frame.length]
    names = ("luminance", "contrast", "sharpness", "under_exposed", "over_exposed")
    return {
        "frames": len(frames),
        "usable": sum(frame.usable for frame in frames),
        "clips": len({frame.clip for frame in frames}),
        "seconds": round(sum(_seconds(frames).values(), 0.0), 3),
        "sizes": dict(sorted(Counter(f"{frame.width}x{frame.height}" for frame in shown).items())),
        **{name: round(float(np.mean([getattr(f, name) for f in shown])), 4) if shown else None for name in names},
    }


def _seconds(frames: Sequence[Frame]) -> dict[str, float]:
    """Seconds from each clip's first frame to its last."""
    times: dict[str, list[float]] = {}
    for frame in frames:
        if frame.timestamp_s is not None:
            times.setdefault(frame.clip, []).append(frame.timestamp_s)
    return {clip: max(seconds) - min(seconds) for clip, seconds in times.items()}


def _told(found: dict[str, Any]) -> str:
    cameras = len(found["cameras"])
    text = f"{found['frames']} frames of {cameras} camera{'' if cameras == 1 else 's'}, {found['usable']} usable"
    reasons = ", ".join(f"{count} {key}" for key, count in found["quarantined"].items())
    return f"{text}; quarantined: {reasons}" if reasons else text


def ingest(source: Path, out: Path, p: IngestParams, *, is_video: bool, workers: int) -> dict[str, Any]:
    """Ingest a folder into `out`, and give what ingest.json holds.

    Raises:
        DataError: there is nothing to ingest, its manifest is wrong, or `out` and the source lie in each other.
    """
    here, there = out.resolve(), source.resolve()
    if here.is_relative_to(there) or there.is_relative_to(here):
        raise DataError(f"--out {out} and --source {source} lie in each other; what is in --out is replaced")
    listing = list_sources(source, video.SUFFIXES if is_video else FORMATS, video=is_video)
    with whole_folder(out) as folder:
        tasks = tasks_of(listing, folder, is_video=is_video)
        work = partial(collect, p=p, is_video=is_video)
        with ShardWriter(folder, p.shard_mb << 20) as writer:
            results = zip(tasks, map_ordered(work, tasks, workers), strict=True)
            rows = list(stored(_shown(results, tasks), writer))
        frames = without_near_duplicates(rows, p.near_duplicate_bits)
        found = report(frames, listing)
        write_frames(folder / "frames.parquet", frames)
        write_json(folder / "ingest.json", found)
    return found


def _shown(results: Iterable[tuple[Task, list[Found]]], tasks: Sequence[Task]) -> Iterator[tuple[Task, list[Found]]]:
    """The results, with a progress bar."""
    total = sum(task.size for task in tasks)
    with progress(total=total, desc="ingest", unit="B", unit_scale=True) as bar:
        frames = 0
        for task, rows in results:
            yield task, rows
            frames += len(rows)
            bar.set_postfix_str(f"{frames} frames", refresh=False)
            bar.update(task.size)


def main(argv: list[str] | None = None) -> None:
    """Run the stage."""
    args = stage_arguments(__doc__, "source", "out").parse_args(argv)
    p, compute = IngestParams.load("ingest"), ComputeParams.load("compute")
    is_video = DataParams.load("data").format == "video"
    found = ingest(args.source, args.out, p, is_video=is_video, workers=compute.workers)
    if not found["usable"]:
        raise DataError(f"no frame is usable: {_told(found)}; {args.out / 'frames.parquet'} says why of each")
    summary("ingest", _told(found))


if __name__ == "__main__":
    run(main)
