import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core.errors import ConfigError
from pipeline.core.params import AugmentStep
from pipeline.vision.policies import OPERATIONS, Augmented, albumentations, policy

BOXES = np.array([[10, 20, 60, 80], [30, 30, 50, 50]], np.float32)


def scene(seed: int = 0) -> NDArray[np.uint8]:
    """Blocks of colour with soft texture: something that blur, noise and light all change."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(40, 216, (6, 10, 3)).repeat(32, axis=0).repeat(32, axis=1)
    return np.clip(blocks + rng.integers(-8, 9, blocks.shape), 0, 255).astype(np.uint8)


def step(op: str, p: float = 1.0, strength: float = 0.5) -> AugmentStep:
    return AugmentStep(op=op, p=p, strength=strength)


def same(a: Augmented, b: Augmented) -> bool:
    arrays = ((a.image, b.image), (a.boxes, b.boxes), (a.index, b.index))
    return a.operations == b.operations and all(np.array_equal(x, y) for x, y in arrays)


def leaves(transform: Any) -> list[Any]:
    return [leaf for t in getattr(transform, "transforms", []) for leaf in leaves(t)] or [transform]


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("op", OPERATIONS)
def test_every_operation_at_every_strength(op: str, strength: float) -> None:
    image = scene()
    result = policy([step(op, strength=strength)])(image, BOXES, 3)
    assert result.image.shape == image.shape
    assert result.image.dtype == np.uint8
    assert np.allclose(result.boxes, BOXES, atol=1e-3)
    assert result.index.tolist() == [0, 1]
    assert result.operations == (op,)
    assert np.array_equal(image, scene()), "the picture given was changed"
    if strength:
        assert not np.array_equal(result.image, image)


@pytest.mark.parametrize("op", OPERATIONS)
def test_operations_change_pixels_only(op: str) -> None:
    assert all(isinstance(t, albumentations().ImageOnlyTransform) for t in leaves(OPERATIONS[op](0.5)))


def changed(op: str, strength: float) -> list[NDArray[np.uint8]]:
    return [policy([step(op, strength=strength)])(scene(), BOXES, seed).image for seed in range(12)]


def contrasts(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How much lighter each block is than its row of blocks."""
    blocks = image.astype(float).mean(2).reshape(6, 32, 10, 32).mean((1, 3))
    return np.asarray((blocks - blocks.mean(1, keepdims=True)).ravel())


@pytest.mark.parametrize("op", [op for op in OPERATIONS if op != "grayscale"])  # it has no strength
def test_stronger_changes_more(op: str) -> None:
    weak, strong = (np.mean([np.abs(x - scene().astype(float)).mean() for x in changed(op, s)]) for s in (0.1, 1.0))
    assert strong > weak


@pytest.mark.parametrize("op", [op for op in OPERATIONS if op != "glare"])  # it hides what is behind it
def test_the_worst_leaves_objects_visible(op: str) -> None:
    original = contrasts(scene())
    for worst in map(contrasts, changed(op, 1.0)):
        assert np.corrcoef(worst, original)[0, 1] > 0.8
        assert worst.std() > 0.15 * original.std()


@pytest.mark.parametrize(("op", "sign"), [("low_light", -1), ("fog", 1), ("glare", 1)])
def test_light_goes_the_way_it_should(op: str, sign: int) -> None:
    dark = scene() // 2
    means = [policy([step(op)])(dark, BOXES, seed).image.mean() - dark.mean() for seed in range(8)]
    assert all(np.sign(m) == sign for m in means)


def test_grayscale_has_one_value_a_pixel() -> None:
    image = policy([step("grayscale")])(scene(), BOXES, 0).image
    assert (image == image[..., :1]).all()


def test_a_result_depends_on_picture_and_seed_alone() -> None:
    steps = [step(op, p=0.5) for op in OPERATIONS]
    one, other = policy(steps), policy(steps)
    forwards = [one(scene(n), BOXES, n) for n in range(12)]
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - global random states must not matter
    backwards = [other(scene(n), BOXES, n) for n in reversed(range(12))][::-1]
    assert all(same(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert len({a.operations for a in forwards}) > 6
    assert not np.array_equal(one(scene(), BOXES, 0).image, one(scene(), BOXES, 1).image)


def test_steps_toss_coins_of_their_own() -> None:
    tossed = policy([step("grayscale", p=0.5), step("compression", p=0.5)])
    counts = np.zeros((2, 2))
    for seed in range(200):
        operations = tossed(scene()[:32, :32], BOXES[:0], seed).operations
        counts["grayscale" in operations, "compression" in operations] += 1
    assert (np.abs(counts - 50) < 28).all()  # independent: a quarter each; 28 is 4.6 standard deviations


def test_a_step_more_changes_nothing_before_it() -> None:
    short, long = policy([step("noise")]), policy([step("noise"), step("grayscale", p=0.0)])
    assert np.array_equal(short(scene(), BOXES, 5).image, long(scene(), BOXES, 5).image)


@pytest.mark.parametrize(
    ("boxes", "kept"),
    [
        pytest.param([[10, 10, 14, 14.1]], [0], id="just large enough"),
        pytest.param([[10, 10, 13, 14], [10, 10, 50, 50]], [1], id="too small"),
        pytest.param([[-90, 10, 40, 60], [5, 5, 400, 400]], [0, 1], id="past the edge"),
        pytest.param([[20, 20, 20, 40], [500, 300, 600, 400]], [], id="no area, outside"),
        pytest.param(np.zeros((0, 4)), [], id="none"),
    ],
)
def test_boxes_that_stay(boxes: list[list[float]], kept: list[int]) -> None:
    result = policy([step("noise")], min_visibility=0.3, min_area=16.0)(scene(), np.array(boxes, np.float32), 0)
    assert result.index.tolist() == kept
    assert result.boxes.shape == (len(kept), 4)
    assert result.boxes.dtype == np.float32
    assert (result.boxes >= 0).all()
    assert (result.boxes <= [320, 192, 320, 192]).all()


def test_an_unknown_operation_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no such operation: sleet; there are blur, .*, snow"):
        policy([step("rain"), step("sleet")])


def test_importing_the_module_does_not_import_albumentations() -> None:
    code = "import sys, pipeline.vision.policies; sys.exit('albumentations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
