"""Event truth as JSON, one file a camera: a list of objects that were there, with when they came and went.

    [{"class": "person", "track_id": 1, "enter_s": 6.1, "leave_s": 19.7, "zone": "door", "condition": "night"}]

`track_id`, `zone` and `condition` may be left out. The camera is the file's name without suffix.
"""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from pipeline.core.config import Params
from pipeline.core.errors import DataError
from pipeline.core.events import TruthEvent
from pipeline.io.files import read_json
from pipeline.io.formats.record import listing

SHOWN = 10  # problems named in an error

Seconds = Annotated[float, Field(ge=0, le=1e9)]


class _Row(Params):
    label: str = Field(alias="class", min_length=1)
    track_id: int | str = ""
    enter_s: Seconds
    leave_s: Seconds
    zone: str = ""
    condition: str = ""

    @model_validator(mode="after")
    def _goes_after_it_comes(self) -> Self:
        if self.leave_s < self.enter_s:
            raise ValueError("leave_s must not be before enter_s")
        return self


def from_events(document: object, camera: str, where: str) -> list[TruthEvent]:
    """Events of one camera from the JSON's content.

    Raises:
        DataError: it is no list, or events are not as they must be; names them by their place in the list, from 0.
    """
    rows = listing(document, where)
    problems = [line for i, row in enumerate(rows) for line in _Row.problems(f"event {i}", row)]
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise DataError("\n  ".join([f"{where}: mend these events", *problems[:SHOWN], *more]))
    found = [_Row.model_validate(row) for row in rows]
    return [TruthEvent(camera, it.label, it.enter_s, it.leave_s, it.zone, it.condition) for it in found]


def read_events(path: Path) -> list[TruthEvent]:
    """Events of a file, or of all `.json` files below a folder, each named after its camera.

    Raises:
        DataError: there is no such file, two are of one camera, or one is not as it must be.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.json"))
    if not files:
        raise DataError(f"{path} holds no .json file of events; give the folder that holds one for each camera")
    cameras = [file.stem for file in files]
    if twice := sorted({name for name in cameras if cameras.count(name) > 1}):
        raise DataError(f"{path}: several files of events are named {twice[0]}.json; keep one for each camera")
    return [event for file in files for event in from_events(read_json(file), file.stem, str(file))]
