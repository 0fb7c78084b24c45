"""site.yaml: what each camera is to report: classes and their limits, zones, lines, and when an alarm is raised.

Coordinates are fractions of the upright picture, from its upper left corner, y down.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from pipeline.core.config import Params, bad_values, nearest, parse_yaml, shown
from pipeline.core.errors import ConfigError
from pipeline.core.params import Fraction
from pipeline.runtime.zones import TINY, Floats, Mask, fault, feet, inside

SITE = Path("site.yaml")
MAX_BYTES = 1 << 20  # thousands of cameras
HOUR = 3600.0

Point = tuple[Fraction, Fraction]


def _polygon(corners: tuple[Point, ...]) -> tuple[Point, ...]:
    if reason := fault(np.array(corners, np.float64).reshape(-1, 2)):
        raise ValueError(reason)
    return corners


def _name(text: str) -> str:
    if not re.fullmatch(r"(?![. ])[^/\\+#\x00-\x1f\x7f]{1,64}", text):  # it becomes a folder's name and part of a topic
        raise ValueError("must be 1 to 64 characters, none of / \\ + #, and must not begin with a dot or a space")
    return text


Polygon = Annotated[tuple[Point, ...], Field(max_length=200), AfterValidator(_polygon)]
Name = Annotated[str, AfterValidator(_name)]
Mode = Literal["conservative", "sensitive"]
Seconds = Annotated[float, Field(ge=0, le=HOUR)]


class ClassRule(Params):
    """When an object of a class counts."""

    threshold: Fraction | None = None  # the least score; None for the contract's operating threshold
    min_height: Fraction = 0.0  # share of the picture's height
    min_duration_s: Seconds = 0.5  # so long it must be seen there before the alarm is raised


class Rules(Params):
    """What holds for a camera. In a camera's own rules, only the keys that are given count."""

    classes: dict[str, ClassRule] = Field(default_factory=dict)  # a class that is not named is not reported
    mode: Mode = "conservative"  # whether motion alone is only recorded, or alarms too (sensitive)
    cooldown_s: Seconds = 5.0  # the same class in the same zone within this time goes on with its event

    def changed(self, own: "Rules") -> "Rules":
        """These rules with the keys that `own` gives in their place, class by class."""
        classes = dict(self.classes)
        for name, rule in own.classes.items():
            classes[name] = _changed(classes.get(name, ClassRule()), rule)
        return _changed(self, own).model_copy(update={"classes": classes})


P = TypeVar("P", bound=Params)


def _changed(base: P, own: P) -> P:
    return base.model_copy(update={key: getattr(own, key) for key in own.model_fields_set})


class Zone(Params):
    """A part of the picture: alarms come only from include zones, never from exclude zones."""

    name: Name
    kind: Literal["include", "exclude"]
    classes: tuple[str, ...] = ()  # to which it applies; none named: to all
    polygon: Polygon

    @property
    def corners(self) -> Floats:
        """The polygon as (M, 2)."""
        return np.array(self.polygon, np.float64)


class Line(Params):
    """A line that objects may cross."""

    name: Name
    start: Point = Field(alias="from")
    end: Point = Field(alias="to")
    direction: Literal["both", "left_to_right", "right_to_left"] = "both"  # seen from `from`, looking to `to`

    @model_validator(mode="after")
    def _has_a_length(self) -> Self:
        if self.start == self.end:
            raise ValueError("`from` and `to` must be two different points")
        return self


class Camera(Params):
    """What one camera has of its own."""

    source: str | None = Field(default=None, repr=False)  # may hold a password
    rules: Rules = Rules()
    zones: Annotated[tuple[Zone, ...], Field(max_length=100)] = ()
    lines: Annotated[tuple[Line, ...], Field(max_length=100)] = ()


