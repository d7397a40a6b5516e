"""What is measured of the sides of a benchmark.

Each measure takes sides, a batch size and a number of repetitions, and
returns values by quantity and by side.
"""

import concurrent.futures
import multiprocessing
import os
import statistics
from unittest import mock

import numpy as np
from sides import EPOCH
from sides import file_bytes
from sides import make
from sides import make_grouping
from sides import make_sampling


def training_step(sides, batch_size, repeats):
    """Seconds of a step, and bytes that its forward pass leaves."""
    import keras

    made = {side: make(side, batch_size) for side in sides}
    if keras.backend.backend() == "torch":
        kept = {side: bytes_kept() for side, (_, bytes_kept) in made.items()}
    else:
        kept = _growth(sides, batch_size)
    return {"bytes": kept, **_seconds(made, repeats)}


def step_seconds(sides, batch_size, repeats):
    """Seconds of whatever the sides do."""
    made = {side: make(side, batch_size) for side in sides}
    return _seconds(made, repeats)


def fit_epoch(sides, batch_size, repeats):
    """Seconds of an epoch, and of as many steps of the last side."""
    epoch, step = sides
    made = {side: make(side, batch_size) for side in sides}
    seconds = _seconds({epoch: made[epoch]}, 3)["seconds"]
    seconds |= {
        step: EPOCH * _seconds({step: made[step]}, repeats)["seconds"][step]
    }
    return {"seconds": seconds}


def peak_memory(sides, batch_size, repeats):
    """Bytes by which a process grows while it trains."""
    return {"growth": _growth(sides, batch_size)}


def file_size(sides, batch_size, repeats):
    """Bytes of the files that the sides write."""
    sizes = {side: file_bytes(side) for side in sides}
    return {"file": sizes}


def sampling(sides, batch_size, repeats):
    """Seconds of farthest point sampling; the indices must be the same."""
    made = {
        side: (make_sampling(side, batch_size), None)
        for side in sides
    }
    if f"plain {sides[0].split()[0]}" in sides:
        first, second = (np.asarray(step()) for step, _ in made.values())
        if not np.array_equal(first, second):
            raise RuntimeError(
                f"{sides[0]} and {sides[1]} choose different points. "
                f"Received: {np.sum(first != second)} different indices"
            )
    return _seconds(made, repeats)


# On a GPU, eager code adds up squares in another order, and in the expanded
# form of distances near ties fall otherwise: so much of it may differ.
EAGER_DIFFERENCES = 0.01


def grouping(sides, batch_size, repeats):
    """Seconds of sampling and cutting patches; they must be the same."""
    made = {
        side: make_grouping(side, batch_size) for side in sides
    }
    first, *others = sides
    expected = made[first][1]()
    for side in others:
        allowed = EAGER_DIFFERENCES if side.startswith("plain") else 0.0
        for found, wanted in zip(made[side][1](), expected, strict=True):
            different = np.mean(np.any(found != wanted, axis=-1))
            if different > allowed:
                raise RuntimeError(
                    f"{first} and {side} choose different points. "
                    f"Received: {100 * different:.2f} % of them differ"
                )
    return _seconds(made, repeats)


# The fourth step may be kept, see `keras_pointpeft.step_report`.
WARM_UP = 5
MEASURES = {
    "fit_epoch": fit_epoch,
    "grouping": grouping,
    "training_step": training_step,
    "step_seconds": step_seconds,
    "peak_memory": peak_memory,
    "file_size": file_size,
    "sampling": sampling,
}


def _seconds(made, repeats):
    from keras_pointpeft.experiments import cost

    steps = {side: step for side, (step, _) in made.items()}
    seconds = cost.interleaved_seconds(steps, repeats, warmup=WARM_UP)
    return {
        "seconds": {
            side: statistics.median(values) for side, values in seconds.items()
        }
    }


def _growth(sides, batch_size):
    # Each in a process of its own: memory is not given back.
    context = multiprocessing.get_context("spawn")
    found = {}
    for side in sides:
        words, environment = _without_malloc(side)
        # A process reads it when it starts.
        with (
            mock.patch.dict(os.environ, environment),
            concurrent.futures.ProcessPoolExecutor(1, context) as pool,
        ):
            found[side] = pool.submit(_growth_of, words, batch_size).result()
    return found


def _without_malloc(side):
    word = "malloc=returning"
    if word not in side.split():
        return side, {}
    rest = " ".join(part for part in side.split() if part != word)
    return rest, {"MALLOC_MMAP_THRESHOLD_": str(2**20)}


def _growth_of(side, batch_size):
    from keras_pointpeft.experiments import cost

    return cost.peak_growth(make(side, batch_size)[0])
