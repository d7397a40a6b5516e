"""Furthest point sampling for the loader: arrays in, arrays out."""

import numpy as np

from keras_pointpeft.data.coordinates import nearby
from keras_pointpeft.ops.accelerators import host


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
    from keras_pointpeft.data.fps import farthest_point_indices

    points = np.random.default_rng(0).normal(size=(2, 256, 3))
    farthest_point_indices(points, 64).shape  # (2, 64)
    ```
    """
    points = nearby(points)
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
