"""Small detectors whose export is quick, and frames to judge them on."""

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.core.types import Truth
from pipeline.modeling.detector import Detector, Target
from pipeline.modeling.judge import Judge
from pipeline.modeling.onnx_graph import serialised
from pipeline.runtime.contract import Contract, InputContract, OutputContract
from pipeline.runtime.postprocess import select
from pipeline.runtime.preprocess import Placement

SIZE = (64, 32)  # width, height


class Tiny(Detector):
    """A point every 16 pixels."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__(classes)
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 4 + classes, 16, 16)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.decode(self.layer(images.float() / 255))

    def decode(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        x = maps.flatten(2).transpose(1, 2)
        corner, side = x[..., :2].sigmoid() * 16, x[..., 2:4].exp() * 8
        return torch.cat([corner, corner + side], -1), x[..., 4:].sigmoid()

    def loss(self, images: Tensor, targets: list[Target]) -> dict[str, Tensor]:
        raise NotImplementedError


class OneByOne(Tiny):
    """A loop over the pictures, which an exporter can only unroll."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        boxes, scores = zip(*(super(OneByOne, self).forward(image[None]) for image in images), strict=True)
        return torch.cat(boxes), torch.cat(scores)


class Deep(Tiny):
    """Two convolutions, a residual one and the last: three layers that can be integers, one that cannot."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__(classes)
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.mid = nn.Conv2d(8, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 8, 4, 4)
        self.layer = nn.Conv2d(8, 4 + classes, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(images.float() / 255 - 0.5).relu()
        x = x + self.mid(x).relu()
        return self.decode(self.layer(self.down(x).relu()))


def draft(score_floor: float = 0.1, max_detections: int = 100) -> Contract:
    """A contract without artifacts."""
    return Contract.model_construct(  # type: ignore[call-arg]  # the rest is for files that there are
        classes=("person", "vehicle"),
        input=InputContract(
            name="images", width=SIZE[0], height=SIZE[1], layout="NCHW", dtype="uint8", color="RGB", letterbox="centre",
            fill=114,
        ),
        output=OutputContract(
            boxes="boxes", scores="scores", score_floor=score_floor, nms_iou=0.6, max_detections=max_detections
        ),
    )  # fmt: skip


def noise(count: int) -> NDArray[np.uint8]:
    """Pictures (N, 3, H, W)."""
    return np.random.default_rng(0).integers(0, 256, (count, 3, SIZE[1], SIZE[0]), np.uint8)


def own_judge(graph: onnx.ModelProto, pictures: NDArray[np.uint8]) -> Judge:
    """The truth is what the graph finds best, so that its AP is 100 and all that differs costs."""
    contract, count, whole = draft(0.3, 1), len(pictures), Placement(1.0, 0, 0)
    boxes, scores = Judge(contract, pictures, [whole] * count, [SIZE] * count, []).run(serialised(graph))(pictures)
    found = [select(b, s, contract.output, whole, SIZE) for b, s in zip(boxes, scores, strict=True)]
    truths = [Truth(f.boxes, f.labels, np.zeros(len(f), np.bool_)) for f in found]
    return Judge(contract, pictures, [whole] * count, [SIZE] * count, truths)


def awake(model: Detector, images: Tensor) -> Detector:
    """A fresh network as if it had learned: norms measured on the images, and last layers that say something."""
    torch.manual_seed(0)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0
        elif isinstance(part, (nn.Conv2d, nn.Linear)) and float(part.weight.detach().std()) < 0.02:
            nn.init.xavier_normal_(part.weight)
    model.train()
    with torch.no_grad():
        model(images)
    return model.eval()
