"""Sampling and neighbours in `keras.ops`: bit by bit the same everywhere."""

import keras
import numpy as np
from keras import ops

# Larger than the square of any sensible coordinate.
HUGE = 1e30
# Running squared distances start here, as in the published kernel.
FAR = 1e10
# What a gate of dropout that is shut lets through: the GELU and its slope are 0
# there, in every type.
SHUT = -1e4
# The published kernel skips points whose squared norm, in float32, is at most
# 0.001 in float64: those below the float32 nearest to it, which is larger.
SKIPPED_SQUARED_NORM = float(np.float32(1e-3))


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


def plain_sample(points, num_samples, skip_origin):
    """The loop in `keras.ops`, with clouds along the last axis.

    That way compilers vectorise over the batch.
    """
    batch, count = ops.shape(points)[:2]
    rows = ops.arange(batch, dtype="int32")
    points = ops.transpose(points, (1, 0, 2))
    flat = ops.reshape(points, (-1, 3))
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    nearest = starting_distances(x, y, z, skip_origin)

    def step(i, state):
        chosen, nearest, last = state
        center = ops.take(flat, last * batch + rows, axis=0)
        distance = (
            exact_square(x - center[:, 0])
            + exact_square(y - center[:, 1])
            + exact_square(z - center[:, 2])
        )
        nearest = ops.minimum(nearest, distance)
        last = _first_maximum(nearest, count)
        return ops.slice_update(chosen, (i, 0), last[None]), nearest, last

    chosen = ops.zeros((num_samples, batch), dtype="int32")
    last = ops.zeros((batch,), dtype="int32")
    state = ops.fori_loop(1, num_samples, step, (chosen, nearest, last))
    return ops.transpose(state[0])


def starting_distances(x, y, z, skip_origin):
    """The distances before a point is chosen, of the shape of `x`."""
    nearest = ops.full(ops.shape(x), FAR, dtype="float32")
    if skip_origin:
        norm = exact_square(x) + exact_square(y) + exact_square(z)
        # Below every distance: chosen only where nothing else is left.
        nearest = ops.where(norm < SKIPPED_SQUARED_NORM, -1.0, nearest)
    return nearest


def _first_maximum(values, count):
    # Two reductions, because argmax is slow in XLA and not vectorised.
    index = ops.arange(count, dtype="int32")[:, None]
    top = ops.max(values, axis=0)
    return ops.min(ops.where(values == top, index, count), axis=0)
