"""Which ingested frame a task means: by clip and frame index, or by the picture's path.

Paths are compared as text; the file system is never asked.
"""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from pipeline.core.errors import DataError
from pipeline.core.types import Frame
from pipeline.io.formats.record import Task

SHOWN = 4  # candidates named in an error


def frame_path(frame: Frame, *, video: bool) -> str:
    """The path by which other tools know a frame: its own file, or `<clip>/frame_000123.jpg` for one of a video."""
    return f"{frame.clip}/frame_{frame.index:06d}.jpg" if video else frame.source


class FrameLookup:
    """All frames of an ingest, by whatever a task may call them. A lookup's cost does not grow with their number."""

    def __init__(self, frames: Sequence[Frame], *, video: bool) -> None:
        self._video = video
        self._by_clip: dict[tuple[str, int], list[Frame]] = {}
        self._by_camera: dict[tuple[str, int], list[Frame]] = {}
        self._by_path: dict[str, list[Frame]] = {}
        self._by_tail: dict[str, list[Frame]] = {}
        for frame in frames:
            self._by_clip.setdefault((frame.clip, frame.index), []).append(frame)
            self._by_camera.setdefault((frame.camera, frame.index), []).append(frame)
            path = frame_path(frame, video=video)
            for name in (path, str(PurePosixPath(path).with_suffix(".*"))):
                self._by_path.setdefault(name, []).append(frame)
                for tail in _tails(name):
                    self._by_tail.setdefault(tail, []).append(frame)

    def find(self, task: Task) -> Frame | None:
        """The frame, or None where none fits.

        A frame index counts only for videos: in a folder of pictures it says where a file stands, not what it shows.
        A path fits a frame's if one of them ends with the whole of the other; the longest fit wins. So a picture of
        a camera that was not ingested is never taken for another camera's.

        Raises:
            DataError: several different pictures fit equally well.
        """
        for found in self._candidates(task):
            if len({frame.duplicate_of or frame.frame_id for frame in found}) == 1:
                return found[0]
            if found:
                names = sorted(frame_path(frame, video=self._video) for frame in found)
                shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
                raise DataError(
                    f"task {task.id}: {_called(task)} may be any of {shown}; give more of the path, or the clip"
                )
        return None

    def missing(self, task: Task) -> str:
        """Why a task has no frame, and the way out."""
        tails = {PurePosixPath(picture).name for picture in task.pictures}
        near = sorted({frame_path(f, video=self._video) for tail in tails for f in self._by_tail.get(tail, [])})
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
            yield self._by_path.get(picture, [])
            yield next((self._by_path[tail] for tail in _tails(picture) if tail in self._by_path), [])
            yield self._by_tail.get(picture, [])


def _tails(path: str) -> Iterator[str]:
    """The path without its first folder, its first two, and so on: a/b/c gives b/c, c."""
    while "/" in path:
        path = path.partition("/")[2]
        yield path


def _called(task: Task) -> str:
    if task.pictures:
        return repr(task.pictures[0])
    place = task.clip or task.camera
    return f"frame {task.frame_index} of {place!r}" if place else "named: it has no picture"
