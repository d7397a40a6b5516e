"""torch: DAPT's dynamic adapter, forward and backward in one piece each."""

import torch
from torch.nn import functional


def dynamic_adapter(x, norm, scale, down, up, mask):
    """As `keras_pointpeft.ops.arithmetic`; None where it does not suit."""
    *affine, epsilon = norm
    tensors = (*affine, *scale, *down, *up)
    if (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or not torch.is_grad_enabled()
        or torch.is_autocast_enabled(x.device.type)
        or any(t.dtype != x.dtype for t in tensors)
    ):
        return None
    rows = x.reshape(-1, x.shape[-1])
    if mask is not None:
        mask = mask.reshape(-1, mask.shape[-1])
    return _DynamicAdapter.apply(rows, *tensors, mask, epsilon).view(x.shape)


class _DynamicAdapter(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, x, gamma, beta, scale, scale_bias, down, down_bias, up, up_bias,
        mask, epsilon,
    ):  # fmt: skip
        normed, mean, deviation = torch.native_layer_norm(
            x, gamma.shape, gamma, beta, epsilon
        )
        inner = torch.addmm(down_bias, normed, down)
        factor = torch.addmm(scale_bias, normed, scale).relu_()
        hidden = functional.gelu(inner)
        if mask is not None:
            hidden *= mask
        ctx.epsilon = epsilon
        ctx.save_for_backward(
            x, mean, deviation, inner, factor, mask,
            gamma, beta, scale, down, up, up_bias,
        )  # fmt: skip
        return torch.addmm(up_bias, hidden, up).mul_(factor)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        (
            x, mean, deviation, inner, factor, mask,
            gamma, beta, scale, down, up, up_bias,
        ) = ctx.saved_tensors  # fmt: skip
        normed = functional.layer_norm(x, gamma.shape, gamma, beta, ctx.epsilon)
        hidden = functional.gelu(inner)
        if mask is not None:
            hidden *= mask
        # Of `hidden @ up + up_bias`, times the factor or a column's sum.
        of_hidden = gradient @ up.t()
        of_factor = (of_hidden * hidden).sum(1) + gradient @ up_bias
        of_factor = of_factor[:, None] * (factor > 0)
        of_up_bias = factor.t() @ gradient
        of_hidden *= factor
        of_up = (hidden * factor).t() @ gradient
        if mask is not None:
            of_hidden *= mask
        of_inner = torch.ops.aten.gelu_backward(of_hidden, inner)
        of_normed = torch.addmm(of_factor @ scale.t(), of_inner, down.t())
        of_x, of_gamma, of_beta = torch.ops.aten.native_layer_norm_backward(
            of_normed, x, gamma.shape, mean, deviation, gamma, beta,
            ctx.needs_input_grad[:3],
        )  # fmt: skip
        return (
            of_x, of_gamma, of_beta,
            normed.t() @ of_factor, of_factor.sum(0),
            normed.t() @ of_inner, of_inner.sum(0),
            of_up, of_up_bias[0],
            None, None,
        )  # fmt: skip
