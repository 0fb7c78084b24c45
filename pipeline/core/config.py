"""params.yaml to frozen, strict models: all errors at once, by dotted key, with the offending value.

Other files that people write, as site.yaml, are read with the same models and so get the same messages.
"""

import difflib
import json
import re
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from pipeline.core.errors import ConfigError

PARAMS = Path("params.yaml")
LONGEST = 200  # characters of a bad value that are shown
URL = re.compile(r"(\w+://)[^\s'\"]+")  # may hold a password


class Params(BaseModel):
    """One section of params.yaml, or a part of one. Unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def load(cls, section: str, path: Path = PARAMS) -> Self:
        """The section of the file.

        Raises:
            ConfigError: the file or section is missing, or values are wrong; names every one of them.
        """
        return cls.parse(section, read_params(path).get(section), path.name)

    @classmethod
    def parse(cls, section: str, values: object, origin: str = PARAMS.name) -> Self:
        """The section from a plain mapping. Raises ConfigError as `load` does."""
        if values is None:
            raise ConfigError(f"{origin}: section {section!r} is missing; run: sightline compose")
        if lines := cls.problems(section, values):
            raise bad_values(origin, lines)
        return cls.model_validate_json(_json(values))

    @classmethod
    def problems(cls, section: str, values: object) -> list[str]:
        """What is wrong with the section, a line a value, by dotted key; nothing where it is good.

        The section "" is a whole file: its keys stand for themselves.
        """
        try:
            return cls.model_validate_json(_json(values)).misfits()
        except ValidationError as error:
            return [_explain(section, e, cls) for e in error.errors()]

    def misfits(self) -> list[str]:
        """What does not fit together though each value is good, a line each; for a model that has such rules."""
        return []


def bad_values(origin: str, lines: Sequence[str]) -> ConfigError:
    """One error for all of them."""
    count = f"{len(lines)} bad value{'s' if len(lines) > 1 else ''}"
    return ConfigError("\n  ".join([f"{origin}: {count}", *lines]))


def _json(values: object) -> str:
    """As JSON, so that a YAML list may fill a tuple and nothing else bends; a YAML date is its text."""
    return json.dumps(values, default=str)


def read_params(path: Path = PARAMS) -> dict[str, Any]:
    """The whole file as plain mappings. Raises ConfigError where it is missing or no mapping."""
    try:
        values = yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing; run: sightline compose") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}; run: sightline compose") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no sections; run: sightline compose")
    return values


def parse_yaml(data: bytes, origin: str) -> dict[str, Any]:
    """Plain mappings from a YAML file that people write, with keys as they stand there (`on` is "on", not true).

    Raises:
        ConfigError: it is no YAML, no mapping, names a key twice, or holds a tag or an alias.
    """
    try:
        values = yaml.load(data, _PlainLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{origin} is not YAML that can be read: {_told(error)}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{origin} holds no keys")
    return values


def _told(error: Exception) -> str:
    """What and where, without the lines about it, which the parser would quote with what they hold."""
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error)
    return URL.sub(r"\1...", f"line {mark.line + 1}, column {mark.column + 1}: {what}" if mark else what)


class _PlainLoader(yaml.SafeLoader):
    """Mappings, lists and plain values, nothing else: aliases can make gigabytes of a small file."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None):
            raise yaml.constructor.ConstructorError(
                problem="aliases and tags are not allowed; write the value itself", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        values: dict[Hashable, Any] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            if not name or name in values:
                problem = f"the key {name!r} stands here twice" if name else "a key must be a word"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
            values[name] = self.construct_object(value, deep=deep)
        return values


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like this one; "" where none is.

    >>> nearest("persn", ["person", "vehicle"])
    'person'
    """
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), "")


def shown(value: object) -> str:
    """A bad value as it may be shown: not too long, and without what an address may hold.

    >>> shown("rtsp://admin:secret@10.0.0.7/stream")
    "'rtsp://...'"
    """
    text = URL.sub(r"\1...", repr(value))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _explain(section: str, error: ErrorDetails, model: type[BaseModel]) -> str:
    keys = [*([section] if section else []), *map(str, error["loc"])]
    dotted = ".".join(keys)
    if error["type"] == "extra_forbidden":
        close = nearest(keys[-1], _fields(model, error["loc"][:-1]))
        hint = f"; did you mean {'.'.join([*keys[:-1], close])}?" if close else ""
        return f"{dotted}: no such key{hint}"
    if error["type"] == "missing":
        return f"{dotted}: missing"
    message = error["msg"].replace("Input should be", "must be").replace("greater than or equal to", "at least")
    message = message.replace("less than or equal to", "at most").removeprefix("Value error, ")
    message = re.sub(r"^(Tuple|String|List|Dictionary) should have", "must have", message)
    return f"{dotted}: {message.replace(' after validation', '')}, got {shown(error['input'])}"


def _fields(model: type[BaseModel], loc: Iterable[int | str]) -> list[str]:
    """The keys that the model knows at a place in it, below its lists and mappings too."""
    inner: Any = model
    for key in loc:
        inner = _below(inner, str(key))
    return [it.alias or name for name, it in inner.model_fields.items()] if _is_model(inner) else []


def _below(kind: Any, key: str) -> Any:
    """What stands under a key: a model's field, or what a list or a mapping holds."""
    if not _is_model(kind):
        return next((it for it in reversed(get_args(kind)) if _is_model(it) or get_args(it)), None)
    return next((it.annotation for name, it in kind.model_fields.items() if key in {name, it.alias}), None)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
