"""Sampling of points, their neighbours, and gathering by index."""

import numpy as np
from keras import ops

from keras_pointpeft.ops import accelerators
from keras_pointpeft.ops.plain import pairwise_squared
from keras_pointpeft.ops.plain import plain_knn
from keras_pointpeft.ops.plain import plain_sample
from keras_pointpeft.ops.points import as_points
from keras_pointpeft.ops.points import check_points
from keras_pointpeft.ops.points import symbolic

# Threads of a block of the published kernel, at most.
MAX_THREADS = 512


def _sample_spec(points, num_samples, skip_origin=False, ties="lowest"):
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


@symbolic(_sample_spec)
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
    _sample_spec(points, num_samples, skip_origin, ties)
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


def _distance_spec(a, b):
    check_points(a, "a")
    check_points(b, "b")
    return (a.shape[0], a.shape[1], b.shape[1]), "float32"


@symbolic(_distance_spec)
def squared_distances(a, b):
    """Squared distances between all points of two sets.

    By direct differences: the expanded form `|a|^2 - 2ab + |b|^2` loses most
    digits of short distances in float32.

    Args:
        a: tensor or array `(batch, M, 3)`.
        b: tensor or array `(batch, N, 3)`.

    Returns:
        float32 tensor `(batch, M, N)`, differentiable.

    Raises:
        ValueError: wrong shape.

    Example:
    ```python
    import numpy as np
    from keras_pointpeft import ops

    points = np.random.default_rng(0).random((2, 64, 3), "float32")
    distances = ops.squared_distances(points, points)  # (2, 64, 64)
    ```
    """
    _distance_spec(a, b)
    return pairwise_squared(as_points(a), as_points(b))


def _knn_spec(queries, points, k):
    check_points(queries, "queries")
    check_points(points, "points")
    count = points.shape[1]
    if k < 1 or (count is not None and k > count):
        raise ValueError(
            f"`k` must lie between 1 and the number of points, {count}. "
            f"Received: k={k}"
        )
    return (queries.shape[0], queries.shape[1], k), "int32"


@symbolic(_knn_spec)
def knn(queries, points, k):
    """Indices of the `k` points nearest to each query.

    Args:
        queries: tensor or array `(batch, M, 3)`.
        points: tensor or array `(batch, N, 3)`. Must be finite (see
            `validate_points`).
        k: int. At most the number of points.

    Returns:
        int32 tensor `(batch, M, k)`: ascending distance, and of equally near
        points (duplicates, lattices) the lower index first, on every
        backend. It carries no gradient; coordinates gathered with it do.

    Raises:
        ValueError: wrong shape, or `k` below 1 or above the number of points.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft import ops

    points = np.random.default_rng(0).normal(size=(2, 1024, 3))
    neighbors = ops.knn(points[:, :64], points, k=32)  # (2, 64, 32)
    ```
    """
    _knn_spec(queries, points, k)
    queries = ops.stop_gradient(as_points(queries))
    points = ops.stop_gradient(as_points(points))
    nearest = accelerators.find("knn") or plain_knn
    return nearest(queries, points, k)


def _ball_spec(queries, points, radius, k):
    check_points(queries, "queries")
    check_points(points, "points")
    if k < 1 or not radius > 0:
        raise ValueError(
            "`k` must be at least 1 and `radius` positive. "
            f"Received: k={k}, radius={radius}"
        )
    return (queries.shape[0], queries.shape[1], k), "int32"


