"""Farthest point sampling."""

import numpy as np
from keras import ops

from keras_pointpeft.ops import accelerators
from keras_pointpeft.ops.plain import plain_sample
from keras_pointpeft.ops.points import as_points
from keras_pointpeft.ops.points import check_points
from keras_pointpeft.ops.points import symbolic

# Threads of a block of the published kernel, at most.
MAX_THREADS = 512


def _output_spec(points, num_samples, skip_origin=False, ties="lowest"):
    check_points(points, "points")
    count = points.shape[1]
    if num_samples < 1 or (count is not None and num_samples > count):
        raise ValueError(
            "`num_samples` must lie between 1 and the number of points, "
            f"{count}. Received: num_samples={num_samples}"
        )
    if ties not in ("lowest", "published"):
        raise ValueError(
            f'`ties` must be "lowest" or "published". Received: {ties!r}'
        )
    if ties == "published" and count is None:
        raise ValueError(
            'ties="published" needs a known number of points. '
            f"Received: points of shape {tuple(points.shape)}"
        )
    return (points.shape[0], num_samples), "int32"


@symbolic(_output_spec)
def farthest_point_sample(
    points, num_samples, skip_origin=False, ties="lowest"
):
    """Chooses points that are far from each other, one after the other.

    The first is point 0; each next one has the largest distance to its
    nearest chosen point ([PointNet++](https://arxiv.org/abs/1706.02413),
    section 3.2). Deterministic: float32 direct differences, and the lowest
    index of equally far points, on every backend. Duplicates of chosen
    points come last; once only those are left, the lowest index among the
    candidates repeats (point 0 unless it is skipped).

    Args:
        points: tensor or array `(batch, points, 3)`. Must be finite (see
            `validate_points`): with NaN the result is undefined.
        num_samples: int. At most the number of points.
        skip_origin: bool. Whether to leave out points within `sqrt(1e-3)` of
            the origin, as the kernel behind most published point-cloud models
            does. Such a point is chosen only as the first, or when no other
            point is left at all (then index 0 repeats). Defaults to `False`.
        ties: `"lowest"` or `"published"`. Which of equally far points is
            taken: the lowest index, or the one that the published kernel's
            tree reduction over threads arrives at. The latter needs a static
            number of points. Defaults to `"lowest"`.

    Returns:
        int32 tensor `(batch, num_samples)`, in the order of choice. It
        carries no gradient; coordinates gathered with it do.

    Raises:
        ValueError: wrong shape, unknown `ties`, or `num_samples` below 1 or
            above the number of points.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft import ops

    points = np.random.default_rng(0).normal(size=(2, 1024, 3))
    centers = ops.gather(points, ops.farthest_point_sample(points, 64))
    ```
    """
    _output_spec(points, num_samples, skip_origin, ties)
    points = ops.stop_gradient(as_points(points))
    if ties == "lowest":
        return _sample(points, num_samples, skip_origin)
    count = points.shape[1]
    order = ops.convert_to_tensor(published_order(count))
    index = _sample(ops.take(points, order, axis=1), num_samples, skip_origin)
    return ops.take(order, index, axis=0)


def published_order(count) -> np.ndarray:
    """Indices in the order in which the published kernel prefers them.

    Thread `k % T` keeps its lowest `k`; the reduction over threads keeps the
    smallest bit-reversed thread number.

    Args:
        count: int. Number of points.
    """
    bits = min(MAX_THREADS, count).bit_length() - 1
    index = np.arange(count, dtype="int32")
    thread, reversed_thread = index % 2**bits, np.zeros_like(index)
    for bit in range(bits):
        reversed_thread = 2 * reversed_thread + (thread >> bit) % 2
    return np.lexsort((index, reversed_thread)).astype("int32")


def _sample(points, num_samples, skip_origin):
    sample = accelerators.find("farthest_point_sample") or plain_sample
    return sample(points, num_samples, skip_origin)
