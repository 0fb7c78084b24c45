"""Which ingested frame or clip a task means: by the frame's id, by clip and frame index, or by the file's path.

Paths are compared as text; the file system is never asked.
"""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Generic, TypeVar

from pipeline.core.errors import DataError
from pipeline.core.types import Frame
from pipeline.io.formats.record import Task

SHOWN = 4  # candidates named in an error
T = TypeVar("T")


def frame_path(frame: Frame, *, video: bool) -> str:
    """The path by which other tools know a frame: its own file, or `<clip>/frame_000123.jpg` for one of a video."""
    return f"{frame.clip}/frame_{frame.index:06d}.jpg" if video else frame.source


class PathIndex(Generic[T]):
    """Things by path. A path fits another if one of them ends with the whole of the other."""

    def __init__(self) -> None:
        self._whole: dict[str, list[T]] = {}
        self._ends: dict[str, list[T]] = {}

    def add(self, path: str, thing: T) -> None:
        """Make it known under the path and every end of it."""
        self._whole.setdefault(path, []).append(thing)
        for tail in _tails(path):
            self._ends.setdefault(tail, []).append(thing)

    def fits(self, path: str) -> Iterator[list[T]]:
        """What fits the path, the longest fit first."""
        yield self._whole.get(path, [])
        yield next((self._whole[tail] for tail in _tails(path) if tail in self._whole), [])
        yield self._ends.get(path, [])

    def ending(self, name: str) -> list[T]:
        """Everything below some folder whose path ends so."""
        return self._ends.get(name, [])


class FrameLookup:
    """All frames of an ingest, by whatever a task may call them. A lookup's cost does not grow with their number."""

    def __init__(self, frames: Sequence[Frame], *, video: bool) -> None:
        self._video = video
        self._by_id: dict[str, Frame] = {}
        self._by_clip: dict[tuple[str, int], list[Frame]] = {}
        self._by_camera: dict[tuple[str, int], list[Frame]] = {}
        self._by_path: PathIndex[Frame] = PathIndex()
        self._clips: dict[str, list[Frame]] = {}
        for frame in frames:
            if frame.frame_id and (frame.usable or frame.frame_id not in self._by_id):
                self._by_id[frame.frame_id] = frame
            self._by_clip.setdefault((frame.clip, frame.index), []).append(frame)
            self._by_camera.setdefault((frame.camera, frame.index), []).append(frame)
            self._clips.setdefault(frame.clip, []).append(frame)
            path = frame_path(frame, video=video)
            for name in (path, str(PurePosixPath(path).with_suffix(".*"))):
                self._by_path.add(name, frame)
        self._clip_files: PathIndex[str] = PathIndex()
        for clip, shown in self._clips.items():
            self._clip_files.add(_without_suffix(shown[0].source), clip)

    def find(self, task: Task) -> Frame | None:
        """The frame, or None where none fits.

        The frame's id goes before all else, where the source knows it and it is one of this ingest. A frame index
        counts only for videos: in a folder of pictures it says where a file stands, not what it shows. A path fits a
        frame's if one of them ends with the whole of the other; the longest fit wins. So a picture of a camera that
        was not ingested is never taken for another camera's.

        Raises:
            DataError: several different pictures fit equally well.
        """
        if task.frame_id in self._by_id:
            return self._by_id[task.frame_id]
        for found in self._candidates(task):
            if len({frame.duplicate_of or frame.frame_id for frame in found}) == 1:
                return found[0]
            if found:
                self._refuse(task, {frame_path(frame, video=self._video) for frame in found})
        return None

    def clip(self, task: Task) -> list[Frame]:
        """The frames of the task's clip, by index; none where no clip fits, or where the frames are no video's.

        Its name goes before its file's path, which is compared without suffix: clips are often converted.

        Raises:
            DataError: several clips fit equally well.
        """
        if not self._video:
            return []
        names = [task.clip] if task.clip in self._clips else []
        paths = [_without_suffix(picture) for picture in task.pictures]
        for found in [names, *(fit for path in paths for fit in self._clip_files.fits(path))]:
            if len(set(found)) > 1:
                self._refuse(task, set(found))
            if found:
                shown = (frame for frame in self._clips[found[0]] if frame.index >= 0)
                return sorted(shown, key=lambda frame: frame.index)
        return []

    def _refuse(self, task: Task, candidates: set[str]) -> None:
        names = sorted(candidates)
        shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        raise DataError(f"task {task.id}: {_called(task)} may be any of {shown}; give more of the path, or the clip")

    def missing(self, task: Task) -> str:
        """Why a task has no frame, and the way out."""
        tails = {PurePosixPath(picture).name for picture in task.pictures}
        near = sorted({frame_path(f, video=self._video) for tail in tails for f in self._by_path.ending(tail)})
        hint = f" (of that name there is {', '.join(near[:SHOWN])})" if near else ""
        return (
            f"task {task.id}: no frame of this data set is {_called(task)}{hint}; "
            "ingest it, delete the task, or set annotate.missing_frame=count"
        )

    def _candidates(self, task: Task) -> Iterator[list[Frame]]:
        if self._video and task.frame_index is not None:
            by_name = self._by_clip if task.clip else self._by_camera
            found = by_name.get((task.clip or task.camera, task.frame_index), [])
            yield found if len(found) == 1 or not task.pictures else []  # a path can tell a camera's clips apart
        for picture in task.pictures:
            yield from self._by_path.fits(picture)


def _without_suffix(path: str) -> str:
    pure = PurePosixPath(path)
    return pure.with_suffix("").as_posix() if pure.name else path


def _tails(path: str) -> Iterator[str]:
    """The path without its first folder, its first two, and so on: a/b/c gives b/c, c."""
    while "/" in path:
        path = path.partition("/")[2]
        yield path


def _called(task: Task) -> str:
    if task.pictures:
        return repr(task.pictures[0])
    place = task.clip or task.camera
    if place and task.frame_index is None:
        return repr(place)
    return f"frame {task.frame_index} of {place!r}" if place else "named: it has no picture"
