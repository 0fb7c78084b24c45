"""conf/ to params.yaml: what DVC does on `dvc exp run`, for plain `dvc repro`, with the values checked first."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from pipeline.core.config import PARAMS, bad_values
from pipeline.core.errors import ConfigError
from pipeline.core.metrics import flatten
from pipeline.core.params import SECTIONS

CONF = Path("conf")
MISSING = "???"  # OmegaConf's mark of a value that must be given


def compose(overrides: Sequence[str] = (), conf: Path = CONF) -> str:
    """The text of params.yaml, byte for byte what `dvc exp run -S override ...` writes.

    Args:
        overrides: Hydra overrides: `model=ssdlite` chooses a group's option, `train.epochs=3` sets a value.
        conf: the folder of groups.

    Raises:
        ConfigError: an override names no group, option or key, or the files in `conf` do not compose.
    """
    from dvc.utils.hydra import compose_and_dump  # noqa: PLC0415 - half a second that only this command pays
    from hydra.errors import HydraException  # noqa: PLC0415
    from omegaconf.errors import OmegaConfBaseException  # noqa: PLC0415

    if not (conf / "config.yaml").is_file():
        raise ConfigError(f"{conf / 'config.yaml'} does not exist; run this from the root of the repository")
    root = conf.resolve().parent
    with TemporaryDirectory() as folder:
        out = Path(folder) / PARAMS.name
        try:
            compose_and_dump(str(out), str(conf.resolve()), None, "config", f"{root}/", list(overrides))
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(_explain(overrides, error)) from None
        return out.read_text(encoding="utf-8")


def _explain(overrides: Sequence[str], error: Exception) -> str:
    """Hydra's own words, without the search path, which names folders of this machine."""
    causes = [str(error), *([str(error.__cause__)] if error.__cause__ else [])]
    lines = "\n".join(causes).partition("Config search path")[0].splitlines()
    told = [re.sub(r"\s+", " ", line).strip() for line in lines]
    return "\n  ".join([f"{' '.join(overrides) or CONF} does not compose:", *dict.fromkeys(filter(None, told))])


def validate(values: Mapping[str, Any], origin: str = PARAMS.name) -> None:
    """Check every section at once.

    Raises:
        ConfigError: sections or keys are missing or unknown, or values are wrong or were never given; names them all.
    """
    lost = [key for key, value in flatten(dict(values)).items() if value == MISSING]
    lines = [f"{key}: must be given: sightline compose ... {key}=<value>" for key in lost]
    for name, model in SECTIONS.items():
        lines += model.problems(name, values[name]) if name in values else [f"{name}: missing; run: sightline compose"]
    lines += [f"{name}: no such section" for name in values if name not in SECTIONS]
    if lines:
        raise bad_values(origin, lines)


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What differs, a line a dotted key, in the order of the new values; keys that went come last."""
    old, new = flatten(dict(before)), flatten(dict(after))
    told = [
        f"{key}: {_show(old[key])} -> {_show(value)}" if key in old else f"{key}: {_show(value)} (new)"
        for key, value in new.items()
        if key not in old or old[key] != value
    ]
    return told + [f"{key}: {_show(value)} (gone)" for key, value in old.items() if key not in new]


def _show(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n...\n").strip()
