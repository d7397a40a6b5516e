"""Pooling over the points of a neighbourhood."""

from keras import ops

from keras_pointpeft.ops import accelerators


def largest(x, axis):
    """`keras.ops.max` over one axis.

    On torch the gradient goes to one of equal values, as in the published
    code, and neither `x` nor a mask of it is kept for the backward pass;
    elsewhere equal values share the gradient.

    Args:
        x: tensor.
        axis: int.

    Returns:
        tensor without that axis.
    """
    fast = accelerators.find("largest")
    return ops.max(x, axis=axis) if fast is None else fast(x, axis)
