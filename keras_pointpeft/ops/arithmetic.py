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
    # A backward pass that computes this again does so on its own, where no
    # layer's dtype policy rules.
    if shift.dtype != x.dtype:
        shift = ops.cast(shift, x.dtype)
        scale = None if scale is None else ops.cast(scale, x.dtype)
    if scale is None:
        return x + shift
    fast = accelerators.find("affine")
    return x * scale + shift if fast is None else fast(x, scale, shift)


def gelu(x):
    """The exact GELU; of `x` as it is, the backward pass keeps `x` alone."""
    return ops.gelu(x, approximate=False)
