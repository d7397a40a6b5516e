"""Clouds to the unit sphere."""

import numpy as np

from keras_pointpeft.data import coordinates
from keras_pointpeft.ops.validation import check_steps

# Points that are worked on at once, in float64.
_AT_ONCE = 2**18


def unit_sphere(points: np.ndarray) -> np.ndarray:
    """Centres each cloud and scales it into the unit sphere.

    The mean of the points goes to 0 and the furthest point to radius 1, as
    the published loaders do. A cloud of one place stays at 0. Where the cloud
    lies and in which unit it is makes no difference: it becomes float32 when
    it has been centred.

    Args:
        points: array `(..., points, 3)`.

    Returns:
        float32 array of the same shape.

    Raises:
        ValueError: a wrong shape; NaN or infinity; float32 coordinates that
            are too far from the origin to tell points apart; degrees beside
            heights in metres.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft.data import unit_sphere

    cloud = unit_sphere(np.random.default_rng(0).normal(5, 2, (64, 3)))
    np.abs(cloud.mean(axis=0)).max() < 1e-6
    ```
    """
    points = coordinates.as_floats(points)
    if points.ndim < 2 or points.shape[-1] != 3:
        raise ValueError(
            "`points` must have the shape (..., points, 3). "
            f"Received: {points.shape}"
        )
    result = np.empty(points.shape, "float32")
    clouds = points.reshape(-1, *points.shape[-2:])
    results = result.reshape(clouds.shape)
    step = max(1, _AT_ONCE // max(1, points.shape[-2]))
    for begin in range(0, len(clouds), step):
        part = slice(begin, begin + step)
        results[part] = _unit_spheres(clouds[part], begin)
    return result


def prepared(cloud, normalize):
    """One cloud of a file as a model's input.

    Args:
        cloud: array `(points, 3)`.
        normalize: bool, to the unit sphere.

    Returns:
        float32 array `(points, 3)`.

    Raises:
        ValueError: NaN or infinity, degrees beside metres, or, where it is
            not normalised, coordinates that float32 would cut.
    """
    check_finite(cloud)
    return unit_sphere(cloud) if normalize else coordinates.to_float32(cloud)


def check_finite(cloud):
    """Raises `ValueError` for a cloud `(points, 3)` with NaN or infinity."""
    finite = np.isfinite(cloud)
    if not finite.all():
        wrong = int((~finite).any(axis=1).sum())
        raise ValueError(f"{wrong} points with NaN or infinity")


def _unit_spheres(clouds, number):
    if not clouds.size:
        return clouds
    center = clouds.mean(axis=-2, keepdims=True, dtype="float64")
    bad = ~np.isfinite(center).all(axis=(-2, -1))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        wrong = int((~np.isfinite(clouds[first])).any(axis=-1).sum())
        raise ValueError(
            "A cloud with NaN or infinity cannot be centred. "
            f"Received: {wrong} such points in cloud {number + first}"
        )
    centered = clouds - center
    radius = np.sqrt(np.einsum("...i,...i", centered, centered).max(axis=-1))
    check_steps(clouds, center, radius)
    for cloud, middle, size in zip(clouds, center, radius):
        # Only a cloud at a place that may be degrees is looked at closer.
        if size > 0 and 1 < np.abs(middle[0, :2]).max() <= 360:
            coordinates.check_units(cloud)
    radius = np.where(radius > 0, radius, 1)
    return centered / radius[:, None, None]
