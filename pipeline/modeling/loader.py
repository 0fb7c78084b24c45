"""Batches from decoded pictures, with cheap geometry.

Every picture's randomness is a function of (seed, epoch, place in the epoch), so an interrupted run continues with
exactly the pictures that an uninterrupted one would have seen.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.core.boxes import area
from pipeline.core.errors import SightlineError
from pipeline.core.params import LoopAugmentParams
from pipeline.modeling import ranks
from pipeline.modeling.detector import Target, to_batch
from pipeline.runtime.preprocess import FILL

MIN_SIDE = 2.0  # input pixels: a smaller rest of a box says nothing
MIN_VISIBLE = 0.3  # share of a box's area that must remain; less becomes an ignore region

Picture = NDArray[np.uint8]


class Pictures(Protocol):
    """Decoded training pictures; `io.training.TrainingSet` is one."""

    @property
    def boxes(self) -> list[NDArray[np.float32]]:
        """(M, 4) input-pixel xyxy of each picture."""

    @property
    def labels(self) -> list[NDArray[np.int64]]:
        """(M,) class indices of each picture."""

    @property
    def ignore(self) -> list[NDArray[np.bool_]]:
        """(M,) of each picture: neither object nor background."""

    def __len__(self) -> int: ...

    def picture(self, index: int) -> Picture:
        """(H, W, 3) uint8 RGB."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One picture and its boxes, (M, 4) input-pixel xyxy."""

    image: Picture
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]

    def target(self) -> Target:
        """What the model should find."""
        return Target(*(torch.from_numpy(a.copy()) for a in (self.boxes, self.labels, self.ignore)))


