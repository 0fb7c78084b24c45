"""params.yaml to frozen, strict models: all errors at once, by dotted key, with the offending value."""

import difflib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from pipeline.core.errors import ConfigError

PARAMS = Path("params.yaml")


class Params(BaseModel):
    """One section of params.yaml. Unknown keys and wrong types are errors."""

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
        """What is wrong with the section, a line a value, by dotted key; nothing where it is good."""
        try:
            cls.model_validate_json(_json(values))
        except ValidationError as error:
            return [_explain(section, e, cls) for e in error.errors()]
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


def _explain(section: str, error: ErrorDetails, model: type[BaseModel]) -> str:
    keys = [section, *map(str, error["loc"])]
    dotted = ".".join(keys)
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(keys[-1], _fields(model, error["loc"][:-1]), n=1)
        hint = f"; did you mean {'.'.join([*keys[:-1], close[0]])}?" if close else ""
        return f"{dotted}: no such key{hint}"
    if error["type"] == "missing":
        return f"{dotted}: missing"
    message = error["msg"].replace("Input should be", "must be").replace("greater than or equal to", "at least")
    message = message.replace("less than or equal to", "at most").removeprefix("Value error, ")
    return f"{dotted}: {message}, got {error['input']!r}"


def _fields(model: type[BaseModel], loc: Iterable[int | str]) -> list[str]:
    for key in loc:
        field = model.model_fields.get(str(key))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)
