"""The loop of farthest point sampling, for any backend."""

import numpy as np
from keras import ops

from keras_pointpeft.ops.distances import exact_square

# Running squared distances start here, as in the published kernel.
FAR = 1e10
# The published kernel skips points whose squared norm, in float32, is at most
# 0.001 in float64: those below the float32 nearest to it, which is larger.
SKIPPED_SQUARED_NORM = float(np.float32(1e-3))


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
