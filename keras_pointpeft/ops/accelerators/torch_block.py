"""torch: parts of a transformer block in few calls, which keep little."""

import torch
from torch.nn import functional


def layer_norm(x, scale, shift, epsilon):
    """As `keras_pointpeft.ops.channelwise.layer_norm`."""
    if x.dtype == torch.float32:
        return functional.layer_norm(x, scale.shape, scale, shift, epsilon)
    wide = functional.layer_norm(
        x.float(), scale.shape, scale.float(), shift.float(), epsilon
    )
    return wide.to(x.dtype)


def affine(x, scale, shift):
    """As `keras_pointpeft.ops.channelwise.affine`, all of one type."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return x * scale + shift  # of which exporters make one operation
    return torch.addcmul(shift, x, scale)


def affine_gelu(x, scale, shift):
    """The exact GELU of `affine`, of which backward keeps `x` alone."""
    scale, shift = scale.to(x.dtype), shift.to(x.dtype)
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return functional.gelu(affine(x, scale, shift))
    return _AffineGelu.apply(x, scale, shift)


def attention(query, key, value, is_causal, scale):
    """As `keras_pointpeft.ops.attention`, without copies of its inputs."""
    mixed = functional.scaled_dot_product_attention(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        is_causal=is_causal,
        scale=scale,
    )
    return mixed.transpose(1, 2)


class _AffineGelu(torch.autograd.Function):
    """Computes `affine` again where autograd would keep it as well.

    In place, for what is as wide as an MLP: a block has nothing larger.
    """

    @staticmethod
    def forward(ctx, x, scale, shift):
        ctx.save_for_backward(x, scale, shift)
        inner = torch.addcmul(shift, x, scale)
        return torch.ops.aten.gelu.out(inner, out=inner)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        x, scale, shift = ctx.saved_tensors
        inner = torch.addcmul(shift, x, scale)
        torch.ops.aten.gelu_backward.grad_input(
            gradient, inner, grad_input=inner
        )
        of_x, of_scale, of_shift = ctx.needs_input_grad
        rows = tuple(range(x.ndim - 1))
        scale_gradient = (inner * x).sum(rows) if of_scale else None
        shift_gradient = inner.sum(rows) if of_shift else None
        return (
            inner.mul_(scale) if of_x else None,
            scale_gradient,
            shift_gradient,
        )