def batches(
    pictures: Pictures, p: LoopAugmentParams, *, batch_size: int, seed: int, epoch: int, plain: bool, ahead: int = 0
) -> Iterator[tuple[Tensor, list[Target]]]:
    """This rank's shares of the batches of one epoch, drawn by a thread a core; a smaller rest is left out.

    Only where the set is smaller than a batch is the rest all there is; then the batch is smaller.

    Args:
        pictures: what to draw from.
        p: chances and ranges.
        batch_size: pictures a batch of all ranks together.
        seed: of the training.
        epoch: from 0.
        plain: only flip; no mosaic, zoom, shift or recolouring.
        ahead: batches drawn while the network works. With a network on the same cores 0 is fastest: threads that wait
            for a core that others hold take several times as long, and drawing alone takes little.

    Raises:
        SightlineError: a batch cannot be dealt out to the ranks in equal shares.
    """
    order = sampled(repeat_factors(pictures), np.random.default_rng((seed, epoch)))
    count = max(1, len(order) // batch_size)
    mine = shares(min(batch_size, len(order)))

    def make(place: int) -> Sample:
        return draw(pictures, int(order[place]), p, np.random.default_rng((seed, epoch, place)), plain=plain)

    waiting: deque[list[Future[Sample]]] = deque()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for batch in range(count):
            waiting.append([pool.submit(make, batch * batch_size + place) for place in mine])
            if len(waiting) > ahead:
                yield collate([it.result() for it in waiting.popleft()])
        while waiting:
            yield collate([it.result() for it in waiting.popleft()])


def shares(size: int) -> range:
    """This rank's places in a batch of this size. Raises SightlineError where there are not as many for each rank."""
    part, rest = divmod(size, ranks.count())
    if rest:
        raise SightlineError(
            f"train: a batch of {size} pictures cannot be shared equally by {ranks.count()} processes; "
            f"choose train.batch_size, no larger than the training set, as a multiple of them"
        )
    return range(part * ranks.rank(), part * (ranks.rank() + 1))


def collate(samples: Sequence[Sample]) -> tuple[Tensor, list[Target]]:
    """A batch (B, 3, H, W) of pictures and its targets."""
    return to_batch([sample.image for sample in samples]), [sample.target() for sample in samples]


def repeat_factors(pictures: Pictures) -> NDArray[np.float64]:
    """How often each picture is seen relative to the others, (N,), mean 1.

    A picture of a rare class comes more often: the square root of the inverse share of pictures that show its rarest
    class, as in repeat-factor sampling (LVIS, Gupta et al., CVPR 2019) with the threshold at 1.
    """
    shown = [set(labels[~ignore].tolist()) for labels, ignore in zip(pictures.labels, pictures.ignore, strict=True)]
    share = {label: np.mean([label in s for s in shown]) for label in set().union(*shown)}
    factors = np.array([max((share[label] ** -0.5 for label in s), default=1.0) for s in shown])
    return np.asarray(factors / factors.mean())


def sampled(factors: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """As many indices as factors, shuffled: each as often as its factor says, by systematic sampling."""
    order = rng.permutation(len(factors))
    offset = rng.random()
    reach = np.cumsum(factors[order])
    reach[-1] = len(factors)  # not a rounding error less: an epoch always has the same length
    counts = np.diff(np.floor(reach + offset), prepend=0).astype(int)
    return np.asarray(rng.permutation(np.repeat(order, counts)), np.int64)


def draw(
    pictures: Pictures, index: int, p: LoopAugmentParams, rng: np.random.Generator, *, plain: bool = False
) -> Sample:
    """One training sample: a picture or a mosaic of four, moved, flipped and recoloured by chance."""
    if not plain and rng.random() < p.mosaic:
        sample = _mosaic(pictures, [index, *rng.integers(0, len(pictures), 3).tolist()], p, rng)
    else:
        sample = Sample(pictures.picture(index), pictures.boxes[index], pictures.labels[index], pictures.ignore[index])
        sample = sample if plain else _move(sample, p, rng)
    if rng.random() < p.flip:
        sample = _flip(sample)
    return sample if plain else _recolour(sample, p, rng)


def _move(sample: Sample, p: LoopAugmentParams, rng: np.random.Generator) -> Sample:
    height, width = sample.image.shape[:2]
    scale = 1 + rng.uniform(-p.scale, p.scale)
    shift = rng.uniform(-p.translate, p.translate, 2) * (width, height) + (1 - scale) * np.array([width, height]) / 2
    return _warp(sample, scale, shift, (width, height))


def _mosaic(pictures: Pictures, indices: list[int], p: LoopAugmentParams, rng: np.random.Generator) -> Sample:
    """Four pictures around a random centre (YOLOv4, Bochkovskiy et al., 2020)."""
    sources = [Sample(pictures.picture(i), pictures.boxes[i], pictures.labels[i], pictures.ignore[i]) for i in indices]
    height, width = sources[0].image.shape[:2]
    centre = (rng.uniform(0.3, 0.7, 2) * (width, height)).astype(int)
    canvas = np.full((height, width, 3), FILL, np.uint8)
    parts = []
    for i, source in enumerate(sources):
        right, below = i % 2, i // 2
        start = np.array([centre[0] * right, centre[1] * below])
        end = np.array([width if right else centre[0], height if below else centre[1]])
        scale = 0.7 * (1 + rng.uniform(-p.scale, p.scale))
        size = np.array([width, height]) * scale
        shift = np.where([right, below], 0, end - start - size)  # the corner of each picture touches the centre
        part = _warp(source, scale, shift, (int(end[0] - start[0]), int(end[1] - start[1])))
        canvas[start[1] : end[1], start[0] : end[0]] = part.image
        parts.append((part, np.tile(start, 2).astype(np.float32)))
    return Sample(
        canvas,
        np.concatenate([part.boxes + offset for part, offset in parts]),
        np.concatenate([part.labels for part, _ in parts]),
        np.concatenate([part.ignore for part, _ in parts]),
    )


def _warp(sample: Sample, scale: float, shift: NDArray[np.floating], size: tuple[int, int]) -> Sample:
    """Scale, then shift, into a picture of `size` (width, height)."""
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float64)
    image = cv2.warpAffine(sample.image, matrix, size, flags=cv2.INTER_LINEAR, borderValue=(FILL, FILL, FILL))
    moved = sample.boxes * np.float32(scale) + np.tile(shift, 2).astype(np.float32)
    clipped = np.clip(moved, 0, np.array([*size, *size], np.float32))
    visible = area(clipped) / np.maximum(area(moved), 1e-6)
    keep = (clipped[:, 2:] - clipped[:, :2]).min(1, initial=np.inf) >= MIN_SIDE
    ignore = sample.ignore | (visible < MIN_VISIBLE)
    return Sample(np.asarray(image, np.uint8), clipped[keep], sample.labels[keep], ignore[keep])


def _flip(sample: Sample) -> Sample:
    width = sample.image.shape[1]
    boxes = sample.boxes.copy()
    boxes[:, [0, 2]] = width - sample.boxes[:, [2, 0]]
    return Sample(sample.image[:, ::-1], boxes, sample.labels, sample.ignore)


def _recolour(sample: Sample, p: LoopAugmentParams, rng: np.random.Generator) -> Sample:
    """Gain, offset and gamma of the whole picture, and a gain of each channel: light and white balance by one table."""
    gain = (1 + rng.uniform(-p.colour, p.colour)) * (1 + rng.uniform(-p.colour, p.colour, 3) / 2)
    gamma = np.exp(rng.uniform(-p.colour, p.colour))
    level = (np.arange(256) / 255)[:, None] ** gamma * gain + rng.uniform(-p.colour, p.colour) / 4
    table = np.clip(level * 255, 0, 255).astype(np.uint8)
    image = cv2.LUT(sample.image, table[None])
    return Sample(np.asarray(image, np.uint8), sample.boxes, sample.labels, sample.ignore)
