"""Start a stage as several processes that work together: by torchrun on this machine, or on a Ray cluster.

On several machines without Ray, type on each what `launch` runs on one, with torchrun's own `--nnodes` and
`--rdzv-endpoint`; the project's folder must be the same for all, as for Ray: a shared file system.
"""

import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.core.errors import ConfigError, SightlineError
from pipeline.core.params import ComputeParams

TORCHRUN = (sys.executable, "-m", "torch.distributed.run")


def launch(module: str, argv: Sequence[str], compute: ComputeParams) -> None:
    """Run a stage in `compute.processes` processes, and wait for them.

    Args:
        module: of the stage, as `python -m` names it.
        argv: its arguments.
        compute: section `compute`.

    Raises:
        SightlineError: a process failed; it has said why.
        ConfigError: the engine cannot be started.
    """
    if compute.engine == "ray":
        on_ray(module, argv, compute)
    else:
        by_torchrun(module, argv, compute.processes)


def by_torchrun(module: str, argv: Sequence[str], processes: int) -> None:
    """Run a stage in processes of this machine, which share its cores. Raises SightlineError where one failed."""
    threads = max(1, len(os.sched_getaffinity(0)) // processes)
    done = subprocess.run(
        [*TORCHRUN, "--standalone", f"--nproc-per-node={processes}", "-m", module, *argv],
        env={"OMP_NUM_THREADS": str(threads), "LOGLEVEL": "ERROR"} | os.environ,
        check=False,
    )
    if done.returncode:
        raise SightlineError(f"{module}: one of {processes} processes failed; what it said stands above")


def on_ray(module: str, argv: Sequence[str], compute: ComputeParams) -> None:
    """Run a stage as workers of Ray Train, on the cluster at `compute.address` or on one of this machine.

    Raises:
        SightlineError: a worker failed.
        ConfigError: Ray is not installed, or the cluster cannot be reached.
    """
    try:
        import ray  # noqa: PLC0415 - an extra, and seconds to import
        from ray.train import RunConfig, ScalingConfig, TrainingFailedError  # noqa: PLC0415
        from ray.train.torch import TorchTrainer  # noqa: PLC0415
    except ImportError:
        raise ConfigError("compute.engine=ray needs Ray; pip install 'sightline[ray]', or set compute=local") from None
    _connect(ray, compute)
    try:
        with tempfile.TemporaryDirectory(prefix=".ray-", dir=Path.cwd()) as folder:  # every node must see it
            TorchTrainer(
                _worker,
                train_loop_config={"module": module, "argv": list(argv), "folder": str(Path.cwd())},
                scaling_config=ScalingConfig(num_workers=compute.processes, use_gpu=_gpus(ray)),
                run_config=RunConfig(storage_path=folder),
            ).fit()
    except TrainingFailedError as error:
        raise SightlineError(f"{module}: a worker of Ray failed: {error}") from None
    finally:
        ray.shutdown()


def _connect(ray: Any, compute: ComputeParams) -> None:
    try:
        ray.init(address=compute.address or None, include_dashboard=False if not compute.address else None)
    except (ConnectionError, ValueError) as error:
        raise ConfigError(f"compute.address: no Ray cluster answers at {compute.address!r}: {error}") from None


def _gpus(ray: Any) -> bool:
    return bool(ray.cluster_resources().get("GPU"))


def _worker(config: dict[str, Any]) -> None:
    """What a worker of Ray does: be the stage, in the project's folder. Ray has let it join the others already."""
    os.chdir(config["folder"])
    sys.path.insert(0, config["folder"])
    importlib.import_module(config["module"]).main(config["argv"])
