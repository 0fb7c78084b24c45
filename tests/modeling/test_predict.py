import numpy as np
import torch
from torch import Tensor

from pipeline.modeling.detector import Detector, Target
from pipeline.modeling.predict import predict_with
from pipeline.runtime.contract import OutputContract

RULE = OutputContract(boxes="boxes", scores="scores", score_floor=0.1, nms_iou=0.5, max_detections=10)


class Bright(Detector):
    """Finds the whole input wherever the picture is bright."""

    def __init__(self) -> None:
        super().__init__(1)
        self.weight = torch.nn.Parameter(torch.ones(1))

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        raise NotImplementedError

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        boxes = torch.tensor([[0.0, 24, 64, 40]]).expand(len(images), 1, 4)
        return boxes, (images.float().amax((1, 2, 3)) > 200).float().reshape(-1, 1, 1) * self.weight


def test_detections_come_back_in_source_pixels_and_in_order() -> None:
    dark, bright = np.zeros((100, 400, 3), np.uint8), np.full((100, 400, 3), 255, np.uint8)
    items = [("a", dark), ("b", bright), ("c", dark), ("d", bright)]
    found = dict(predict_with(Bright(), items, target=(64, 64), rule=RULE, batch_size=3))
    assert list(found) == ["a", "b", "c", "d"]
    assert [len(d) for d in found.values()] == [0, 1, 0, 1]
    assert found["d"].boxes.round().tolist() == [[0, 0, 400, 100]]  # the letterboxed band is the whole source
