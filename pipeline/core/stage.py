"""What every stage's command line has in common."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline.core.errors import SightlineError


def stage_arguments(doc: str | None, *names: str) -> argparse.ArgumentParser:
    """A parser whose options are paths: `--frames PATH --out PATH`, all required.

    Args:
        doc: the stage module's docstring; its first line becomes the help text.
        names: options in the order of `dvc.yaml`.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in names:
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="PATH", help=f"path of {name}")
    return parser


def summary(stage: str, text: str) -> None:
    """One line that says what the stage found."""
    print(f"{stage}: {text}", flush=True)  # the stage's product at the terminal


def run(main: Callable[[], None]) -> None:
    """Run a command; end with exit code 2 and a plain message where the user can mend what is wrong."""
    try:
        main()
    except SightlineError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
