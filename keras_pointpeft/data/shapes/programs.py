"""`make_programs`: clouds of random programs of parts, endless from a seed.

Every cloud is a small program that is drawn, not designed: up to eight pieces,
each of them attached to an earlier one and perhaps repeated (mirrored, in a
row, in a circle), then the whole is bent, displaced and cut, and perhaps seen
from one side only. All clouds of a block are made by the same array operations.
"""

from typing import NamedTuple

import numpy as np

from keras_pointpeft.data.shapes import assembly
from keras_pointpeft.data.shapes.checks import checked_integer
from keras_pointpeft.data.shapes.dice import stream
from keras_pointpeft.data.shapes.pieces import surfaces
from keras_pointpeft.data.shapes.wearing import kept
from keras_pointpeft.data.shapes.wearing import warped

# Clouds that are made at once; the numbers that are drawn depend on it.
BLOCK = 64
# Points drawn of a cloud for each that is kept: cuts take the rest, or cuts and
# views.
SPARE, SPARE_SEEN = 1.6, 3.0

# Counts up when the same arguments make other clouds; caches key on it.
VERSION = 1

# The streams of random numbers of one block.
_PROGRAM, _CLOUD = 10, 11


class ProgramSet(NamedTuple):
    """Clouds of random programs.

    Attributes:
        points: (clouds, points, 3) float32. Mean at the origin, the farthest
            point at distance 1; y is up.
        labels: (clouds,) int64, the number of the program.
    """

    points: np.ndarray
    labels: np.ndarray


def make_programs(
    num_clouds: int,
    num_points: int = 1024,
    seed: int = 0,
    start: int = 0,
    num_programs: int | None = None,
    views: float = 0.0,
) -> ProgramSet:
    """Makes clouds of random programs of parts; nothing is loaded.

    Published work (https://arxiv.org/abs/2411.17467) pre-trains on procedural
    shapes as well as on ShapeNet. These have no classes: boxes, prisms, balls,
    rings, wires, frames, thin sheets, vessels, put together, mirrored and
    repeated, then twisted, tapered, displaced and cut at random.

    Cloud `i` depends on the seed, `i` and the other arguments, but never on
    how many are made at once: `start` makes a set in chunks, in any order, by
    any number of workers.

    Args:
        num_clouds: int. Clouds to make.
        num_points: int. Points of each cloud. Defaults to `1024`.
        seed: int, not negative. Defaults to `0`.
        start: int. Index of the first cloud. Defaults to `0`.
        num_programs: optional int, a multiple of 64. Cloud `i` is another
            execution of program `i` modulo this, with other sizes, bends, cuts
            and views: labels without classes. Defaults to `None`, a program
            for each cloud.
        views: float, the share of clouds that are seen from one side only.
            Defaults to `0.0`.

    Returns:
        `ProgramSet`.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: a number is not an integer.

    Example:
    ```python
    from keras_pointpeft.data.shapes import make_programs

    made = make_programs(100, seed=0)
    made.points.shape  # (100, 1024, 3)
    more = make_programs(100, seed=0, start=100)
    ```
    """
    num_clouds = checked_integer("num_clouds", num_clouds, 0)
    num_points = checked_integer("num_points", num_points, 8)
    seed = checked_integer("seed", seed, 0)
    start = checked_integer("start", start, 0)
    if num_programs is not None:
        num_programs = checked_integer("num_programs", num_programs, BLOCK)
        if num_programs % BLOCK:
            raise ValueError(
                f"`num_programs` must be a multiple of {BLOCK}. "
                f"Received: num_programs={num_programs}"
            )
    if not 0 <= views <= 1:
        raise ValueError(
            f"`views` must be between 0 and 1. Received: views={views!r}"
        )
    points = np.empty((num_clouds, num_points, 3), dtype="float32")
    labels = start + np.arange(num_clouds)
    if num_programs is not None:
        labels %= num_programs
    end = start + num_clouds
    for block in range(start // BLOCK, -(-end // BLOCK)):
        made = _block(seed, block, num_points, num_programs, views)
        low, high = max(start, block * BLOCK), min(end, (block + 1) * BLOCK)
        points[low - start : high - start] = made[
            low - block * BLOCK : high - block * BLOCK
        ]
    return ProgramSet(points, labels)


def _block(seed, block, num_points, num_programs, views):
    """The clouds of one block, (BLOCK, num_points, 3)."""
    number = block if num_programs is None else block % (num_programs // BLOCK)
    program = assembly.drawn(BLOCK, stream(seed, number, _PROGRAM))
    rng = stream(seed, block, _CLOUD)
    if num_programs is not None:
        program = assembly.varied(program, rng)
    count = int((SPARE_SEEN if views else SPARE) * num_points)
    piece = assembly.chosen(program, count, rng)
    points = surfaces(
        program.kind[piece], program.numbers[:, piece], rng
    )
    points = assembly.placed(program, piece, points, rng)
    points = points.reshape(3, BLOCK, count)
    points = _unit_sphere(warped(points, program, rng))
    points = _unit_sphere(kept(points, num_points, views, program, rng))
    return points.transpose(1, 2, 0)


def _unit_sphere(points):
    """Clouds `(3, clouds, points)` with mean 0 and largest norm 1."""
    points = points - points.mean(axis=2, keepdims=True)
    norms = np.einsum("kcn,kcn->cn", points, points).max(axis=1)
    return points / np.sqrt(norms)[:, None]
