"""Which files a source folder holds, and whose camera's they are: by their folders, or by a manifest.csv."""

import csv
import math
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from pipeline.core.errors import DataError

MANIFEST = "manifest.csv"
COLUMNS = ("file", "camera", "clip", "timestamp_s")
SHOWN = 10  # problems named in an error


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to ingest."""

    path: Path  # where to open it
    name: str  # path below the root, POSIX style
    camera: str
    clip: str
    index: int = 0  # position in its clip, by time, then by name
    timestamp_s: float | None = None  # of a picture, or of a video's first frame; seconds
    refusal: str = ""  # why it must not be opened, as `key: details`
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source folder holds."""

    files: tuple[SourceFile, ...]  # by name
    ignored: Mapping[str, int]  # files that are not looked at: by suffix, or because no manifest row names them


def list_sources(root: Path, suffixes: Collection[str], *, video: bool) -> Listing:
    """Files below `root` with one of `suffixes` (lower case), links to elsewhere marked as refused.

    Without a manifest, a video's camera is its folder (its own stem directly below the root) and its clip the path
    without suffix; a picture's camera is the first folder below the root and its clip the whole folder, both `images`
    directly below the root. A `manifest.csv` at the root says it instead, file by file, and is the whole list.

    Raises:
        DataError: the folder is missing or holds no such file, or the manifest is wrong; names every problem.
    """
    if not root.is_dir():
        raise DataError(f"{root} is no folder; set data.path to the folder of your {'clips' if video else 'pictures'}")
    names = {_text(path.relative_to(root)): path for path in _walk(root)}
    found = {name: path for name, path in names.items() if PurePosixPath(name).suffix.lower() in suffixes}
    if not found:
        other = "data.format=images takes pictures" if video else "data.format=video takes videos"
        raise DataError(f"{root} holds none of {', '.join(sorted(suffixes))}; set data.path ({other})")
    ignored = Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in names.keys() - found.keys())
    by_folder = _video_place if video else _picture_place
    if MANIFEST in names:
        ignored[".csv"] -= 1
        files = _from_manifest(root / MANIFEST, found)
        ignored[f"not in {MANIFEST}"] = len(found) - len(files)
    else:
        files = [SourceFile(found[name], name, *by_folder(PurePosixPath(name))) for name in sorted(found)]
    if video:
        _one_file_a_clip(files)
    return Listing(_numbered([_checked(file, root) for file in files]), dict(sorted((+ignored).items())))


def _walk(root: Path) -> Iterator[Path]:
    """Every file and every link below the root; links to folders are named, not followed."""
    for folder, folders, files in os.walk(root):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        yield from (Path(folder) / name for name in [*files, *links])


def _text(path: Path) -> str:
    """The path as text that every file format can hold: bytes that are no UTF-8 are escaped."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _video_place(name: PurePosixPath) -> tuple[str, str]:
    return name.parent.name or name.stem, name.with_suffix("").as_posix()


def _picture_place(name: PurePosixPath) -> tuple[str, str]:
    folders = name.parent.parts or ("images",)
    return folders[0], "/".join(folders)


def _checked(file: SourceFile, root: Path) -> SourceFile:
    """Refuse what is no plain file, and what lies outside the root: a link may point at anything of this machine."""
    if not file.path.resolve().is_relative_to(root.resolve()):
        return replace(file, refusal="outside the source: the link leaves the folder; copy the file there")
    if not file.path.is_file():
        return replace(file, refusal="not a file: a broken link, a folder or a device")
    return file


def _numbered(files: list[SourceFile]) -> tuple[SourceFile, ...]:
    """Positions within each clip; the files by name."""
    counts: Counter[str] = Counter()
    numbered = []
    for file in sorted(files, key=lambda f: (f.timestamp_s or 0.0, f.name)):
        numbered.append(replace(file, index=counts[file.clip]))
        counts[file.clip] += 1
    return tuple(sorted(numbered, key=lambda f: f.name))


def _one_file_a_clip(files: list[SourceFile]) -> None:
    """Two videos of one clip would give two frames of one index."""
    counts = Counter(file.clip for file in files)
    twice = [f"{file.name} (clip {file.clip})" for file in files if counts[file.clip] > 1]
    if twice:
        raise DataError(f"several videos are one clip: {', '.join(twice[:SHOWN])}; rename them")


def _from_manifest(path: Path, found: Mapping[str, Path]) -> list[SourceFile]:
    """Files as the manifest's rows name them; all that is wrong is raised at once."""
    files: dict[str, SourceFile] = {}
    problems = []
    for line, row in _rows(path):
        problem = _problem(row, found, files)
        if problem:
            problems.append(f"  line {line}: {problem}")
        else:
            files[row["file"]] = _source(row, found)
    if problems:
        rest = [f"  and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise DataError("\n".join([f"{path}: {len(problems)} bad rows; correct them", *problems[:SHOWN], *rest]))
    if not files:
        raise DataError(f"{path} has no row; add one for each file, or delete it")
    return list(files.values())


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and stripped values of the manifest's rows. Raises DataError where it is no such table."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True, restval="")
            names = [name.strip() for name in reader.fieldnames or ()]
            rows = [(reader.line_num, list(row.values())) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} is no CSV file in UTF-8: {error}") from None
    missing = [name for name in COLUMNS if name not in names]
    if missing or len(set(names)) < len(names):
        what = f"lacks the column {', '.join(missing)}" if missing else "has a column twice"
        raise DataError(f"{path} {what}; expected {', '.join(COLUMNS)} and any others, got {', '.join(names)}")
    uneven = [str(line) for line, values in rows if len(values) != len(names)]
    if uneven:
        raise DataError(f"{path}: lines with more values than columns: {', '.join(uneven[:SHOWN])}; quote the commas")
    return [(line, dict(zip(names, map(str.strip, values), strict=True))) for line, values in rows]


def _problem(row: Mapping[str, str], found: Mapping[str, Path], files: Mapping[str, SourceFile]) -> str:
    """What is wrong with a row; "" where nothing is."""
    name = row["file"]
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        return f"{name!r} leaves the folder"
    if name not in found:
        return f"{name!r} is no such file below the folder"
    if name in files:
        return f"{name!r} is listed twice"
    if not row["camera"] or not row["clip"]:
        return f"{name!r} needs a camera and a clip"
    if row["timestamp_s"] and not _seconds(row["timestamp_s"]) >= 0:
        return f"timestamp_s must be seconds from 0 or empty, got {row['timestamp_s']!r}"
    return ""


def _seconds(text: str) -> float:
    """Finite seconds, or NaN."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _source(row: Mapping[str, str], found: Mapping[str, Path]) -> SourceFile:
    return SourceFile(
        path=found[row["file"]],
        name=row["file"],
        camera=row["camera"],
        clip=row["clip"],
        timestamp_s=_seconds(row["timestamp_s"]) if row["timestamp_s"] else None,
        attributes={key: row[key] for key in sorted(row) if key not in COLUMNS and row[key]},
    )
