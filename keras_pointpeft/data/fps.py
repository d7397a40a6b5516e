"""Furthest point sampling for the loader, in numpy.

The same rule as `keras_pointpeft.ops.farthest_point_sample`: float32 direct
differences, lowest index on ties. numba, where installed, makes it several
times faster; the indices are equal.
"""

import functools

import numpy as np


def farthest_point_indices(
    points: np.ndarray, num_samples: int, start=0, skip_origin: bool = False
) -> np.ndarray:
    """Indices of points that are far from each other.

    Args:
        points: array `(batch, points, 3)`.
        num_samples: int, at most the number of points.
        start: int, or int array `(batch,)`, the first chosen point.
            Defaults to 0.
        skip_origin: bool. Whether only `start` may have a squared norm of
            at most 1e-3.

    Returns:
        int32 array `(batch, num_samples)`, in the order of choice.

    Raises:
        ValueError: a wrong shape, or more samples than points.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft.data.fps import farthest_point_indices

    points = np.random.default_rng(0).normal(size=(2, 256, 3))
    farthest_point_indices(points, 64).shape  # (2, 64)
    ```
    """
    points = np.asarray(points, "float32")
    if points.ndim != 3 or points.shape[-1] != 3:
        raise ValueError(
            "`points` must have the shape (batch, points, 3). "
            f"Received: {points.shape}"
        )
    batch, count, _ = points.shape
    if not 0 < num_samples <= count:
        raise ValueError(
            f"`num_samples` must lie between 1 and the {count} points. "
            f"Received: {num_samples}"
        )
    first = np.array(np.broadcast_to(start, (batch,)), "int32")
    if batch and not (first.min() >= 0 and first.max() < count):
        raise ValueError(
            f"`start` must lie between 0 and {count - 1}. Received: {start}"
        )
    chosen = np.empty((batch, num_samples), "int32")
    # One plane for each axis: contiguous, whatever the batch's layout.
    planes = np.ascontiguousarray(points.transpose(2, 0, 1))
    nearest = np.full((batch, count), np.inf, "float32")
    if skip_origin:
        x, y, z = planes
        # In float32 this is the published `> 0.001` of doubles.
        nearest[x * x + y * y + z * z < np.float32(1e-3)] = -1.0
    compiled = _compiled() or _batched
    compiled(planes, first, nearest, chosen)
    return chosen


def _batched(planes, first, nearest, chosen):
    """All clouds of a batch at once."""
    x, y, z = planes
    rows = np.arange(len(x))
    distance = np.empty_like(nearest)
    square = np.empty_like(nearest)
    last = first
    for step in range(chosen.shape[1]):
        chosen[:, step] = last
        np.subtract(x, x[rows, last][:, None], out=distance)
        np.multiply(distance, distance, out=distance)
        for plane in (y, z):
            np.subtract(plane, plane[rows, last][:, None], out=square)
            np.multiply(square, square, out=square)
            np.add(distance, square, out=distance)
        np.minimum(nearest, distance, out=nearest)
        last = nearest.argmax(axis=1)


@functools.cache
def _compiled():
    """The same loop compiled, or None without numba."""
    try:
        import numba
    except ImportError:
        return None

    # nogil: a loader with several worker threads runs them side by side.
    @numba.njit(
        "void(float32[:, :, ::1], int32[::1], float32[:, ::1], int32[:, ::1])",
        nogil=True,
    )
    def sample(planes, first, smallest, chosen):
        count = planes.shape[2]
        for b in range(planes.shape[1]):
            x, y, z = planes[0, b], planes[1, b], planes[2, b]
            nearest = smallest[b]
            last = first[b]
            for step in range(chosen.shape[1]):
                chosen[b, step] = last
                px, py, pz = x[last], y[last], z[last]
                # Two loops: the first one vectorises.
                for i in range(count):
                    dx, dy, dz = x[i] - px, y[i] - py, z[i] - pz
                    d = dx * dx + dy * dy + dz * dz
                    nearest[i] = min(nearest[i], d)
                bits = nearest.view(np.int32)  # keeps the order of d >= 0
                best = bits[0]
                for i in range(count):
                    best = max(best, bits[i])
                last = 0
                while bits[last] != best:
                    last += 1

    return sample
