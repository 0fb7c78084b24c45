import os
import platform
import subprocess
import sys

import cv2
import pytest
import torch

from pipeline.modeling.device import autocast, device, on_device, resolve_precision, shared_cores


@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
def test_a_named_precision_is_kept(wanted: str) -> None:
    assert resolve_precision(wanted) == wanted


def test_auto_follows_the_hardware() -> None:
    has = torch.cpu.get_capabilities()
    native = torch.cuda.is_available() or bool(has.get("amx_bf16") or has.get("avx512_bf16"))
    assert resolve_precision("auto") == ("bf16" if native else "fp32")


def test_autocast_changes_the_products_type_only_for_bf16() -> None:
    a = torch.ones(2, 2)
    with autocast("bf16", torch.device("cpu")):
        assert (a @ a).dtype is torch.bfloat16
    with autocast("fp32", torch.device("cpu")):
        assert (a @ a).dtype is torch.float32


def test_a_model_goes_to_the_device_channels_last() -> None:
    layer = on_device(torch.nn.Conv2d(3, 8, 3), device())
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)


def test_cores_are_shared_and_given_back() -> None:
    network, opencv = torch.get_num_threads(), cv2.getNumThreads()
    with shared_cores():
        assert torch.get_num_threads() == max(1, network // 2)
        assert cv2.getNumThreads() == 1
    assert (torch.get_num_threads(), cv2.getNumThreads()) == (network, opencv)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")
def test_kept_memory_is_not_cleared_again() -> None:
    # Left to itself glibc guesses by what was freed before; here it starts by giving every tensor back. The first steps
    # do not count: in them the heap finds its shape.
    code = """if True:
        import resource, torch
        from pipeline.modeling.device import keep_memory
        def faults():
            for step in range(20):
                if step == 10:
                    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
                [torch.ones(4 << 20) for _ in range(8)]  # 8 of 16 MB: 32,768 pages
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        given_back = faults()
        assert keep_memory()
        print(given_back, faults())
    """
    told = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072"},
    ).stdout
    given_back, kept = map(int, told.split())
    assert kept < given_back / 10