@symbolic(_ball_spec)
def ball_query(queries, points, radius, k):
    """Indices of up to `k` points within a radius of each query.

    As in the published kernel of
    [PointNet++](https://arxiv.org/abs/1706.02413): the first `k` points in
    the order of their index, not of their distance.

    Args:
        queries: tensor or array `(batch, M, 3)`.
        points: tensor or array `(batch, N, 3)`.
        radius: float. Points strictly inside it count.
        k: int. May be larger than the number of points.

    Returns:
        int32 tensor `(batch, M, k)`. A row with fewer points is filled up
        with its first one; a row without any is all 0.

    Raises:
        ValueError: wrong shape, `k` below 1, or a radius that is not
            positive.

    Example:
    ```python
    import numpy as np
    from keras_pointpeft import ops

    points = np.random.default_rng(0).random((2, 64, 3), "float32")
    index = ops.ball_query(points[:, :8], points, 0.2, 16)  # (2, 8, 16)
    ```
    """
    _ball_spec(queries, points, radius, k)
    queries = ops.stop_gradient(as_points(queries))
    points = ops.stop_gradient(as_points(points))
    count = ops.shape(points)[1]
    limit = np.float32(radius) * np.float32(radius)
    index = ops.arange(count, dtype="int32")
    inside = pairwise_squared(queries, points) < limit
    index = ops.where(inside, index, count)
    if points.shape[1] is None:
        # Enough candidates, however few points there turn out to be.
        index = ops.pad(index, ((0, 0), (0, 0), (0, k)), constant_values=2**30)
        kept = k
    else:
        kept = min(k, points.shape[1])
    # The minimum is for XLA, see `plain_knn`.
    found = ops.minimum(-ops.top_k(-index, kept)[0], 2**30)
    if kept < k:
        found = ops.pad(
            found, ((0, 0), (0, 0), (0, k - kept)), constant_values=2**30
        )
    found = ops.where(found < count, found, found[..., :1])
    return ops.cast(ops.where(found < count, found, 0), "int32")


def _gather_spec(values, indices):
    if len(values.shape) != 3 or len(indices.shape) < 2:
        raise ValueError(
            "Expected `values` (batch, N, C) and `indices` (batch, ...). "
            f"Received: values of shape {tuple(values.shape)}, indices of "
            f"shape {tuple(indices.shape)}"
        )
    return (*indices.shape, values.shape[-1]), values.dtype


@symbolic(_gather_spec)
def gather(values, indices):
    """Rows of `values`, per sample.

    Args:
        values: tensor or array `(batch, N, C)`.
        indices: int tensor or array `(batch, ...)`, from 0 to `N - 1`.

    Returns:
        tensor `(batch, ..., C)`, differentiable in `values`.

    Raises:
        ValueError: `values` has not three axes, or `indices` fewer than two.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft import ops

    points = np.random.default_rng(0).normal(size=(2, 1024, 3))
    ops.gather(points, ops.knn(points, points, 16)).shape  # (2, 1024, 16, 3)
    ```
    """
    _gather_spec(values, indices)
    values = ops.convert_to_tensor(values)
    indices = ops.cast(indices, "int32")
    fast = accelerators.find("gather")
    found = fast and fast(values, indices)
    if found is not None:
        return found
    batch, count, channels = ops.shape(values)
    shape = tuple(ops.shape(indices))
    # One flat take: several times faster than take_along_axis.
    start = ops.arange(batch, dtype="int32") * count
    start = ops.reshape(start, (-1,) + (1,) * (len(shape) - 1))
    flat = ops.reshape(values, (-1, channels))
    rows = ops.take(flat, ops.reshape(indices + start, (-1,)), axis=0)
    return ops.reshape(rows, shape + (channels,))


def _group_spec(points, centers, k):
    check_points(centers, "centers")
    shape, dtype = _knn_spec(centers, points, k)
    return [(shape, dtype), ((*shape, 3), "float32")]


@symbolic(_group_spec)
def group(points, centers, k):
    """The `k` points nearest to each centre, as seen from it.

    `knn`, `gather` and a subtraction; on CUDA one kernel for the three, where
    no gradient is asked for.

    Args:
        points: tensor or array `(batch, N, 3)`. Must be finite (see
            `validate_points`).
        centers: tensor or array `(batch, M, 3)`.
        k: int. At most the number of points.

    Returns:
        tuple of an int32 tensor `(batch, M, k)`, the indices that
        `knn(centers, points, k)` gives, and a float32 tensor
        `(batch, M, k, 3)`, those points minus their centre, differentiable
        in `points` and `centers`.

    Raises:
        ValueError: wrong shape, or `k` below 1 or above the number of points.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft import ops

    points = np.random.default_rng(0).normal(size=(2, 1024, 3))
    neighbors, offsets = ops.group(points, points[:, :64], k=32)
    offsets.shape  # (2, 64, 32, 3)
    ```
    """
    _group_spec(points, centers, k)
    points, centers = as_points(points), as_points(centers)
    fused = accelerators.find("group")
    found = None if fused is None else fused(points, centers, k)
    if found is not None:
        return found
    neighbors = knn(centers, points, k)
    return neighbors, gather(points, neighbors) - centers[:, :, None]
