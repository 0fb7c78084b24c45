"""`sightline`: what people do by hand beside `dvc repro`."""

import argparse
import textwrap
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import yaml

from pipeline.core.config import PARAMS, read_params
from pipeline.core.errors import ConfigError
from pipeline.core.params import RegisterParams
from pipeline.core.stage import run, summary
from pipeline.io.files import write_bytes
from pipeline.services import ledger, tracking
from pipeline.services.bundling import COMMANDS as BUNDLES
from pipeline.services.comparing import compare_arguments, compare_command
from pipeline.services.composition import changes, compose, validate
from pipeline.services.dvc import repair
from pipeline.services.engines import COMMANDS as ENGINES
from pipeline.services.labelling import commands as labelling
from pipeline.services.predicting import predict_arguments, predict_command
from pipeline.services.watching import watch_arguments, watch_command


def compose_command(args: argparse.Namespace) -> None:
    """Compose conf/ into params.yaml for plain `dvc repro`.

    Without overrides it is the default configuration; nothing of an earlier composition stays. A composition that does
    not hold what the stages ask for is refused, and params.yaml stays as it was.

    Examples:
      sightline compose
      sightline compose model=ssdlite train.epochs=3
      sightline compose data=folder data.path=/site/frames data.labels.path=/site/export.json
      sightline compose experiment=smoke
    """
    text = compose(args.overrides)
    values = yaml.safe_load(text)
    validate(values)
    told = changes(_current(), values)
    write_bytes(PARAMS, text.encode())
    print("".join(f"  {line}\n" for line in told), end="")
    summary(PARAMS.name, f"{len(told)} value{'' if len(told) == 1 else 's'} changed" if told else "unchanged")


def _current() -> dict[str, object]:
    """The values in force; none where there are none that can be read."""
    try:
        return read_params()
    except ConfigError:
        return {}


def check_command(_: argparse.Namespace) -> None:
    """Check every section of params.yaml, and name all that is wrong at once.

    Examples:
      sightline check
    """
    values = read_params()
    validate(values)
    summary(PARAMS.name, f"{len(values)} sections are good")


def repair_command(_: argparse.Namespace) -> None:
    """Repair what a killed DVC run left behind: its read-write lock, and a half-written dvc.lock.

    It refuses while DVC is at work here. A command that outlived its killed run is named, never ended.

    Examples:
      sightline repair && dvc repro
    """
    told = repair(Path())
    print("".join(f"  {line}\n" for line in told), end="")
    summary("repair", f"{len(told)} finding{'' if len(told) == 1 else 's'}" if told else "nothing to repair")


def ledger_command(_: argparse.Namespace) -> None:
    """Print the ledger: what each iteration cost, and what it bought, from MLflow.

    Frames and labels are those added since the iteration before; minutes are of training.

    Examples:
      sightline ledger
    """
    model = RegisterParams.load("register").model
    with tracking.reachable():
        history = ledger.rows(tracking.connect(), model)
    if history:
        print(ledger.table(history))
    summary("ledger", f"{len(history)} iteration{'' if len(history) == 1 else 's'} of {model}")


def _overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("overrides", nargs="*", metavar="override", help="Hydra override, key=value")


def _nothing(_: argparse.ArgumentParser) -> None:
    """For commands without options."""


Command = tuple[Callable[[argparse.Namespace], None], Callable[[argparse.ArgumentParser], None]]
COMMANDS: Mapping[str, Command] = {
    "compose": (compose_command, _overrides),
    "check": (check_command, _nothing),
    "repair": (repair_command, _nothing),
    "ledger": (ledger_command, _nothing),
    "compare": (compare_command, compare_arguments),
    "predict": (predict_command, predict_arguments),
    "watch": (watch_command, watch_arguments),
    **BUNDLES,
}
GROUPS: Mapping[str, tuple[str, Mapping[str, Command]]] = {
    "labels": ("Annotate in Label Studio: set its project up, push frames, pull labels.", labelling.COMMANDS),
    "engine": ("Build TensorRT engines on the machine that runs them.", ENGINES),
}


def arguments() -> argparse.ArgumentParser:
    """The parser; each command's help is its docstring."""
    parser = argparse.ArgumentParser(prog="sightline", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add(commands, COMMANDS)
    for name, (first, members) in GROUPS.items():
        group = commands.add_parser(name, help=first, description=first)
        _add(group.add_subparsers(required=True, metavar="command"), members)
    return parser


def _add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", table: Mapping[str, Command]) -> None:
    for name, (command, add_arguments) in table.items():
        first, _, rest = (command.__doc__ or "").partition("\n\n")
        sub = commands.add_parser(
            name,
            help=first,
            description=first,
            epilog=textwrap.dedent(rest).strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(command=command)
        add_arguments(sub)


def main(argv: list[str] | None = None) -> None:
    """Run one command; exit code 2 and a plain message where the user can mend what is wrong."""
    args = arguments().parse_args(argv)
    run(partial(args.command, args))


if __name__ == "__main__":
    main()
