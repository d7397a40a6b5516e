import numpy as np


def validate_points(points):
    """Refuses arrays that are not finite point clouds.

    For arrays in memory, before they are used: tensors inside a model are
    not checked, which would stall a device at every step.

    Args:
        points: array `(batch, points, 3)`.

    Raises:
        ValueError: naming the first clouds with NaN or infinity, or the
            shape that was found.
    """
    points = np.asarray(points)
    if points.ndim != 3 or points.shape[-1] != 3:
        raise ValueError(
            "Points must have the shape `(batch, points, 3)`. "
            f"Received: shape {points.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(points).all(axis=(1, 2)))
    if bad.size:
        raise ValueError(
            f"{bad.size} of {len(points)} clouds have NaN or infinite "
            f"coordinates. Received: clouds {bad[:10].tolist()}"
        )
