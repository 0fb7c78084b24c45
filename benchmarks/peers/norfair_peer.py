"""norfair as a peer: an environment of its own, since it asks for an older numpy than ours, and the call."""

import json
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

ENVIRONMENT = Path(__file__).parents[2] / ".norfair"
NORFAIR = "norfair==2.3.0"
DRIVER = Path(__file__).with_name("norfair_driver.py")


def environment() -> Path:
    """Its interpreter; the environment is made at the first call."""
    python, ready = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "ready"
    if not ready.exists():
        print(f"making {ENVIRONMENT.name}/ with {NORFAIR}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", NORFAIR], check=True)
        ready.touch()
    return python


@cache
def driver() -> subprocess.Popen[str]:
    """The driver, which runs until this process ends."""
    return subprocess.Popen([environment(), DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(sequences: Sequence[Any], settings: dict[str, Any]) -> Any:
    """What the driver answers."""
    it = driver()
    if it.stdin is None or it.stdout is None:
        raise RuntimeError("the driver has no pipes")
    it.stdin.write(json.dumps({"sequences": sequences, "settings": settings}) + "\n")
    it.stdin.flush()
    return json.loads(it.stdout.readline())
