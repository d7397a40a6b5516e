"""torch: a batch norm of the batch's own statistics, and its gradients.

Written down, both take half the operations that PyTorch finds by itself. Its
own operator, which is one, adds up rows in float32 one after the other: too
roughly for many of them.
"""

import torch

from keras_pointpeft.ops import replicas


def batch_norm(x, gamma, beta, mean, variance, epsilon, momentum):
    """As `keras_pointpeft.ops.arithmetic`; None where it does not suit."""
    if (
        momentum is None
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or x.is_meta
        or replicas.count() > 1
        or not x.numel()
    ):
        return None
    rows = x.reshape(-1, x.shape[-1])
    y, center, own = _BatchNorm.apply(rows, gamma, beta, epsilon)
    with torch.no_grad():
        mean = torch.lerp(mean, center, 1.0 - momentum)
        unbiased = len(rows) / max(len(rows) - 1, 1)
        share = (1.0 - momentum) * unbiased
        variance = torch.add(variance * momentum, own, alpha=share)
    return y.view(x.shape), mean, variance


class _BatchNorm(torch.autograd.Function):
    """Of rows; also gives their mean and variance, without gradients."""

    @staticmethod
    def forward(ctx, x, gamma, beta, epsilon):
        variance, mean = torch.var_mean(x, 0, correction=0)
        centered = x - mean
        inverse = (variance + epsilon).rsqrt_()
        scale = gamma * inverse
        ctx.save_for_backward(centered, inverse, scale)
        ctx.mark_non_differentiable(mean, variance)
        ctx.set_materialize_grads(False)  # theirs
        return torch.addcmul(beta, centered, scale), mean, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient, *_):
        centered, inverse, scale = ctx.saved_tensors
        to_beta = gradient.sum(0)
        to_gamma = (gradient * centered).sum(0).mul_(inverse)
        if not ctx.needs_input_grad[0]:
            return None, to_gamma, to_beta, None
        # The same for all rows, and with the distance from the mean: what
        # they change of mean and variance.
        shared = torch.addcmul(to_beta, centered, to_gamma * inverse)
        to_x = torch.add(gradient, shared, alpha=-1 / len(centered))
        return to_x.mul_(scale), to_gamma, to_beta, None
