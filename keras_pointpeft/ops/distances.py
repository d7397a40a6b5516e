"""Distances that come out bit by bit the same on every backend."""

import keras
import numpy as np
from keras import ops

from keras_pointpeft.ops.validation import check_digits

# Larger than the square of any sensible coordinate.
HUGE = 1e30


def check_points(points, name):
    """Raises `ValueError` unless the shape is `(batch, points, 3)`."""
    shape = tuple(points.shape)
    if len(shape) != 3 or shape[-1] != 3:
        raise ValueError(
            f"`{name}` must have the shape (batch, points, 3). "
            f"Received: {shape}"
        )


def as_points(points):
    """`points` as a float32 tensor, whatever the dtype policy.

    Raises:
        ValueError: an array in more digits, so far from the origin that
            float32 would cut its coordinates.
    """
    if isinstance(points, np.ndarray) and points.dtype != "float32":
        # Queries may be few; of one point no size is known.
        if points.ndim == 3 and points.shape[1] > 1:
            check_digits(points)
    return ops.cast(points, "float32")


def exact_square(x):
    """`x * x`, rounded before anything is added to it.

    XLA contracts a product and a sum to one fused instruction, which breaks
    exact ties between distances. An operation in between, which no compiler
    may drop, prevents that.
    """
    square = x * x
    if keras.config.backend() == "torch":
        return square
    return ops.minimum(square, HUGE)


def pairwise_squared(a, b):
    """`(batch, M, N)` from `(batch, M, 3)` and `(batch, N, 3)`."""
    total = None
    for axis in range(3):
        difference = a[:, :, None, axis] - b[:, None, :, axis]
        square = exact_square(difference)
        total = square if total is None else total + square
    return total


def plain_knn(queries, points, k):
    """Indices of the nearest points, lower ones first on ties."""
    distance = pairwise_squared(queries, points)
    if keras.config.backend() == "torch":
        # Its `top_k` leaves the order of ties open; a stable sort does not.
        return ops.argsort(distance, axis=-1)[..., :k]
    _, index = ops.top_k(-distance, k)
    # Changes nothing, but keeps XLA from merging a caller's slices into
    # `top_k`, which it would then replace by a full sort, 25 times slower.
    return ops.minimum(ops.cast(index, "int32"), ops.shape(points)[1] - 1)
