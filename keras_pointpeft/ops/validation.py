"""Refuses clouds that no model can use."""

import numpy as np
from keras import ops


def validate_points(points):
    """Raises unless all coordinates are finite.

    The other functions of this package do not look at values: that would
    make every training step on an accelerator wait for the device. Call this
    once where data come in; models call it on the arrays that are given to
    `fit`, `evaluate` and `predict`.

    Args:
        points: array or tensor `(..., points, 3)`; further channels may
            follow the coordinates. Reading a tensor on a device waits for it.

    Returns:
        `points`, unchanged.

    Raises:
        ValueError: fewer than two axes, fewer than 3 coordinates, or NaN or
            infinite values. The message counts and names the clouds.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft import ops

    ops.validate_points(np.zeros((2, 1024, 3)))
    ```
    """
    array = points
    if not isinstance(points, np.ndarray):
        array = ops.convert_to_numpy(points)
    if array.ndim < 2 or array.shape[-1] < 3:
        raise ValueError(
            "Points must have the shape (..., points, 3). "
            f"Received: {array.shape}"
        )
    # A sum shows any NaN or infinity in one pass, without a mask.
    with np.errstate(invalid="ignore", over="ignore"):
        suspicious = not np.isfinite(array.sum(dtype="float64"))
    if not suspicious:
        return points
    bad = ~np.isfinite(array).all(axis=(-2, -1)).reshape(-1)
    if bad.any():
        which = np.flatnonzero(bad)
        shown = ", ".join(str(i) for i in which[:10])
        more = ", ..." if len(which) > 10 else ""
        raise ValueError(
            f"{len(which)} of {bad.size} clouds hold NaN or infinite "
            f"coordinates. Received: clouds number {shown}{more}"
        )
    return points
