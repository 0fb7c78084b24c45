"""The little of CUDA's driver that running an engine needs. It comes with the driver: no package, no toolkit."""

import ctypes
from ctypes import byref, c_char, c_int, c_size_t, c_uint64, c_void_p

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import SightlineError

LIBRARY = "libcuda.so.1"
NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING


class Gpu:
    """The first GPU of the machine, in the context that all libraries of the process share.

    Raises:
        SightlineError: the machine has no NVIDIA driver or no GPU.
    """

    def __init__(self) -> None:
        try:
            self._cuda = ctypes.CDLL(LIBRARY)
        except OSError:
            raise SightlineError(
                f"{LIBRARY} is not there: TensorRT needs an NVIDIA GPU and its driver; install the driver of "
                "https://www.nvidia.com/drivers, or run another target's artifact"
            ) from None
        self._call("cuInit", 0)
        self._device, self._context = c_int(), c_void_p()
        self._call("cuDeviceGet", byref(self._device), 0)
        self._call("cuDevicePrimaryCtxRetain", byref(self._context), self._device)
        self.activate()

    def activate(self) -> None:
        """Use the GPU in this thread."""
        self._call("cuCtxSetCurrent", self._context)

    @property
    def name(self) -> str:
        """Of the product, as `nvidia-smi` says it."""
        text = (c_char * 256)()
        self._call("cuDeviceGetName", text, len(text), self._device)
        return text.value.decode()

    @property
    def driver(self) -> str:
        """The newest CUDA that the driver runs, `13.0`."""
        number = c_int()
        self._call("cuDriverGetVersion", byref(number))
        return f"{number.value // 1000}.{number.value % 1000 // 10}"

    def stream(self) -> int:
        """A new queue of work."""
        handle = c_void_p()
        self._call("cuStreamCreate", byref(handle), NON_BLOCKING)
        return handle.value or 0

    def wait(self, stream: int) -> None:
        """Wait until the queue is empty."""
        self._call("cuStreamSynchronize", c_void_p(stream))

    def allocate(self, size: int) -> int:
        """Address of `size` bytes on the GPU."""
        address = c_uint64()
        self._call("cuMemAlloc_v2", byref(address), c_size_t(size))
        return address.value

    def free(self, address: int) -> None:
        """Give memory back."""
        self._call("cuMemFree_v2", c_uint64(address))

    def upload(self, address: int, values: NDArray[np.uint8]) -> None:
        """Copy a contiguous array to the GPU."""
        self._call("cuMemcpyHtoD_v2", c_uint64(address), c_void_p(values.ctypes.data), c_size_t(values.nbytes))

    def download(self, values: NDArray[np.generic], address: int) -> None:
        """Copy from the GPU into a contiguous array."""
        self._call("cuMemcpyDtoH_v2", c_void_p(values.ctypes.data), c_uint64(address), c_size_t(values.nbytes))

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._cuda, name)(*arguments)
        if code:
            raise SightlineError(f"CUDA's driver: {name} failed with code {code}; look at nvidia-smi")
