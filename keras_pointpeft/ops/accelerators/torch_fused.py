"""torch: scale and shift behind a product or a norm, and their gradients.

Each is one kernel of triton on CUDA; elsewhere as few operations of PyTorch
as it takes. Scale and shift are float32 whatever the values are: there is
nothing to cast.
"""

import functools

import torch

from keras_pointpeft.ops.accelerators import allowed
from keras_pointpeft.ops.accelerators import torch_cuda

# Programs that add up rows, each for itself.
PARTS = 512
# Rows that one of `affine_backward` has at a time.
ROWS = 16
# Columns of a layer norm that fit the registers of one program.
MAX_DIM = 4096
# They compute in float32.
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def affine(x, scale, shift, gelu=False):
    """`x * scale + shift`, or the GELU of it; backward keeps `x` alone."""
    return _Affine.apply(x, scale, shift, gelu)


def norm(x, gamma, beta, epsilon, scale, shift):
    """A layer norm, and a scale and a shift behind it.

    The norm's own two are frozen.
    """
    return _Norm.apply(x, gamma, beta, epsilon, scale, shift)


def fits(x):
    """Whether kernels of triton are for this tensor."""
    small = x.is_cuda and x.shape[-1] <= MAX_DIM
    return small and x.dtype in DTYPES and available()


def available():
    return allowed("triton") and torch_cuda.available()


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, shift, gelu):
        x = x.contiguous()
        ctx.save_for_backward(x, scale, shift)
        ctx.gelu = gelu
        if not fits(x):
            y = torch.addcmul(shift.to(x.dtype), x, scale.to(x.dtype))
            return torch.ops.aten.gelu.out(y, out=y) if gelu else y
        return affine_forward(x, scale, shift, gelu)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        x, scale, shift = ctx.saved_tensors
        if fits(x):
            found = affine_backward(gradient, x, scale, shift, ctx.gelu)
            to_x, (of_scale, of_shift) = found
            kind = scale.dtype
            return to_x, of_scale.to(kind), of_shift.to(kind), None
        factor = scale.to(x.dtype)
        if ctx.gelu:
            inner = torch.addcmul(shift.to(x.dtype), x, factor)
            torch.ops.aten.gelu_backward.grad_input(
                gradient, inner, grad_input=inner
            )
            gradient = inner
        of_x, of_scale, of_shift, _ = ctx.needs_input_grad
        rows = tuple(range(x.ndim - 1))
        kind = scale.dtype
        product = (gradient * x).sum(rows, dtype=kind) if of_scale else None
        shifted = gradient.sum(rows, dtype=kind) if of_shift else None
        if not of_x:
            return None, product, shifted, None
        # In place, for what is as wide as an MLP: a block has nothing larger.
        to_x = gradient.mul_(factor) if ctx.gelu else gradient * factor
        return to_x, product, shifted, None


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, epsilon, scale, shift):
        x = x.contiguous()
        y, mean, deviation = norm_forward(x, gamma, beta, epsilon, scale, shift)
        ctx.save_for_backward(x, gamma, beta, scale, mean, deviation)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        x, gamma, beta, scale, mean, deviation = ctx.saved_tensors
        to_x, sums = norm_backward(
            gradient, x, gamma, beta, scale, mean, deviation
        )
        return to_x, None, None, None, sums[0], sums[1]


def affine_forward(x, scale, shift, gelu):
    y, block = torch.empty_like(x), 1024
    if x.numel():
        kernels().affine_forward[(-(-x.numel() // block),)](
            x,
            scale,
            shift,
            y,
            x.numel(),
            x.shape[-1],
            GELU=gelu,
            BLOCK=block,
        )
    return y


def affine_backward(gradient, x, scale, shift, gelu):
    dim = x.shape[-1]
    rows = x.numel() // max(1, dim)
    gradient = gradient.contiguous()
    to_x = torch.empty_like(x)
    # Whole turns of each program.
    each = max(1, -(-rows // (PARTS * ROWS))) * ROWS
    parts = max(1, -(-rows // each))
    partial = scale.new_empty((2, parts, dim), dtype=torch.float32)
    block = 128
    kernels().affine_backward[(-(-dim // block), parts)](
        gradient,
        x,
        scale,
        shift,
        to_x,
        partial,
        rows,
        dim,
        each,
        GELU=gelu,
        ROWS=ROWS,
        BLOCK=block,
    )
    return to_x, partial.sum(1)


def norm_forward(x, gamma, beta, epsilon, scale, shift):
    dim = x.shape[-1]
    rows = x.numel() // max(1, dim)
    y = torch.empty_like(x)
    mean = x.new_empty((2, rows), dtype=torch.float32)
    if rows:
        kernels().norm_forward[(rows,)](
            x,
            gamma,
            beta,
            gamma if scale is None else scale,
            beta if shift is None else shift,
            y,
            mean[0],
            mean[1],
            dim,
            epsilon,
            AFFINE=scale is not None,
            BLOCK=_power_of_two(dim),
            num_warps=4,
        )
    return y, mean[0], mean[1]


def norm_backward(gradient, x, gamma, beta, scale, mean, deviation):
    dim = x.shape[-1]
    rows = x.numel() // max(1, dim)
    gradient = gradient.contiguous()
    to_x = torch.empty_like(x)
    parts = max(1, min(PARTS, rows))
    partial = x.new_empty((2, parts, dim), dtype=torch.float32)
    kernels().norm_backward[(parts,)](
        gradient,
        x,
        gamma,
        beta,
        gamma if scale is None else scale,
        mean,
        deviation,
        to_x,
        partial,
        rows,
        dim,
        -(-rows // parts),
        AFFINE=scale is not None,
        BLOCK=_power_of_two(dim),
        num_warps=4,
    )
    return to_x, partial.sum(1)


@functools.cache
def kernels():
    """The module `triton_block`."""
    from keras_pointpeft.ops.accelerators import triton_block

    return triton_block


def _power_of_two(number):
    return 1 << max(0, number - 1).bit_length()
