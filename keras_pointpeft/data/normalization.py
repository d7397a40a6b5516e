"""Clouds to the unit sphere."""

import numpy as np

from keras_pointpeft.data.clouds import as_floats
from keras_pointpeft.data.clouds import check_units
from keras_pointpeft.data.clouds import to_float32
from keras_pointpeft.ops.points import check_steps

# Within so many radii of the origin float32 has thousands of steps.
_NEAR = 100.0


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
    points = as_floats(points)
    if points.ndim < 2 or points.shape[-1] != 3:
        raise ValueError(
            "`points` must have the shape (..., points, 3). "
            f"Received: {points.shape}"
        )
    result = np.empty(points.shape, "float32")
    if points.size:
        clouds = points.reshape(-1, *points.shape[-2:])
        _check(clouds, *_fill(clouds, result.reshape(clouds.shape)))
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
    return placed(cloud, normalize)


def placed(cloud, normalize):
    """The same of points that are known to be finite."""
    return unit_sphere(cloud) if normalize else to_float32(cloud)


def check_finite(cloud):
    """Raises `ValueError` for a cloud `(points, 3)` with NaN or infinity."""
    # NumPy is several times slower with rows of three than with columns.
    parts = [cloud] if cloud.flags.c_contiguous else cloud.T
    if not all(np.isfinite(part).all() for part in parts):
        wrong = int((~np.isfinite(cloud)).any(axis=1).sum())
        raise ValueError(f"{wrong} points with NaN or infinity")


def _fill(clouds, results):
    """Normalises cloud by cloud; their middles and radii."""
    centers = np.empty((len(clouds), 3))
    radii = np.empty(len(clouds))
    with np.errstate(invalid="ignore", over="ignore"):
        for number, cloud in enumerate(clouds):
            # One plane an axis: NumPy is several times slower with rows of
            # three.
            planes = np.array(cloud.T, "float64", order="C")
            center = np.add.reduce(planes, axis=1) / planes.shape[1]
            centers[number] = center
            planes -= center[:, None]
            radius = np.sqrt(np.einsum("ij,ij->j", planes, planes).max())
            radii[number] = radius
            scale = radius if radius > 0 else 1.0
            np.divide(planes, scale, results[number].T, casting="same_kind")
    return centers, radii


def _check(clouds, centers, radii):
    finite = np.isfinite(radii)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        cloud = clouds[bad[0]]
        wrong = int((~np.isfinite(cloud)).any(axis=-1).sum())
        if wrong:
            raise ValueError(
                "A cloud with NaN or infinity cannot be centred. "
                f"Received: {wrong} such points in cloud {bad[0]}"
            )
        raise ValueError(
            "Coordinates are too large to be squared. Received: up to "
            f"{np.abs(cloud).max():.3g} in cloud {bad[0]}"
        )
    away = np.abs(centers)
    # Most clouds are where neither steps nor units are in question.
    if away.max() > _NEAR * radii.min():
        check_steps(clouds, centers[:, None], radii)
    if away[:, :2].max() > 1:
        # Only at a place that may be degrees is looked closer.
        far = away[:, :2].max(axis=1)
        for number in np.flatnonzero((radii > 0) & (far > 1) & (far <= 360)):
            check_units(clouds[number])
