"""Pictures that a detector learns in seconds."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass
class Squares:
    """Bright squares on noise: enough for a detector to learn in seconds."""

    count: int
    size: tuple[int, int] = (64, 64)  # width, height
    boxes: list[NDArray[np.float32]] = field(default_factory=list)
    labels: list[NDArray[np.int64]] = field(default_factory=list)
    ignore: list[NDArray[np.bool_]] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        self._pictures = rng.integers(60, 120, (self.count, self.size[1], self.size[0], 3), np.uint8)
        for picture in self._pictures:
            side, label = int(rng.integers(16, 28)), int(rng.integers(0, 2))
            x, y = (int(rng.integers(0, limit - side)) for limit in self.size)
            picture[y : y + side, x : x + side] = (250, 20, 20) if label else (20, 20, 250)
            self.boxes.append(np.array([[x, y, x + side, y + side]], np.float32))
            self.labels.append(np.array([label], np.int64))
            self.ignore.append(np.array([False]))

    def __len__(self) -> int:
        return self.count

    def picture(self, index: int) -> NDArray[np.uint8]:
        return np.asarray(self._pictures[index], np.uint8)
