"""torch on CPU: matrix products through oneDNN where it is the faster one.

PyTorch's own float32 product goes through MKL. On some AMD processors that
reaches half the speed of oneDNN, on others, and on Intel's, about the same.
"""

import functools
import time

import torch

from keras_pointpeft.ops.accelerators.switch import allowed

# Multiplications below which a call costs more than it saves.
SMALLEST = 2**20


def linear(x, kernel, bias):
    if not (_suits(x, kernel) and usable()):
        if bias is None:
            return torch.matmul(x, kernel)
        # With one call for both, the bias costs no pass over the output.
        return torch.nn.functional.linear(x, kernel.t(), bias)
    rows = _Product.apply(x.reshape(-1, x.shape[-1]), kernel, bias)
    return rows.reshape(*x.shape[:-1], kernel.shape[-1])


def _suits(x, kernel):
    return (
        # First, for an exported program must not depend on sizes.
        not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and x.device.type == "cpu"
        and x.dtype == kernel.dtype == torch.float32
        and x.numel() * kernel.shape[-1] >= SMALLEST
    )


def usable():
    """Whether products may go through oneDNN, and are faster so."""
    return (
        allowed("onednn")
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and is_faster()
    )


@functools.cache
def is_faster():
    """Whether oneDNN multiplies clearly faster here. Measured once.

    It takes half the time, or about as much: where little is to be had, a
    choice that falls one way today and the other tomorrow would change a
    run's last digits from one process to the next.
    """
    # Nothing random: what a run draws must not depend on this having run.
    x, kernel = torch.full((512, 384), 0.5), torch.full((384, 384), 0.5)

    def seconds(product):
        taken = []
        for _ in range(6):
            begin = time.perf_counter()
            product()
            taken.append(time.perf_counter() - begin)
        return min(taken)

    with torch.no_grad():
        return seconds(lambda: _one_dnn(x, kernel.t())) < 0.75 * seconds(
            lambda: torch.matmul(x, kernel)
        )


def _one_dnn(x, weight, bias=None):
    """`x @ weight.T + bias`; `weight` may be a transposed view."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _Product(torch.autograd.Function):
    """Keeps the input for backward only where the kernel trains."""

    @staticmethod
    def forward(ctx, x, kernel, bias):
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, kernel)
        return _one_dnn(x, kernel.t(), bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        x, kernel = ctx.saved_tensors
        of_x, of_kernel, of_bias = ctx.needs_input_grad
        return (
            _one_dnn(gradient, kernel) if of_x else None,
            _one_dnn(x.t(), gradient.t()) if of_kernel else None,
            gradient.sum(0) if of_bias else None,
        )
