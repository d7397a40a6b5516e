"""The arithmetic of DAPT's dynamic adapter."""

from keras import ops

from keras_pointpeft.ops import accelerators
from keras_pointpeft.ops.arithmetic import gelu
from keras_pointpeft.ops.arithmetic import layer_norm
from keras_pointpeft.ops.linear import linear


def dynamic_adapter(x, norm, scale, down, up, mask=None):
    """`up(mask * gelu(down(norm(x)))) * relu(scale(norm(x)))`.

    Section 3.2 of [DAPT](https://arxiv.org/abs/2403.01439).

    On torch the backward pass keeps `x` and what has the width of the
    bottleneck, and computes the rest again.

    Args:
        x: tensor `(batch, tokens, dim)`.
        norm: scale and shift, `(dim,)`, and epsilon.
        scale: kernel `(dim, 1)` and bias.
        down: kernel `(dim, rank)` and bias.
        up: kernel `(rank, dim)` and bias.
        mask: optional tensor `(batch, tokens, rank)`, of dropout.

    Returns:
        tensor `(batch, tokens, dim)`.
    """
    fast = accelerators.find("dynamic_adapter")
    if fast is not None:
        result = fast(x, norm, scale, down, up, mask)
        if result is not None:
            return result
    normed = layer_norm(x, *norm)
    hidden = gelu(linear(normed, *down))
    if mask is not None:
        hidden = hidden * mask
    return linear(hidden, *up) * ops.relu(linear(normed, *scale))
