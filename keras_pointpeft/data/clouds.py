"""Clouds as arrays: their precision, axes and units, and which points are seen.

Map coordinates, degrees and millimetres about a scanner need more digits than
float32 has. So clouds keep the precision in which they came until they are
counted from a place of their own. Which of its points a model sees is drawn by
the published protocols.
"""

import numpy as np

from keras_pointpeft.data.checks import check_choice
from keras_pointpeft.data.checks import check_clouds
from keras_pointpeft.files.progress import telling

# Coordinates are rounded to this part of the cloud's size. That is far above
# the rounding errors of map coordinates in float64, so that a cloud gives the
# same float32 numbers wherever it lies.
_GRID = 2.0**-22
# A cloud is large if it has so many times the points that are wanted.
_MANY = 8
SAMPLING = ("random", "fps", "first", "fps_then_random")


def as_floats(points) -> np.ndarray:
    """Coordinates as float32 if that is what they are, else as float64.

    Args:
        points: array of numbers, or nested lists.

    Returns:
        The same array, if it was one of the two.

    Raises:
        ValueError: these are no numbers.
    """
    if not isinstance(points, np.ndarray):  # a memory map stays one
        points = np.asarray(points)
    if points.dtype in ("float32", "float64"):
        return points
    if points.dtype.kind not in "fiu":
        raise ValueError(
            "Coordinates must be numbers, in clouds of equal size. "
            f"Received: an array of {points.dtype}"
        )
    return points.astype("float32" if points.dtype == "float16" else "float64")


def nearby(points: np.ndarray) -> np.ndarray:
    """float32 coordinates that tell apart what the given ones do.

    Points in float32 are returned as they are. Those in float64 are counted
    from the middle of their cloud, which leaves distances as they are.

    Args:
        points: array `(..., points, 3)`.

    Returns:
        float32 array of the same shape.
    """
    points = as_floats(points)
    if points.dtype == "float32" or not points.size:
        return points.astype("float32", copy=False)
    low = points.min(axis=-2, keepdims=True)
    size = (points.max(axis=-2, keepdims=True) - low).max(-1, keepdims=True)
    grid = np.where(np.isfinite(size) & (size > 0), size, 1.0) * _GRID
    moved = points - (low + size / 2)
    return (np.rint(moved / grid) * grid).astype("float32")


def to_float32(points) -> np.ndarray:
    """Coordinates as float32, where that loses nothing of the clouds.

    Args:
        points: array `(..., points, 3)`.

    Returns:
        float32 array of the same shape.

    Raises:
        ValueError: clouds so far from the origin that float32 would cut them.
    """
    # Not above, nor in sampling: files are read without Keras.
    from keras_pointpeft.ops.points import validate_points

    points = as_floats(points)
    if points.dtype != "float32":
        points = validate_points(points).astype("float32")
    return points


def turned(points: np.ndarray, up_axis, to="y") -> np.ndarray:
    """Turns clouds so that another axis points up.

    Args:
        points: array `(..., points, 3)`.
        up_axis: "x", "y" or "z", which points up; None leaves them.
        to: string, the axis that is to point up.

    Returns:
        Array of the same shape, turned by a rotation, not mirrored.

    Raises:
        ValueError: there is no such axis.
    """
    if up_axis is None:
        return points
    check_choice("up_axis", up_axis, ("x", "y", "z"))
    result = np.array(points)
    if up_axis != to:
        # A quarter turn about the third axis.
        old, new = "xyz".index(up_axis), "xyz".index(to)
        result[..., new] = points[..., old]
        result[..., old] = -points[..., new]
    return result


def check_units(points, what="The cloud"):
    """Refuses longitude and latitude beside heights in metres.

    Args:
        points: array `(points, 3)`, finite.
        what: string, for the message.

    Raises:
        ValueError: the cloud is thousands of times higher than wide, at a
            place that may be a longitude and latitude.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    far = np.abs([low, high]).max(axis=0)
    wide, tall = (high - low)[:2].max(), (high - low)[2]
    on_earth = far[0] <= 360 and far[1] <= 90 and far[:2].max() > 1
    if on_earth and 0 < wide < 1 and tall > 2000 * wide:
        raise ValueError(
            f"{what} seems to be in degrees, with heights in metres: project "
            "it onto a map first, such as UTM. Received: "
            f"{wide:.3g} wide and {tall:.3g} high at {low[:2].tolist()}"
        )


def farthest_point_indices(
    points: np.ndarray, num_samples: int, start=0
) -> np.ndarray:
    """Indices of points that are far from each other.

    The rule and the code of `keras_pointpeft.ops.farthest_point_sample` on a
    CPU (compiled where numba is installed), whatever the backend.

    Args:
        points: array `(batch, points, 3)`.
        num_samples: int, at most the number of points.
        start: int, or int array `(batch,)`, the first chosen point.
            Defaults to 0.

    Returns:
        int32 array `(batch, num_samples)`, in the order of choice.

    Raises:
        ValueError: a wrong shape, or more samples than points.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft.data.clouds import farthest_point_indices

    points = np.random.default_rng(0).normal(size=(2, 256, 3))
    farthest_point_indices(points, 64).shape  # (2, 64)
    ```
    """
    from keras_pointpeft.ops.accelerators import host

    points = nearby(points)
    check_clouds(points)
    batch, count, _ = points.shape
    if not 0 < num_samples <= count:
        raise ValueError(
            f"`num_samples` must lie between 1 and the {count} points. "
            f"Received: {num_samples}"
        )
    first = np.broadcast_to(np.asarray(start, "int32"), (batch,))
    if not ((0 <= first) & (first < count)).all():
        raise ValueError(
            f"`start` must lie between 0 and {count - 1}. Received: {start}"
        )
    if not first.any():
        return host.farthest_point_sample(points, num_samples, False)
    # Sampling starts with point 0: exchange it with the wanted one.
    rows = np.arange(batch)
    exchanged = points.copy()
    exchanged[:, 0] = points[rows, first]
    exchanged[rows, first] = points[:, 0]
    chosen = host.farthest_point_sample(exchanged, num_samples, False)
    first = first[:, None]
    return np.where(
        chosen == 0, first, np.where(chosen == first, 0, chosen)
    ).astype("int32")


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


def check_enough(available, wanted):
    """Raises `ValueError` where clouds have fewer points than wanted."""
    if available < wanted:
        raise ValueError(
            f"The clouds have {available} points, too few. Pass "
            "`repeat_points=True` to repeat some. "
            f"Received: num_points={wanted}"
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
            check_enough(available, num_points)
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
