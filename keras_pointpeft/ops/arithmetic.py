"""The arithmetic of transformers on tokens, fast where a backend can."""

import keras
from keras import ops

from keras_pointpeft.ops import accelerators
from keras_pointpeft.ops.replicas import mean_and_count


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


def batch_norm(x, gamma, beta, mean, variance, epsilon, momentum=None):
    """Batch normalization over all axes but the last, as PyTorch does it.

    Args:
        x: float32 tensor `(..., channels)`.
        gamma: tensor `(channels,)`, the scale.
        beta: likewise, the shift.
        mean: likewise, the moving mean.
        variance: likewise, the moving variance, which is the unbiased one.
        epsilon: float. Added to the variance.
        momentum: optional float, the share of the moving statistics that an
            update keeps. Without it they are what `x` is normalized by; with
            it, those of the batch are, of all replicas together.

    Returns:
        tuple of a tensor like `x`, the moving mean and the moving variance;
        no gradient goes through these two.
    """
    fast = accelerators.find("batch_norm")
    if fast is not None:
        found = fast(x, gamma, beta, mean, variance, epsilon, momentum)
        if found is not None:
            return found
    if momentum is None:
        centered, own = x - mean, variance
    else:
        axes = tuple(range(len(x.shape) - 1))
        batch_mean, replicas = mean_and_count(ops.mean(x, axis=axes))
        centered = x - batch_mean
        own, _ = mean_and_count(ops.mean(centered * centered, axis=axes))
        count = ops.cast(ops.size(x) // x.shape[-1] * replicas, "float32")
        unbiased = own * (count / ops.maximum(count - 1.0, 1.0))
        mean, variance = (
            before * momentum + ops.stop_gradient(new) * (1.0 - momentum)
            for before, new in ((mean, batch_mean), (variance, unbiased))
        )
    y = centered * (gamma / ops.sqrt(own + epsilon)) + beta
    return y, mean, variance


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
    # Cast here: when a backward pass computes this again, no layer's dtype
    # policy casts the weights.
    if shift.dtype != x.dtype:
        shift = ops.cast(shift, x.dtype)
        scale = None if scale is None else ops.cast(scale, x.dtype)
    if scale is None:
        return x + shift
    return x * scale + shift


def add_scaled(x, y, scale):
    """`x + y * scale`.

    Args:
        x: tensor.
        y: tensor like `x`.
        scale: tensor that broadcasts to them.
    """
    fast = accelerators.find("add_scaled")
    return x + y * scale if fast is None else fast(x, y, scale)


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


def pooled(x, scale, shift):
    """`affine` of the mean over all tokens of the GELU of `x`.

    Args:
        x: tensor `(batch, tokens, dim)`.
        scale: tensor `(dim,)`.
        shift: tensor `(dim,)`.

    Returns:
        tensor `(batch, 1, dim)`.
    """
    fast = accelerators.find("pooled")
    if fast is not None:
        result = fast(x, scale, shift)
        if result is not None:
            return result
    return affine(ops.mean(gelu(x), axis=1, keepdims=True), scale, shift)


def linear(x, kernel, bias=None):
    """`x @ kernel + bias`.

    On CPU the torch backend takes oneDNN's product where that needs less than
    three quarters of its default's time, as on some AMD processors; the last
    bits of float32 may then differ from the plain product's.

    Args:
        x: tensor `(..., inputs)`.
        kernel: tensor `(inputs, units)`.
        bias: optional tensor `(units,)`.

    Returns:
        tensor `(..., units)`.
    """
    fast = accelerators.find("linear")
    if fast is not None:
        return fast(x, kernel, bias)
    x = ops.matmul(x, kernel)
    return x if bias is None else x + bias


def split_at(x, *places):
    """The parts of sequences in front of, between and behind some places.

    On torch the gradients of all parts are joined at once, where that of each
    slice would be filled up with zeros, and all of them added.

    Args:
        x: tensor `(batch, tokens, ...)`.
        *places: ints, in order: how many tokens stand in front of a cut.

    Returns:
        sequence of tensors, one more than places.
    """
    fast = accelerators.find("split_at")
    if fast is not None and not isinstance(x, keras.KerasTensor):
        return fast(x, places)
    ends = (0, *places, None)
    return [x[:, i:j] for i, j in zip(ends, ends[1:])]


def attention(query, key, value, mask=None, is_causal=False, scale=None):
    """`keras.ops.dot_product_attention`.

    On torch without the copies of query, key and value that Keras makes,
    which are views of one projection.

    Args:
        query: tensor `(batch, queries, heads, width)`.
        key: tensor `(batch, keys, heads, width)`.
        value: likewise.
        mask: optional boolean tensor `(batch or 1, 1, queries, keys)`, true
            where attention is allowed.
        is_causal: bool. Whether a token sees only those before it, and
            itself; not together with a mask.
        scale: optional float, of the scores. By default `width**-0.5`.

    Returns:
        tensor `(batch, queries, heads, width)`.
    """
    fast = accelerators.find("attention")
    if fast is not None and mask is None:
        return fast(query, key, value, is_causal, scale)
    # Without `flash_attention=False` Keras probes the device every call.
    return ops.dot_product_attention(
        query,
        key,
        value,
        mask=mask,
        is_causal=is_causal,
        scale=scale,
        flash_attention=False,
    )


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


def in_parts(function, neighborhoods):
    """`function(neighborhoods)`, a few clouds at a time where that is faster.

    On a CPU, torch writes what each step of the function makes of the whole
    batch to memory and reads it back; of a few clouds it stays in the caches,
    and the batch's is never there.

    Args:
        function: from `(batch, groups, points, channels)` to a tensor whose
            entries depend on their own cloud alone.
        neighborhoods: tensor `(batch, groups, points, channels)`.

    Returns:
        The function's tensor.
    """
    fast = accelerators.find("in_parts")
    if fast is None:
        return function(neighborhoods)
    return fast(function, neighborhoods)


def dynamic_adapter(x, norm, scale, down, up, gate=None, rate=0.0, leak=0.0):
    """`up(drop(gelu(down(norm(x))))) * relu(scale(norm(x)))`.

    Section 3.2 of [DAPT](https://arxiv.org/abs/2403.01439). Dropout shuts its
    gate in front of the activation, of which there is then nothing left, nor
    of its gradient: none of them has to be multiplied by a mask.

    On torch the backward pass keeps `x` and what has the width of the
    bottleneck, and computes the rest again.

    Args:
        x: tensor `(batch, tokens, dim)`.
        norm: scale and shift, `(dim,)`, and epsilon.
        scale: kernel `(dim, 1)` and bias.
        down: kernel `(dim, rank)` and bias.
        up: kernel `(rank, dim)` and bias.
        gate: optional tensor `(batch, tokens, rank)`, of dropout, see
            `keras_pointpeft.layers.basic.Dropout.gate`.
        rate: float, the part of it that is shut.
        leak: float, the part of its gradient that ReLU lets through where it
            is 0, see `relu`.

    Returns:
        tensor `(batch, tokens, dim)`.
    """
    fast = accelerators.find("dynamic_adapter")
    if fast is not None:
        result = fast(x, norm, scale, down, up, gate, rate, leak)
        if result is not None:
            return result
    normed = layer_norm(x, *norm)
    hidden = linear(normed, *down)
    if gate is None:
        hidden = gelu(hidden)
    else:
        hidden = gelu(ops.minimum(hidden, gate)) / (1.0 - rate)
    return linear(hidden, *up) * relu(linear(normed, *scale), leak)


def relu(x, leak=0.0):
    """ReLU, which may let a part of the gradient through where it is 0.

    Args:
        x: tensor.
        leak: float, that part. What is computed does not depend on it.

    Returns:
        tensor like `x`.
    """
    y = ops.relu(x)
    if not leak:
        return y
    below = leak * ops.minimum(x, 0)
    return y + (below - ops.stop_gradient(below))


def recomputed(function):
    """`function`, of which the backward pass keeps the inputs alone.

    Args:
        function: from tensors to a tensor or a nest of tensors. It runs
            twice, so it must not assign to variables or draw at random.

    Returns:
        A function of the same tensors.
    """
    plain = keras.remat(function)
    fast = accelerators.find("recomputed")
    return plain if fast is None else fast(function, None, plain)


def recomputed_gelu(x, scale, shift):
    """The GELU of `affine`, of which the backward pass keeps `x` alone."""
    if scale is None:
        return gelu(affine(x, scale, shift))
    fast = accelerators.find("affine_gelu")
    if fast is None:
        fast = recomputed(lambda *inputs: gelu(affine(*inputs)))
    return fast(x, scale, shift)
