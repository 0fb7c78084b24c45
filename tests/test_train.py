import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.core.config import read_params
from pipeline.core.errors import SightlineError
from pipeline.core.params import DataParams, InputParams, ModelParams, TrainParams
from pipeline.core.types import Truth
from pipeline.modeling.detector import Detector, Target
from pipeline.modeling.loop import Trained
from pipeline.modeling.zoo import ModelCard, build, load
from pipeline.train import Settings, Validation, alone, fingerprint, write

ROOT = Path(__file__).parents[1]


def settings(**train: Any) -> Settings:
    params = read_params(ROOT / "params.yaml")
    return Settings(
        InputParams.parse("input", {"width": 64, "height": 64}),
        DataParams.parse("data", params["data"]),
        ModelParams.parse("model", params["model"]),
        TrainParams.parse("train", params["train"] | train),
    )


def test_the_fingerprint_follows_what_decides_the_result(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"one")
    first = fingerprint(settings(), [tmp_path])
    assert fingerprint(settings(), [tmp_path]) == first
    assert fingerprint(settings(seed=1), [tmp_path]) != first
    (tmp_path / "a.npy").write_bytes(b"two")
    assert fingerprint(settings(), [tmp_path]) != first


def test_two_trainings_never_share_a_state(tmp_path: Path) -> None:
    holder = "import sys; from pathlib import Path; from pipeline.train import alone\n"
    holder += "with alone(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(SightlineError, match="another training"), alone(tmp_path):
            pass
        other.kill()
    with alone(tmp_path) as state:  # a killed holder leaves nothing behind
        assert state.parent == tmp_path


class Oracle(Detector):
    """Finds exactly what it is told."""

    def __init__(self, box: list[float], score: float) -> None:
        super().__init__(2)
        self.box = torch.nn.Parameter(torch.tensor(box))
        self.score = score

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        raise NotImplementedError

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        n = len(images)
        return self.box.detach().expand(n, 1, 4), torch.tensor([self.score, 0.0]).expand(n, 1, 2)


@pytest.mark.parametrize(
    ("box", "score", "ap50"),
    [
        pytest.param([8.0, 8, 40, 40], 0.9, 1.0, id="found"),
        pytest.param([40.0, 40, 60, 60], 0.9, 0.0, id="elsewhere"),
        pytest.param([8.0, 8, 40, 40], 0.0, 0.0, id="nothing found"),
    ],
)
def test_validation_is_coco_ap_of_the_split(box: list[float], score: float, ap50: float) -> None:
    truth = Truth(np.array([[8, 8, 40, 40]], np.float32), np.array([0]), np.array([False]), ({},))
    validation = Validation([("a", np.zeros((64, 64, 3), np.uint8))], {"a": truth}, settings())
    assert validation(Oracle(box, score))["val/AP50"] == pytest.approx(ap50)


def test_what_is_written_loads_again(tmp_path: Path) -> None:
    weights = dict(build("nano", 2, (64, 64), "none").state_dict())
    rows = [{"epoch": 1, "loss": 0.5, "val/AP": 0.25}]
    card = ModelCard(name="nano", classes=("person", "vehicle"), width=64, height=64)
    write(tmp_path / "out", Trained(weights, weights, 1, rows, 2.0), card, epochs=1)
    assert load(tmp_path / "out").classes == 2
    assert (tmp_path / "out/curves.jsonl").read_text() == '{"epoch": 1, "loss": 0.5, "val/AP": 0.25}\n'
