"""Clouds to the unit sphere."""

import numpy as np


def unit_sphere(points: np.ndarray) -> np.ndarray:
    """Centres each cloud and scales it into the unit sphere.

    The mean of the points goes to 0 and the furthest point to radius 1, as
    the published loaders do. A cloud of one place stays at 0.

    Args:
        points: array `(..., points, 3)`.

    Returns:
        float32 array of the same shape.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft.data import unit_sphere

    cloud = unit_sphere(np.random.default_rng(0).normal(5, 2, (64, 3)))
    np.abs(cloud.mean(axis=0)).max() < 1e-6
    ```
    """
    points = np.asarray(points, "float32")
    if points.ndim < 2 or points.shape[-1] != 3:
        raise ValueError(
            "`points` must have the shape (..., points, 3). "
            f"Received: {points.shape}"
        )
    center = points.mean(axis=-2, keepdims=True, dtype="float64")
    centered = points - center.astype("float32")
    radius = np.sqrt((centered**2).sum(axis=-1).max(axis=-1, initial=0))
    radius = np.where(radius > 0, radius, 1).astype("float32")
    return centered / radius[..., None, None]
