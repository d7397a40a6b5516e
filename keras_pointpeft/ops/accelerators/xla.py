"""Farthest point sampling in the form that XLA compiles to fast code."""

from keras import ops

from keras_pointpeft.ops.plain import exact_square
from keras_pointpeft.ops.plain import plain_sample
from keras_pointpeft.ops.plain import starting_distances

BLOCK = 32
NEVER = -(2**31)  # below the bits of every float, those of -1 included


def two_level_sample(points, num_samples, skip_origin):
    """As `plain_sample`; the maximum is found in blocks.

    XLA's arg-max is not vectorised, a maximum is. So the loop compares the
    bits of the distances (those of floats from 0 on sort like the floats)
    with the maximum of each block of points, and searches the winning block
    alone. Clouds are along the last axis, for vectorisation over the batch.
    """
    count = points.shape[1]
    if count is None:
        return plain_sample(points, num_samples, skip_origin)
    batch = ops.shape(points)[0]
    rows = ops.arange(batch, dtype="int32")
    blocks = -(-count // BLOCK)

    def filled(plane, value):
        missing = blocks * BLOCK - count
        if missing == 0:
            return plane
        filler = ops.full((missing, batch), value, dtype=plane.dtype)
        return ops.concatenate((plane, filler))

    planes = ops.transpose(points, (2, 1, 0))
    planes = [planes[axis] for axis in range(3)]
    nearest = starting_distances(*planes, skip_origin)
    nearest = filled(_bits(nearest), NEVER)
    planes = [filled(plane, 0.0) for plane in planes]
    flat = [ops.reshape(plane, (-1,)) for plane in planes]
    block_number = ops.arange(blocks, dtype="int32")[:, None]
    place = ops.arange(BLOCK, dtype="int32")[:, None]

    def step(i, state):
        chosen, nearest, last = state
        distance = None
        for plane, values in zip(planes, flat):
            center = ops.take(values, last * batch + rows, axis=0)
            square = exact_square(plane - center)
            distance = square if distance is None else distance + square
        nearest = ops.minimum(nearest, _bits(distance))
        parts = ops.reshape(nearest, (blocks, BLOCK, -1))
        highest = ops.max(parts, axis=1)
        top = ops.max(highest, axis=0)
        block = ops.where(highest == top, block_number, blocks)
        start = ops.min(block, axis=0) * BLOCK
        inside = ops.reshape(nearest, (-1,))
        inside = ops.take(inside, (start + place) * batch + rows, axis=0)
        last = start + ops.min(ops.where(inside == top, place, BLOCK), axis=0)
        return ops.slice_update(chosen, (i, 0), last[None]), nearest, last

    chosen = ops.zeros((num_samples, batch), dtype="int32")
    last = ops.zeros((batch,), dtype="int32")
    state = ops.fori_loop(1, num_samples, step, (chosen, nearest, last))
    return ops.transpose(state[0])


def _bits(x):
    # On tensorflow, `view` needs a last axis of known size.
    return ops.view(x[..., None], "int32")[..., 0]
