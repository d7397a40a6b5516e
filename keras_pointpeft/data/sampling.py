"""The points of a cloud that a model sees, by the published protocols."""

import numpy as np

from keras_pointpeft.data.checks import check_choice
from keras_pointpeft.data.fps import farthest_point_indices

SAMPLING = ("random", "fps", "first", "fps_then_random")


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
        float32 array `(batch, num_points, 3)`.

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
    points = np.asarray(points, "float32")
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
        return points[:, _repeats(available, num_points, sampling, rng)]
    if sampling == "first":
        return points[:, :num_points]
    if sampling == "fps":
        if available == num_points:
            return points
        return gather_points(points, farthest_point_indices(points, num_points))
    if sampling == "fps_then_random":
        spread = spread_size(num_points, available)
        if spread < available:
            start = rng.integers(0, available, batch)
            chosen = farthest_point_indices(points, spread, start)
            points = gather_points(points, chosen)
    return gather_points(points, _choices(rng, points.shape, num_points))


def spread_size(num_points: int, available: int) -> int:
    """How many points FPS keeps before the random choice of training.

    1200 for 1024, 2400 for 2048 and 4800 for 4096, as published, the same
    ratio for others, and never more than there are.
    """
    return min(available, num_points * 75 // 64)


def gather_points(points: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Points `(batch, points, 3)` at indices `(batch, n)`."""
    batch, available = points.shape[:2]
    flat = indices + np.arange(0, batch * available, available)[:, None]
    return points.reshape(-1, 3).take(flat, axis=0)


def _choices(rng, shape, wanted):
    """`wanted` different points of each cloud, in random order.

    One order for the batch, as published, turned by a random offset for each
    cloud: uniform for each, different between them, and much cheaper than
    one shuffle a cloud.
    """
    batch, available = shape[:2]
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
