"""`sightline watch`: an exported model on live cameras, or on files as if they were."""

import argparse
from pathlib import Path

from pipeline.services.arguments import count

MODEL = Path("models/export/cpu")


def watch_command(args: argparse.Namespace) -> None:
    """Watch cameras with an exported model: motion, detection, tracks, alarms, each camera's health, until Ctrl-C.

    A source is an rtsp:// address, a video, a folder of pictures or clips, or the name of a camera in the site file;
    without any, all cameras of the site file that have a source. Metadata goes out where it is asked for, and holds no
    picture. A source that breaks ends with a message, and the others go on.

    Examples:
      sightline watch rtsp://192.0.2.7/main --model bundle.zip --site site.yaml --jsonl metadata
      sightline watch --site site.yaml --mqtt mqtts://broker.example --evidence evidence
      sightline watch data/demo/clips/lobby.mp4 data/demo/clips/lot_a.mp4 --loop --web 8080
    """
    from pipeline.services.watch_run import watch  # noqa: PLC0415 - opens FFmpeg's libraries

    watch(args)


def watch_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `watch`."""
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="address, file, folder, or camera of the site")
    parser.add_argument("--model", type=Path, default=MODEL, metavar="PATH", help=f"default: {MODEL}")
    parser.add_argument("--artifact", default="", metavar="NAME", help="of the contract's; default: its default")
    parser.add_argument("--threads", type=count, default=0, metavar="N", help="default: one a core")
    parser.add_argument("--site", type=Path, metavar="FILE", help="zones, lines and rules (default: all, everywhere)")
    parser.add_argument("--jsonl", type=Path, metavar="FOLDER", help="metadata as JSON lines")
    parser.add_argument("--onvif", type=Path, metavar="FOLDER", help="metadata as ONVIF Profile M scenes and events")
    parser.add_argument("--mqtt", metavar="URL", help="metadata to a broker, mqtt:// or mqtts://")
    parser.add_argument("--evidence", type=Path, metavar="FOLDER", help="a clip of each alarm, people blurred")
    parser.add_argument("--loop", action="store_true", help="play files over and over at their own speed, as cameras")
    parser.add_argument("--duration", type=_seconds, metavar="SECONDS", help="stop after so long")
    parser.add_argument("--web", type=_port, metavar="PORT", help="show the pictures to this machine's browser")
    parser.add_argument("--show-people", action="store_true", help="do not blur people in pictures")


def _seconds(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be above 0, got {value:g}")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 1 << 16:
        raise argparse.ArgumentTypeError(f"must be in 0..65535, got {value}")
    return value
