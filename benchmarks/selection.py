"""What choosing frames by `select` buys against choosing by chance: AP50 at equal numbers of labels, over seeds.

    python benchmarks/selection.py [--seeds 3] [--rounds 2] [--step 90] [--ways random even select]

The pool is coco256's and openimages_vehicles' training pictures in ../shared/data, their labels hidden. Each seed
starts with 60 pictures by chance, the same for all ways; each round a way of choosing names the next ones, their
labels are revealed, and `nano` trains on with all it has. Ways: `random`; `even`, by chance but from each source in
turn; `select`, the stage's signals and choice with the weights in params.yaml (weakness left out: there is no verdict).
People are not labelled in openimages_vehicles: in its test pictures they are neither hits nor false alarms, in training
they are background. Printed: AP50 on 253 other pictures by number of labels, and the difference to `random`.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from street import CLASSES, DATA, LEARN, PARAMS, RULE, TEST, Pictures, read

from pipeline.core.matching import match_frames
from pipeline.core.operating import choose as choose_thresholds
from pipeline.core.params import EvaluateParams, SelectParams, TrainParams
from pipeline.core.selection import choose, combined, disagreement, nearest, rarity, standardised, uncertainty
from pipeline.core.types import Detections
from pipeline.io.coco_eval import coco_scores
from pipeline.modeling.detector import Detector
from pipeline.modeling.features import views
from pipeline.modeling.loop import fit
from pipeline.modeling.predict import predict_with
from pipeline.modeling.zoo import build

SIDE = 128  # pixels of the input
START = 60  # labels at first


Weights = dict[str, NDArray[np.generic]]


def train(weights: Weights | None, pictures: Pictures, samples: int, seed: int) -> Detector:
    """`nano` after so many more samples; without weights, fresh."""
    torch.manual_seed(seed)
    model = build("nano", len(CLASSES), (SIDE, SIDE), "none") if weights is None else restored(weights)
    epochs = max(1, round(samples / len(pictures)))
    p = TrainParams.load("train", PARAMS)
    changes = {"epochs": epochs, "seed": seed, "validate_every": epochs, "checkpoint_every": epochs}
    p = p.model_copy(update={**changes, "loop": p.loop.model_copy(update={"mosaic": 0.0})})  # too short for mosaics
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        trained = fit(model, pictures, p, validate=lambda _: {}, on_epoch=lambda *_: None, state_path=state)
    model.load_state_dict(trained.last)
    return model.eval()


def found_in(model: Detector, pictures: Pictures) -> list[Detections]:
    """Detections in every picture."""
    found = predict_with(model, pictures.items(), target=(SIDE, SIDE), rule=RULE, batch_size=32)
    return [detections for _, detections in found]


def thresholds(model: Detector, labelled: Pictures) -> NDArray[np.float64]:
    """Operating threshold (C,) of each class on what is labelled: in a simulation nothing else is known."""
    matched = match_frames(labelled.truths, found_in(model, labelled), 0.5)
    chosen, _ = choose_thresholds(matched, labelled.frames, CLASSES, EvaluateParams.load("evaluate", PARAMS).operating)
    return np.array([chosen[name] for name in CLASSES], np.float64)


def by_chance(_: Detector, pool: Pictures, labelled: list[int], step: int, rng: np.random.Generator) -> list[int]:
    """So many of the rest."""
    return rng.permutation(np.setdiff1d(np.arange(len(pool)), labelled))[:step].tolist()


def evenly(model: Detector, pool: Pictures, labelled: list[int], step: int, rng: np.random.Generator) -> list[int]:
    """So many of the rest, from each source in turn."""
    order = by_chance(model, pool, labelled, len(pool), rng)
    turns = Counter[str]()
    places = []
    for i in order:
        camera = pool.frames[i].camera
        places.append(turns[camera])
        turns[camera] += 1
    return [order[k] for k in np.argsort(places, kind="stable")[:step]]


def by_select(model: Detector, pool: Pictures, labelled: list[int], step: int, _: np.random.Generator) -> list[int]:
    """As the stage chooses."""
    p = SelectParams.load("select", PARAMS)
    at = thresholds(model, pool.at(labelled))
    rest = np.setdiff1d(np.arange(len(pool)), labelled).tolist()
    seen = list(views(model, pool.items(), target=(SIDE, SIDE), rule=RULE, batch_size=32))
    embeddings = standardised(np.stack([view.embedding for view in seen]))
    rare = rarity(nearest(embeddings[rest], embeddings[labelled]))
    signals = [
        {
            "uncertainty": uncertainty(seen[i].found, at),
            "disagreement": disagreement(seen[i].found, seen[i].mirrored, at),
            "rarity": float(far),
        }
        for i, far in zip(rest, rare, strict=True)
    ]
    scores = combined(signals, p.weights.model_dump())
    frames, taken = ([pool.frames[i] for i in some] for some in (rest, labelled))
    picks, _ = choose(scores, embeddings[rest], frames, taken, step, p)
    return [rest[pick.index] for pick in picks]


Way = Callable[[Detector, Pictures, list[int], int, np.random.Generator], list[int]]
WAYS: dict[str, Way] = {"random": by_chance, "even": evenly, "select": by_select}


def measured(model: Detector, test: Pictures) -> list[float]:
    """AP50 over both classes, and of each."""
    overall, of = coco_scores(test.truths, found_in(model, test), CLASSES)
    return [overall["AP50"], *(of[name]["AP50"] for name in CLASSES)]


def begin(job: tuple[int, int]) -> Weights:
    """The detector that every way of a seed begins with, after so many samples."""
    seed, samples = job
    torch.set_num_threads(1)  # two simulations run side by side
    pool, _ = pictures()
    return _arrays(train(None, pool.at(first(pool, seed)), samples, seed))


def first(pool: Pictures, seed: int) -> list[int]:
    """The pictures that are labelled before anything is chosen."""
    return np.random.default_rng(seed).permutation(len(pool))[:START].tolist()


def simulate(job: tuple[int, str, Weights, argparse.Namespace]) -> list[list[float]]:
    """After the start and after each round (R + 1, 5) of one seed and way: AP50 as `measured`, labelled boxes."""
    seed, name, weights, args = job
    torch.set_num_threads(1)
    pool, test = pictures()
    rng, labelled = np.random.default_rng((seed, 1)), first(pool, seed)
    model = restored(weights)
    rows = [[*measured(model, test), *_shown(pool, labelled)]]
    for turn in range(args.rounds):
        labelled += WAYS[name](model, pool, labelled, args.step, rng)
        model = train(_arrays(model), pool.at(labelled), args.samples, seed * 100 + turn)
        rows.append([*measured(model, test), *_shown(pool, labelled)])
        told = " ".join(f"{value:.4g}" for value in rows[-1])
        print(f"seed {seed} {name:7s} {len(labelled):4d} labels: {told}", flush=True)
    return rows


@cache
def pictures() -> tuple[Pictures, Pictures]:
    """Pool and test, read once a process."""
    return read(LEARN, SIDE, test=False), read(TEST, SIDE, test=True)


def _arrays(model: Detector) -> Weights:
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def restored(weights: Weights) -> Detector:
    """The detector with these weights, ready to predict."""
    model = build("nano", len(CLASSES), (SIDE, SIDE), "none")
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return model.eval()


def _shown(pool: Pictures, labelled: Sequence[int]) -> list[float]:
    """Boxes of each class that are labelled."""
    labels = np.concatenate([pool.truths[i].labels for i in labelled])
    return np.bincount(labels, minlength=len(CLASSES)).astype(float).tolist()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--step", type=int, default=90, help="labels a round")
    parser.add_argument("--first", type=int, default=4000, help="samples of the first training")
    parser.add_argument("--samples", type=int, default=4000, help="samples of the training of a round")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["random", "select"])
    args = parser.parse_args()
    if not DATA.is_dir():
        print(f"skipped: {DATA} is absent, and the pictures may not ship")
        return
    start = time.perf_counter()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as workers:
        starts = list(workers.map(begin, [(seed, args.first) for seed in range(args.seeds)]))
        jobs = [(seed, name, starts[seed], args) for seed, name in product(range(args.seeds), args.ways)]
        rows = list(workers.map(simulate, jobs))
    values = np.array(rows).reshape(args.seeds, len(args.ways), args.rounds + 1, -1)
    tell(values, args)
    print(f"{(time.perf_counter() - start) / 60:.1f} minutes")


def tell(values: NDArray[np.float64], args: argparse.Namespace) -> None:
    """Print AP50 by labels and way: mean and deviation over seeds, and the difference to the first way."""
    print(f"\nlabels {'way':8s} AP50 (deviation)  person  vehicle  boxes p/v      difference by seed, mean")
    for turn, (way, name) in product(range(args.rounds + 1), enumerate(args.ways)):
        mean = values[:, way, turn].mean(axis=0)
        gain = values[:, way, turn, 0] - values[:, 0, turn, 0]
        by_seed = " ".join(f"{g:+.4f}" for g in gain)
        print(
            f"{START + turn * args.step:6d} {name:8s} {mean[0]:.4f} ({values[:, way, turn, 0].std(ddof=1):.4f})"
            f"     {mean[1]:.4f}  {mean[2]:.4f}  {mean[3]:5.0f}/{mean[4]:.0f}    {by_seed}  {gain.mean():+.4f}"
        )
    whole = values[:, :, 1:, 0].mean(axis=2)
    for way, name in list(enumerate(args.ways))[1:]:
        gain = whole[:, way] - whole[:, 0]
        error = gain.std(ddof=1) / np.sqrt(len(gain))
        print(f"{name} - {args.ways[0]}, mean over rounds: {gain.mean():+.4f}, standard error {error:.4f}")


if __name__ == "__main__":
    main()
