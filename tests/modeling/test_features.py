import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.modeling.detector import Detector, Target
from pipeline.modeling.features import backbone, views
from pipeline.modeling.zoo import BUILDERS, build
from pipeline.runtime.contract import OutputContract

RULE = OutputContract(boxes="boxes", scores="scores", score_floor=0.1, nms_iou=0.6, max_detections=10)


class Left(Detector):
    """Finds the left half of the picture, whatever it shows; its backbone gives the pixels and their halves."""

    def __init__(self) -> None:
        super().__init__(1)
        self.backbone = Halves()

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        raise NotImplementedError

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.backbone(images.float())
        box = torch.tensor([[0.0, 0.0, images.shape[3] / 2, images.shape[2]]])
        return box.expand(len(images), 1, 4), torch.full((len(images), 1, 1), 0.5)


class Halves(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x, x[:, :1] * self.scale]


def picture(width: int, height: int, *levels: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.broadcast_to(np.array(levels, np.uint8), (height, width, 3)).copy()


def test_boxes_in_the_mirror_come_back_to_the_other_side() -> None:
    (view,) = views(Left().eval(), [("f", picture(100, 50, 0, 0, 0))], target=(64, 32), rule=RULE, batch_size=4)
    assert view.frame_id == "f"
    assert view.found.boxes == pytest.approx(np.array([[0, 0, 50, 50]]))
    assert view.mirrored.boxes == pytest.approx(np.array([[50, 0, 100, 50]]))


def test_the_embedding_is_the_mean_of_each_channel_of_the_plain_picture() -> None:
    items = [(f"f{i}", picture(64, 32, 10 * i, 20, 30)) for i in range(3)]
    seen = list(views(Left().eval(), items, target=(64, 32), rule=RULE, batch_size=2))
    assert [view.frame_id for view in seen] == ["f0", "f1", "f2"]
    assert seen[2].embedding == pytest.approx([20, 20, 30, 10])
    assert seen[2].embedding.dtype == np.float32


@pytest.mark.parametrize("name", BUILDERS)
def test_every_detector_has_a_backbone_that_gives_maps(name: str) -> None:
    torch.manual_seed(0)
    size = (320, 320) if name == "ssdlite" else (64, 64)
    model = build(name, 2, size, "none").eval()
    rng = np.random.default_rng(0)
    items = [(str(i), rng.integers(0, 256, (60, 80, 3), np.uint8)) for i in range(2)]
    first, second = views(model, items, target=size, rule=RULE, batch_size=2)
    assert first.embedding.ndim == 1
    assert np.abs(first.embedding - second.embedding).max() > 0
    assert not backbone(model)._forward_hooks, "the hook is taken off again"
