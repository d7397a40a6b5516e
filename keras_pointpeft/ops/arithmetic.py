"""What transformers do channel by channel: norms, scales and shifts."""

from keras import ops

from keras_pointpeft.ops import accelerators


def layer_norm(x, scale, shift, epsilon):
    """`keras.ops.layer_normalization` over the last axis.

    Args:
        x: tensor `(..., channels)`.
        scale: tensor `(channels,)`, float32 whatever `x` is.
        shift: likewise.
        epsilon: float.

    Returns:
        tensor like `x`, computed in float32 at least.
    """
    fast = accelerators.find("layer_norm")
    if fast is not None:
        return fast(x, scale, shift, epsilon)
    return ops.layer_normalization(x, scale, shift, epsilon=epsilon)


def affine(x, scale, shift):
    """`x * scale + shift`, the two cast to the type of `x`.

    Args:
        x: tensor `(..., channels)`.
        scale: tensor `(channels,)`, or None for 1.
        shift: tensor `(channels,)`.
    """
    fast = accelerators.find("affine")
    if fast is not None and scale is not None:
        return fast(x, scale, shift)
    # A backward pass that computes this again does so on its own, where no
    # layer's dtype policy rules.
    if shift.dtype != x.dtype:
        shift = ops.cast(shift, x.dtype)
        scale = None if scale is None else ops.cast(scale, x.dtype)
    if scale is None:
        return x + shift
    return x * scale + shift


def one_hot(index, count, dtype="float32"):
    """`keras.ops.one_hot`, which on torch's CPU looks at each index first.

    Args:
        index: integer tensor.
        count: int.
        dtype: string.

    Returns:
        tensor with one more axis; zeros for an index that is not there.
    """
    places = ops.arange(count, dtype=index.dtype)
    return ops.cast(index[..., None] == places, dtype)


def gelu(x):
    """The exact GELU; of `x` as it is, the backward pass keeps `x` alone."""
    return ops.gelu(x, approximate=False)
