import ctypes
import re

import numpy as np
import pytest

from pipeline.core.errors import SightlineError
from pipeline.runtime import cuda


def has_gpu() -> bool:
    try:
        return bool(ctypes.CDLL(cuda.LIBRARY).cuInit(0) == 0)
    except OSError:
        return False


def test_without_a_driver_it_says_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "LIBRARY", "libcuda-of-no-machine.so.1")
    with pytest.raises(SightlineError, match=r"libcuda-of-no-machine.so.1 is not there: .* install the driver"):
        cuda.Gpu()


@pytest.mark.skipif(not has_gpu(), reason="needs an NVIDIA GPU")
def test_bytes_come_back_from_the_gpu() -> None:
    gpu = cuda.Gpu()
    assert gpu.name
    assert re.fullmatch(r"\d+\.\d+", gpu.driver)
    sent = np.arange(256, dtype=np.uint8)
    address = gpu.allocate(sent.nbytes)
    gpu.upload(address, sent)
    found = np.zeros_like(sent)
    gpu.download(found, address)
    gpu.free(address)
    assert found.tolist() == sent.tolist()
    gpu.wait(gpu.stream())
