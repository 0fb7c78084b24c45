"""Every detector by name, and how a trained one is kept: `model.json` beside safetensors."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.core.errors import DataError
from pipeline.modeling.detector import Detector
from pipeline.modeling.dfine import Dfine
from pipeline.modeling.fasterrcnn import FasterRcnn
from pipeline.modeling.fcos import Fcos
from pipeline.modeling.hog_svm import HogSvm
from pipeline.modeling.nano import SMALL, Nano
from pipeline.modeling.retinanet import RetinaNet
from pipeline.modeling.ssdlite import SsdLite
from pipeline.modeling.state import load_tensors

BUILDERS: dict[str, Callable[[int, tuple[int, int], str], Detector]] = {
    "nano": lambda classes, size, _: Nano(classes, size),
    "small": lambda classes, size, _: Nano(classes, size, SMALL),
    "ssdlite": SsdLite,
    "retinanet": RetinaNet,
    "retinanet_resnet50": partial(RetinaNet, backbone="resnet50"),
    "fcos": Fcos,
    "fcos_resnet50": partial(Fcos, backbone="resnet50"),
    "fasterrcnn": FasterRcnn,
    "dfine": Dfine,
    "hog_svm": lambda classes, size, _: HogSvm(classes, size),
}


class ModelCard(BaseModel):
    """model.json: what is needed to build the network that the weights belong to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    classes: tuple[str, ...]
    width: int  # input pixels
    height: int

    @classmethod
    def read(cls, folder: Path) -> "ModelCard":
        """Read a trained model's card. Raises DataError where it is missing or wrong."""
        path = folder / "model.json"
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise DataError(f"{path} does not exist; run: dvc repro train") from None
        except ValidationError as error:
            raise DataError(f"{path} describes no model: {error}") from None


def build(name: str, classes: int, size: tuple[int, int], weights: str) -> Detector:
    """A fresh detector.

    Args:
        name: a key of `BUILDERS`.
        classes: how many.
        size: width and height of the input, pixels.
        weights: `none`, or `default` for pretrained ones where the family has them.
    """
    return BUILDERS[name](classes, size, weights)


def load(folder: Path) -> Detector:
    """The best weights of a training, ready to predict. Raises DataError where the folder does not hold a model."""
    card = ModelCard.read(folder)
    if card.name not in BUILDERS:
        raise DataError(f"{folder}/model.json names {card.name!r}; this version knows {', '.join(BUILDERS)}")
    model = build(card.name, len(card.classes), (card.width, card.height), "none")
    tensors = load_tensors(folder / "best.safetensors")
    missing, surplus = model.load_state_dict(tensors, strict=False)
    if missing or surplus:
        raise DataError(f"{folder}/best.safetensors does not fit {card.name}: missing {missing}, surplus {surplus}")
    return model.eval()
