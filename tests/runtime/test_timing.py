from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import SightlineError
from pipeline.io.images import encode_jpeg
from pipeline.runtime import timing
from pipeline.runtime.session import open_session
from tests.colours import pictures, write_model


@pytest.fixture
def files() -> list[bytes]:
    return [encode_jpeg(image, 90) for image in pictures(2)]


def test_percentiles_are_milliseconds() -> None:
    # 101 values 0..100 ms: numpy's percentile q of them is q milliseconds
    assert timing.percentiles(np.arange(101) / 1000) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}


def test_every_step_is_timed_and_they_add_up(tmp_path: Path, files: list[bytes]) -> None:
    session = open_session(write_model(tmp_path))
    assert timing.steps_of(session, files[0]).shape == (4,)
    told = timing.latency(session, files, pictures=4)
    assert set(told) == {"decode", "preprocess", "inference", "postprocess", "total"}
    assert all(0 < it["p50"] <= it["p95"] <= it["p99"] for it in told.values())
    assert told["total"]["p99"] >= max(told[name]["p50"] for name in timing.STEPS)


@pytest.mark.parametrize("streams", [1, 3])
def test_streams_share_the_pictures(tmp_path: Path, files: list[bytes], streams: int) -> None:
    session = open_session(write_model(tmp_path), threads=1, streams=streams)
    assert timing.throughput(session, files, 6, streams) > 0


def test_a_process_of_its_own_tells_what_it_needs(tmp_path: Path, files: list[bytes]) -> None:
    told = timing.fresh_start(write_model(tmp_path), "fp32", files[0])
    assert told["start_s"] is not None
    assert told["load_s"] is not None
    assert told["start_s"] > told["load_s"] > 0
    held = told["peak_mb"]
    assert held is None or 20 < held < 250  # Python alone takes 10 MB; the bound is what the runtime may need


def test_a_process_that_fails_says_why(tmp_path: Path, files: list[bytes]) -> None:
    with pytest.raises(SightlineError, match=r"contract\.json does not exist"):
        timing.fresh_start(tmp_path, "fp32", files[0])


@pytest.mark.parametrize(
    ("status", "megabytes"),
    [("VmHWM:\t  1024 kB\n", 1.0), ("VmRSS: 9 kB\n", None), ("", None)],
    ids=["told", "other lines", "nothing"],
)
def test_memory_is_read_from_what_linux_tells(status: str, megabytes: float | None) -> None:
    assert timing.peak_mb(status) == megabytes
