"""Clouds for a bank, from whatever holds them."""

import numpy as np


def batches_of(data, labels, batch_size):
    """Batches of points and labels, and how many there are if known.

    Args:
        data: array `(clouds, points, 3)`, or an iterable of batches: points,
            or a tuple of points and labels.
        labels: optional array `(clouds,)`, for an array of points.
        batch_size: int, for an array of points.

    Returns:
        An iterable of pairs, where labels may be None, and an int or None.
    """
    if hasattr(data, "ndim"):
        points = np.asarray(data, "float32")
        if points.ndim != 3 or points.shape[-1] != 3:
            raise ValueError(
                "Points must have the shape (clouds, points, 3). "
                f"Received: {points.shape}"
            )
        starts = range(0, len(points), batch_size)
        batches = (
            (
                points[i : i + batch_size],
                None if labels is None else labels[i : i + batch_size],
            )
            for i in starts
        )
        return batches, len(starts)
    if labels is not None:
        raise ValueError(
            "`labels` go with an array of points; batches bring their own. "
            f"Received: data of type {type(data).__name__}"
        )
    total = len(data) if hasattr(data, "__len__") else None
    indexed = hasattr(data, "__getitem__") and total is not None
    items = (data[i] for i in range(total)) if indexed else iter(data)
    return (_split(item) for item in items), total


def _split(item):
    if isinstance(item, (tuple, list)):
        labels = np.asarray(item[1]) if len(item) > 1 else None
        return np.asarray(item[0], "float32"), labels
    return np.asarray(item, "float32"), None
