import numpy as np
import pytest
import torch

from pipeline.modeling.detector import Detector, Target, to_batch
from pipeline.modeling.zoo import BUILDERS, build


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("boxes", [pytest.param([[8.0, 8, 40, 56]], id="object"), pytest.param([], id="empty")])
def test_every_loss_is_finite_and_reaches_every_weight(name: str, boxes: list[list[float]]) -> None:
    torch.manual_seed(0)
    model: Detector = build(name, 2, (96, 64), "none")
    target = Target(
        torch.tensor(boxes).reshape(-1, 4),
        torch.zeros(len(boxes), dtype=torch.long),
        torch.zeros(len(boxes), dtype=torch.bool),
    )
    images = torch.randint(0, 255, (2, 3, 64, 96), dtype=torch.uint8)
    loss = torch.stack(list(model.loss(images, [target, target]).values())).sum()
    assert torch.isfinite(loss)
    loss.backward()  # type: ignore[no-untyped-call]
    if boxes:
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)


def test_a_batch_is_channels_last() -> None:
    batch = to_batch([np.zeros((8, 16, 3), np.uint8)] * 2)
    assert batch.shape == (2, 3, 8, 16)
    assert batch.is_contiguous(memory_format=torch.channels_last)
