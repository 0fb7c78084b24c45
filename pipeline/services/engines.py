"""`sightline engine ...`: TensorRT engines, which are built on the machine that runs them."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.core.stage import summary
from pipeline.runtime.engine_build import build
from pipeline.services.arguments import count

PRECISIONS = ("fp32", "fp16", "int8")
BATCH, WORKSPACE_MIB = 8, 2048


def build_command(args: argparse.Namespace) -> None:
    """Build a TensorRT engine of a kit for this machine's GPU, beside the kit.

    The kit is models/export/nvidia, or a copy of it that was carried here. The precision is that of the kit's graph; an
    engine fits this TensorRT, GPU and driver alone, and is refused with this command when one of them changes.

    Examples:
      sightline engine build models/export/nvidia
      sightline engine build nvidia --precision int8 --batch 1
    """
    path, card = build(args.kit, args.precision, args.batch, args.workspace)
    print(f"  TensorRT {card.tensorrt}, {card.gpu}, CUDA {card.driver}, {card.batch[0]} to {card.batch[2]} pictures")
    summary("engine", f"{card.artifact} in {card.precision} -> {path}")


def build_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `build`."""
    parser.add_argument("kit", type=Path, metavar="KIT", help="folder of the TensorRT target")
    parser.add_argument("--precision", choices=PRECISIONS, default="", help="of the kit's (default: its default)")
    parser.add_argument(
        "--batch", type=count, default=BATCH, metavar="N", help=f"most pictures in a run, tuned for (default {BATCH})"
    )
    parser.add_argument(
        "--workspace", type=count, default=WORKSPACE_MIB, metavar="MIB", help=f"for a kernel (default {WORKSPACE_MIB})"
    )


COMMANDS: Mapping[str, tuple[Callable[[argparse.Namespace], None], Callable[[argparse.ArgumentParser], None]]] = {
    "build": (build_command, build_arguments),
}
