"""Farthest point sampling."""

import numpy as np
from keras import ops

from keras_pointpeft.ops import accelerators
from keras_pointpeft.ops.distances import as_points
from keras_pointpeft.ops.distances import exact_square
from keras_pointpeft.ops.symbolic import symbolic

# Running squared distances start here, as in the published kernel.
FAR = 1e10
# The published kernel skips points whose squared norm, in float32, is at most
# 0.001 in float64: those below the float32 nearest to it, which is larger.
SKIPPED_SQUARED_NORM = float(np.float32(1e-3))
# Threads of a block of the published kernel, at most.
MAX_THREADS = 512


def _output_spec(points, num_samples, skip_origin=False, ties="lowest"):
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
    points = ops.stop_gradient(as_points(points, "points"))
    count = points.shape[1]
    if num_samples < 1 or (count is not None and num_samples > count):
        raise ValueError(
            "`num_samples` must lie between 1 and the number of points, "
            f"{count}. Received: num_samples={num_samples}"
        )
    if ties == "lowest":
        return _sample(points, num_samples, skip_origin)
    if ties != "published":
        raise ValueError(
            f'`ties` must be "lowest" or "published". Received: {ties!r}'
        )
    if count is None:
        raise ValueError(
            'ties="published" needs a known number of points. '
            f"Received: points of shape {tuple(points.shape)}"
        )
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
    fast = accelerators.find("farthest_point_sample", points)
    return (fast or plain_sample)(points, num_samples, skip_origin)


def plain_sample(points, num_samples, skip_origin):
    """The loop in `keras.ops`, with clouds along the last axis.

    That way compilers vectorise over the batch.
    """
    batch, count = ops.shape(points)[:2]
    rows = ops.arange(batch, dtype="int32")
    points = ops.transpose(points, (1, 0, 2))
    flat = ops.reshape(points, (-1, 3))
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    nearest = ops.full((count, batch), FAR, dtype="float32")
    if skip_origin:
        norm = exact_square(x) + exact_square(y) + exact_square(z)
        # Below every distance: chosen only where nothing else is left.
        nearest = ops.where(norm < SKIPPED_SQUARED_NORM, -1.0, nearest)

    def step(i, state):
        chosen, nearest, last = state
        center = ops.take(flat, last * batch + rows, axis=0)
        distance = (
            exact_square(x - center[:, 0])
            + exact_square(y - center[:, 1])
            + exact_square(z - center[:, 2])
        )
        nearest = ops.minimum(nearest, distance)
        last = _first_maximum(nearest, count)
        return ops.slice_update(chosen, (i, 0), last[None]), nearest, last

    chosen = ops.zeros((num_samples, batch), dtype="int32")
    last = ops.zeros((batch,), dtype="int32")
    state = ops.fori_loop(1, num_samples, step, (chosen, nearest, last))
    return ops.transpose(state[0])


def _first_maximum(values, count):
    # Two reductions, because argmax is slow in XLA and not vectorised.
    index = ops.arange(count, dtype="int32")[:, None]
    top = ops.max(values, axis=0)
    return ops.min(ops.where(values == top, index, count), axis=0)
