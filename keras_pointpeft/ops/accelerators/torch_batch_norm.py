"""torch: batch norm, and what its backward pass computes besides.

With a mean of 0 and a variance of 1 that stay, a batch norm is a scale for
each channel; its backward pass reads gradient and values once, and gives the
gradients of both.
"""

import functools

import torch
from torch.nn import functional

from keras_pointpeft.ops import replicas


def batch_norm(x, gamma, beta, mean, variance, epsilon, momentum):
    """As `keras_pointpeft.ops.arithmetic`; None where it does not suit."""
    rows = x.reshape(-1, x.shape[-1])
    if (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or x.is_meta
        # Torch's unbiased variance of one row is no number.
        or (momentum is not None and (len(rows) < 2 or replicas.count() > 1))
        or not x.numel()
    ):
        return None
    training = momentum is not None
    if training:
        mean, variance = torch.stack((mean, variance)).detach()
    # It writes into the moving statistics.
    y, *_ = torch.native_batch_norm(
        rows, gamma, beta, mean, variance, training,
        1.0 - momentum if training else 0.0, epsilon,
    )  # fmt: skip
    return y.view(x.shape), mean, variance


def scaled_backward(gradient, x, scale, wanted, divisor=1):
    """Gradients of `x * scale + shift`, with one of each in every channel.

    Args:
        gradient: tensor `(rows, channels)` or `(1, channels, columns)`.
        x: likewise.
        scale: tensor `(channels,)`.
        wanted: tuple of bools, which of the three gradients there should be.
        divisor: int. What `x` is divided by first.

    Returns:
        tuple of tensors, those of `x`, of `scale` and of `shift`, None for
        what is not wanted.
    """
    mean = _constant(0, len(scale), scale.dtype)
    variance = _constant(divisor**2, len(scale), scale.dtype)
    return torch.ops.aten.native_batch_norm_backward(
        gradient, x, scale, mean, variance, mean, variance, False, 0.0, wanted
    )


def pooled(x, scale, shift):
    """As `keras_pointpeft.ops.arithmetic`; None where it does not suit."""
    if (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or not torch.is_grad_enabled()
        or x.is_meta
        # Where a sum over tokens is no number of their type, a mean may be.
        or x.dtype in _SHORT
        or not is_one_operation(x, scale)
    ):
        return None
    return _Pooled.apply(x, scale, shift)


class _Pooled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, shift):
        total = functional.gelu(x).sum(1, keepdim=True)
        ctx.save_for_backward(x, total, scale)
        return torch.addcmul(shift, total, scale, value=1 / x.shape[1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        x, total, scale = ctx.saved_tensors
        to_total, *found = scaled_backward(
            gradient[:, 0], total[:, 0], scale, (True, True, True), x.shape[1]
        )
        to_x = to_total[:, None].expand(x.shape)
        return torch.ops.aten.gelu_backward(to_x, x), *found


def is_one_operation(x, scale):
    """Whether `scaled_backward` is for them."""
    kinds = (x.dtype, torch.float32 if x.dtype in _SHORT else x.dtype)
    return x.device.type == "cpu" and scale.dtype in kinds and x.numel() > 0


_SHORT = (torch.bfloat16, torch.float16)


@functools.cache
def _constant(value, count, dtype):
    """In memory, for the operation does not mind strides of 0."""
    return torch.full((count,), float(value), dtype=dtype, device="cpu")
