"""The points of a cloud that a model sees, by the published protocols."""

import numpy as np

from keras_pointpeft.data.checks import check_choice
from keras_pointpeft.data.coordinates import as_floats
from keras_pointpeft.data.fps import farthest_point_indices
from keras_pointpeft.files.progress import telling

# A cloud is large if it has so many times the points that are wanted.
_MANY = 8
SAMPLING = ("random", "fps", "first", "fps_then_random")


@telling("sampling points")
def sample_points(
    points: np.ndarray,
    num_points: int,
    sampling: str = "random",
    rng: np.random.Generator | None = None,
    repeat_points: bool = False,
) -> np.ndarray:
    """Takes `num_points` points of each cloud.

    Args:
        points: array `(batch, points, 3)`.
        num_points: int.
        sampling: "random", a random choice in random order; "fps", furthest
            point sampling from point 0, and nothing where all points are
            wanted; "first", the first points; "fps_then_random", FPS from a
            random point to `spread_size` points, then a random choice.
        rng: `numpy.random.Generator`, for the random kinds.
        repeat_points: bool, give clouds of fewer points some of them twice
            or more. Defaults to False.

    Returns:
        Array `(batch, num_points, 3)`, in the precision of `points`: float32
        or float64.

    Raises:
        ValueError: too few points, or no `rng` where one is needed.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft.data import sample_points

    rng = np.random.default_rng(0)
    points = rng.normal(size=(2, 512, 3))
    sample_points(points, 128, "fps_then_random", rng).shape  # (2, 128, 3)
    ```
    """
    check_choice("sampling", sampling, SAMPLING)
    points = as_floats(points)
    return gather_points(
        points, sample_indices(points, num_points, sampling, rng, repeat_points)
    )


def sample_indices(
    points, num_points, sampling="random", rng=None, repeat_points=False
):
    """Which points `sample_points` takes, `(batch, num_points)`.

    Loaders ask it for every batch, so whoever is told `sampling` checks it.
    """
    if rng is None and "random" in sampling:
        raise ValueError(f'sampling="{sampling}" needs `rng`. Received: None')
    batch, available = points.shape[:2]
    if available < num_points:
        if not repeat_points:
            raise ValueError(
                f"The clouds have {available} points, too few. Pass "
                "`repeat_points=True` to repeat some. "
                f"Received: num_points={num_points}"
            )
        repeats = _repeats(available, num_points, sampling, rng)
        return np.tile(repeats, (batch, 1))
    if sampling == "fps" and num_points < available:
        return farthest_point_indices(points, num_points)
    if "random" not in sampling:
        return np.tile(np.arange(num_points), (batch, 1))
    spread = spread_size(num_points, available)
    if sampling == "random" or spread == available:
        return _choices(rng, batch, available, num_points)
    start = rng.integers(0, available, batch)
    spread_out = farthest_point_indices(points, spread, start)
    chosen = _choices(rng, batch, spread, num_points)
    return np.take_along_axis(spread_out, chosen, axis=1)


def spread_size(num_points: int, available: int) -> int:
    """How many points FPS keeps before the random choice of training.

    1200 for 1024, 2400 for 2048 and 4800 for 4096, as published, the same
    ratio for others, and never more than there are.
    """
    return min(available, num_points * 75 // 64)


def gather_points(values: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Values `(batch, points, ...)` at indices `(batch, n)`."""
    batch, available = values.shape[:2]
    flat = indices + np.arange(0, batch * available, available)[:, None]
    return values.reshape(-1, *values.shape[2:]).take(flat, axis=0)


def draw(available, wanted, rng):
    """`wanted` different numbers below `available`, in random order."""
    if available > _MANY * wanted:
        # To draw a few costs less than to shuffle all.
        return rng.choice(available, wanted, replace=False)
    return rng.permutation(available)[:wanted]


def _choices(rng, batch, available, wanted):
    """`wanted` different points of each cloud, in random order.

    One order for the batch, as published, turned by a random offset for each
    cloud: uniform for each, different between them, and much cheaper than
    one shuffle a cloud.
    """
    order = rng.permutation(available)[:wanted]
    order = order + rng.integers(0, available, (batch, 1))
    order -= available * (order >= available)  # faster than a mask
    return order


def _repeats(available, wanted, sampling, rng):
    """Indices that hold every point at least once."""
    rounds = -(-wanted // available)
    if "random" not in sampling:
        return np.tile(np.arange(available), rounds)[:wanted]
    order = [rng.permutation(available) for _ in range(rounds)]
    return rng.permutation(np.concatenate(order)[:wanted])