@dataclass(frozen=True, slots=True)
class CameraRules:
    """What holds for one camera, defaults filled in."""

    classes: Mapping[str, ClassRule]
    mode: Mode = "conservative"
    cooldown_s: float = 5.0
    zones: tuple[Zone, ...] = ()
    lines: tuple[Line, ...] = ()

    def counts(self, label: str, boxes: Floats) -> Mask:
        """Which objects (N,) of a class count anywhere: tall enough, and not in an exclude zone; `places` says more."""
        tall = boxes[:, 3] - boxes[:, 1] >= self.classes[label].min_height - TINY
        for zone in self._zones("exclude", label):
            tall = tall & ~inside(feet(boxes), zone.corners)
        return tall

    def places(self, label: str, boxes: Floats) -> dict[str, Mask]:
        """Which objects of a class count in which zone; the truth of a field test is judged by the same rule.

        Args:
            label: the class's name.
            boxes: (N, 4) xyxy in fractions of the picture.

        Returns:
            By name of the include zone, a mask (N,); for a class without one, the whole picture is the zone "". Nothing
            for a class that is not reported.
        """
        if label not in self.classes:
            return {}
        counts, zones = self.counts(label, boxes), self._zones("include", label)
        return {zone.name: counts & inside(feet(boxes), zone.corners) for zone in zones} or {"": counts}

    def _zones(self, kind: str, label: str) -> list[Zone]:
        return [it for it in self.zones if it.kind == kind and (not it.classes or label in it.classes)]

    def check(self, camera: str, known: Iterable[str]) -> None:
        """Whether a model with the classes `known` can do this.

        Raises:
            ConfigError: a class is none of the model's, or none is named though motion alone raises no alarm.
        """
        if lines := self.unfit(camera, tuple(known)):
            raise bad_values(SITE.name, lines)

    def unfit(self, camera: str, known: tuple[str, ...]) -> list[str]:
        """What of this a model with the classes `known` cannot do, a line each."""
        if not self.classes and self.mode == "conservative":
            return [f"cameras.{camera}: no class is named, so nothing could alarm; name one of {', '.join(known)}"]
        return [
            f"cameras.{camera}: the rules name class {name!r}, which the model does not have; {_way_out(name, known)}"
            for name in self.classes
            if name not in known
        ]


def _way_out(name: str, known: Iterable[str]) -> str:
    close = nearest(name, known)
    return f"did you mean {close!r}?" if close else f"take it out, or train one: it has {', '.join(known)}"


class Site(Params):
    """The whole of site.yaml."""

    version: Literal[1]
    rules: Rules = Rules()
    cameras: dict[Name, Camera] = Field(default_factory=dict)

    def camera(self, name: str) -> CameraRules:
        """The rules of a camera; one that is not named has the defaults, and the whole picture for a zone."""
        own = self.cameras.get(name, Camera())
        rules = self.rules.changed(own.rules)
        return CameraRules(rules.classes, rules.mode, rules.cooldown_s, own.zones, own.lines)

    def check(self, known: Iterable[str], cameras: Iterable[str] = ()) -> None:
        """Whether a model with the classes `known` can do what is asked of the named cameras and those of the site.

        Raises:
            ConfigError: it cannot; names every class of every camera at once.
        """
        classes = tuple(known)
        names = dict.fromkeys([*self.cameras, *cameras])
        lines = [line for name in names for line in self.camera(name).unfit(name, classes)]
        if lines:
            raise bad_values(SITE.name, lines)

    @classmethod
    def default(cls, classes: Iterable[str]) -> "Site":
        """Every class, anywhere in the picture, of any camera."""
        return cls(version=1, rules=Rules(classes={name: ClassRule() for name in classes}))

    def misfits(self) -> list[str]:
        """Names given twice in a camera, and zones of classes without a rule."""
        return [line for name in self.cameras for line in self._misfits(name)]

    def _misfits(self, camera: str) -> list[str]:
        it = self.camera(camera)
        marks: list[tuple[str, Zone | Line]] = [
            *((f"cameras.{camera}.zones.{i}", zone) for i, zone in enumerate(it.zones)),
            *((f"cameras.{camera}.lines.{i}", line) for i, line in enumerate(it.lines)),
        ]
        names = [mark.name for _, mark in marks]
        twice = [
            f"{key}.name: must be the only one of its camera, got {mark.name!r} again"
            for i, (key, mark) in enumerate(marks)
            if mark.name in names[:i]
        ]
        strange = [
            f"cameras.{camera}.zones.{i}.classes.{j}: the camera has no rule for {shown(name)}; "
            f"{_rule_for(name, it.classes)}"
            for i, zone in enumerate(it.zones)
            for j, name in enumerate(zone.classes)
            if name not in it.classes
        ]
        return twice + strange


def _rule_for(name: str, known: Iterable[str]) -> str:
    close = nearest(name, known)
    return f"did you mean {close!r}?" if close else "name it under rules.classes"


def read_site(path: Path) -> Site:
    """The site of a file.

    Raises:
        ConfigError: the file is missing, too large, no YAML, or values are wrong; names every one of them.
    """
    return Site.parse("", parse_yaml(_bounded(path), str(path)), str(path))


def _bounded(path: Path) -> bytes:
    if not path.is_file():
        raise ConfigError(f"{path} is no file; give the path of a site.yaml (docs/events.md says what stands in it)")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path} has more than {MAX_BYTES} bytes; split the site over several processes")
    return data
