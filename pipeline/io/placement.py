"""Which frame each task is about; tasks that cannot be placed, or come twice, are counted or stop the stage."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from pipeline.core.errors import DataError
from pipeline.core.params import AnnotateParams
from pipeline.core.types import Frame
from pipeline.io.formats.lookup import FrameLookup
from pipeline.io.formats.record import Task, Timeline
from pipeline.io.formats.timeline import shifted_frames, still
from pipeline.io.images import orientation

TURNED = range(5, 9)  # EXIF orientations of pictures that are stored on their side
KEEP_FIRST = "set annotate.duplicate_task=count to keep the first"
EXAMPLES = 5  # tasks named for each kind of thing left out
ASPECT = 0.01  # a picture whose aspect ratio differs by more is another picture, or lies on its side

Stored = Callable[[Frame], bytes]  # reads a frame's bytes


@dataclass(slots=True)
class Tally:
    """What was left out, by kind, with the first tasks it happened in; and what was mended, by kind."""

    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    mended: Counter[str] = field(default_factory=Counter)

    def leave_out(self, kind: str, task: Task, count: int = 1) -> None:
        """Count something left out."""
        self.left_out[kind] += count
        tasks = self.examples.setdefault(kind, [])
        if len(tasks) < EXAMPLES and task.id not in tasks:
            tasks.append(task.id)

    def judge(self, policy: str, kind: str, task: Task, message: str) -> None:
        """Count it where the policy allows, else stop. Raises DataError with the message."""
        if policy == "error":
            raise DataError(message)
        self.leave_out(kind, task)


def place(
    tasks: Sequence[Task],
    frames: Sequence[Frame],
    p: AnnotateParams,
    tally: Tally,
    *,
    video: bool,
    stored: Stored | None = None,
) -> dict[str, Task]:
    """The task of each usable frame, by frame id. A frame's own task goes before the tasks of its duplicates.

    Args:
        tasks: as a format's reader gives them.
        frames: of ingest, usable or not.
        p: what to do where a task is not as it should be.
        tally: takes what was left out.
        video: whether the frames come from clips.
        stored: reads a frame's bytes, to tell a picture that lies on its side; without it, none does.

    Raises:
        DataError: a task is not as it should be and the parameters do not allow to count it; names task and way out.
    """
    usable = {frame.frame_id: frame for frame in frames if frame.usable}
    own: dict[str, Task] = {}
    lent: dict[str, Task] = {}
    first: dict[tuple[str, str, int], Task] = {}
    for task, found in _found(tasks, FrameLookup(frames, video=video), p, tally, stored):
        row = found.source, found.clip, found.index
        if first.setdefault(row, task) is not task:
            message = f"tasks {first[row].id} and {task.id} are the same frame; delete one, or {KEEP_FIRST}"
            tally.judge(p.duplicate_task, "second task of a frame", task, message)
            continue
        target = usable.get(found.frame_id if found.usable else found.duplicate_of or found.frame_id)
        if target is None:
            tally.leave_out("frame quarantined", task)
        elif target is found:
            own[target.frame_id] = task
        elif lent.setdefault(target.frame_id, task) is not task:
            tally.leave_out("frame is a duplicate of an annotated one", task)
    for frame_id in sorted(own.keys() & lent.keys()):
        tally.leave_out("frame is a duplicate of an annotated one", lent[frame_id])
    return lent | own


def _found(
    tasks: Sequence[Task], lookup: FrameLookup, p: AnnotateParams, tally: Tally, stored: Stored | None
) -> Iterator[tuple[Task, Frame]]:
    """Every annotated task with its row of the frame table; a clip's, with each of its frames that were ingested."""
    for task in _once(tasks, p, tally):
        if task.timeline:
            yield from _stills(task, task.timeline, lookup, p, tally)
        elif found := _find(task, lookup, p, tally, stored):
            yield task, found


def _stills(
    task: Task, line: Timeline, lookup: FrameLookup, p: AnnotateParams, tally: Tally
) -> Iterator[tuple[Task, Frame]]:
    """What a clip's task says about each frame; frames behind what its annotators were shown are not labelled."""
    frames = lookup.clip(task)
    if not frames:
        tally.judge(p.missing_frame, "no such frame", task, lookup.missing(task))
    elif shift := shifted_frames(line, frames):
        message = (
            f"task {task.id}: its frame numbers and those of clip {frames[0].clip} are {abs(shift)} apart at the end; "
            "set frameRate of the Video tag to the clip's rate and annotate again, or set annotate.missing_frame=count"
        )
        tally.judge(p.missing_frame, "clip of another frame rate", task, message)
    else:
        yield from ((still(task, f.index), f) for f in frames if line.frames is None or f.index < line.frames)


def _once(tasks: Sequence[Task], p: AnnotateParams, tally: Tally) -> Iterator[Task]:
    """Tasks that somebody annotated, each id once; what their format left out is counted."""
    seen: set[str] = set()
    for task in tasks:
        if task.id in seen:
            message = f"task {task.id} is there twice; export again, or {KEEP_FIRST}"
            tally.judge(p.duplicate_task, "task id used twice", task, message)
            continue
        seen.add(task.id)
        tally.mended.update(task.mended)
        for kind, count in task.left_out.items():
            tally.leave_out(kind, task, count)
        if task.versions:
            yield task
        else:
            tally.leave_out("task without annotation", task)


def _find(task: Task, lookup: FrameLookup, p: AnnotateParams, tally: Tally, stored: Stored | None) -> Frame | None:
    """The task's row of the frame table; None, and counted, where there is none or it looks different."""
    found = lookup.find(task)
    if found is None:
        why = lookup.missing(task) if p.missing_frame == "error" else ""  # it looks for names alike: not for every task
        tally.judge(p.missing_frame, "no such frame", task, why)
    elif found.usable and task.size and not _looks_as_annotated(task.size, found, stored):
        message = (
            f"task {task.id} was annotated on a picture of {task.size[0]}x{task.size[1]}, but its frame has "
            f"{found.width}x{found.height} upright; annotate the upright picture, or set annotate.missing_frame=count"
        )
        tally.judge(p.missing_frame, "frame of another shape", task, message)
        return None
    return found


def _looks_as_annotated(size: tuple[int, int], frame: Frame, stored: Stored | None) -> bool:
    """Whether a picture of this size can be the frame. Old exports give the size of the picture as it is stored.

    Percent are of the upright picture even then: that is what the browser has shown.
    """
    upright = frame.width, frame.height
    if _same_shape(size, upright):
        return True
    return stored is not None and _same_shape(size[::-1], upright) and orientation(stored(frame)) in TURNED


def _same_shape(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return abs(a[0] * b[1] - a[1] * b[0]) <= ASPECT * a[0] * b[1]
