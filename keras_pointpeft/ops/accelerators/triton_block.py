"""Kernels for CUDA: what a transformer block does between its products.

Values go through memory once, whatever their type; sums over rows are made in
float32, first by each program for itself. Import through
`torch_block.kernels`.
"""

import torch
import triton
import triton.language as tl

SQRT_HALF = tl.constexpr(0.7071067811865476)
INVERSE_SQRT_TAU = tl.constexpr(0.3989422804014327)
# Programs that add up rows, each for itself.
PARTS = 512
# Rows that one of `_affine_backward` has at a time.
ROWS = 16


def affine_forward(x, scale, shift, gelu):
    y, block = torch.empty_like(x), 1024
    if x.numel():
        _affine_forward[(-(-x.numel() // block),)](
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
    _affine_backward[(-(-dim // block), parts)](
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
        _norm_forward[(rows,)](
            x,
            gamma,
            beta,
            scale,
            shift,
            y,
            mean[0],
            mean[1],
            dim,
            epsilon,
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
    _norm_backward[(parts,)](
        gradient,
        x,
        gamma,
        beta,
        scale,
        mean,
        deviation,
        to_x,
        partial,
        rows,
        dim,
        -(-rows // parts),
        BLOCK=_power_of_two(dim),
        num_warps=4,
    )
    return to_x, partial.sum(1)


def _power_of_two(number):
    return 1 << max(0, number - 1).bit_length()


@triton.jit
def _gelu(x):
    return 0.5 * x * (1.0 + tl.erf(x * SQRT_HALF))


@triton.jit
def _gelu_slope(x):
    normal = 0.5 * (1.0 + tl.erf(x * SQRT_HALF))
    return normal + x * INVERSE_SQRT_TAU * tl.exp(-0.5 * x * x)


@triton.jit
def _affine_forward(
    x,
    scale,
    shift,
    y,
    size,
    dim,
    GELU: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """`x * scale + shift`, or the GELU of it."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    column = at % dim
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    value = value * tl.load(scale + column, mask=inside, other=0.0).to(
        tl.float32
    ) + tl.load(shift + column, mask=inside, other=0.0).to(tl.float32)
    if GELU:
        value = _gelu(value)
    tl.store(y + at, value.to(y.dtype.element_ty), mask=inside)


@triton.jit
def _affine_backward(
    gradient,
    x,
    scale,
    shift,
    to_x,
    partial,
    rows,
    dim,
    each,
    GELU: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Gradients of `_affine_forward`; of scale and shift, parts of the sums.

    Program `(i, j)` has a block of columns and `each` rows.
    """
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = column < dim
    factor = tl.load(scale + column, mask=inside, other=0.0).to(tl.float32)
    offset = tl.load(shift + column, mask=inside, other=0.0).to(tl.float32)
    of_scale = tl.zeros((BLOCK,), tl.float32)
    of_shift = tl.zeros((BLOCK,), tl.float32)
    first = tl.program_id(1) * each
    for start in range(0, each, ROWS):
        row = start + tl.arange(0, ROWS)
        here = (row < each) & (first + row < rows)
        mask = here[:, None] & inside[None, :]
        at = (first + row).to(tl.int64)[:, None] * dim + column[None, :]
        up = tl.load(gradient + at, mask=mask, other=0.0).to(tl.float32)
        value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
        if GELU:
            up = up * _gelu_slope(value * factor[None, :] + offset[None, :])
        down = up * factor[None, :]
        tl.store(to_x + at, down.to(to_x.dtype.element_ty), mask=mask)
        of_scale += tl.sum(up * value, axis=0)
        of_shift += tl.sum(up, axis=0)
    part = tl.program_id(1) * dim + column
    tl.store(partial + part, of_scale, mask=inside)
    part += tl.num_programs(1) * dim
    tl.store(partial + part, of_shift, mask=inside)


@triton.jit
def _norm_forward(
    x,
    gamma,
    beta,
    scale,
    shift,
    y,
    mean,
    deviation,
    dim,
    epsilon,
    BLOCK: tl.constexpr,
):
    """A layer norm of a row, and a scale and a shift behind it."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < dim
    value = tl.load(x + row * dim + column, mask=inside, other=0.0)
    value = value.to(tl.float32)
    center = tl.sum(value, axis=0) / dim
    value = tl.where(inside, value - center, 0.0)
    spread = 1.0 / tl.sqrt(tl.sum(value * value, axis=0) / dim + epsilon)
    tl.store(mean + row, center)
    tl.store(deviation + row, spread)
    value = value * spread * tl.load(gamma + column, mask=inside, other=0.0)
    value += tl.load(beta + column, mask=inside, other=0.0)
    value = value * tl.load(scale + column, mask=inside, other=0.0)
    value += tl.load(shift + column, mask=inside, other=0.0)
    value = value.to(y.dtype.element_ty)
    tl.store(y + row * dim + column, value, mask=inside)


@triton.jit
def _norm_backward(
    gradient,
    x,
    gamma,
    beta,
    scale,
    mean,
    deviation,
    to_x,
    partial,
    rows,
    dim,
    each,
    BLOCK: tl.constexpr,
):
    """Gradients of `_norm_forward`; each program has some of the rows.

    The parts of sums are of the scale and shift behind the norm.
    """
    column = tl.arange(0, BLOCK)
    inside = column < dim
    own = tl.load(gamma + column, mask=inside, other=0.0).to(tl.float32)
    offset = tl.load(beta + column, mask=inside, other=0.0).to(tl.float32)
    factor = own * tl.load(scale + column, mask=inside, other=0.0)
    of_scale = tl.zeros((BLOCK,), tl.float32)
    of_shift = tl.zeros((BLOCK,), tl.float32)
    first = tl.program_id(0) * each
    for index in range(each):
        row = (first + index).to(tl.int64)
        here = inside & (first + index < rows)
        at = row * dim + column
        up = tl.load(gradient + at, mask=here, other=0.0).to(tl.float32)
        value = tl.load(x + at, mask=here, other=0.0).to(tl.float32)
        some = first + index < rows
        center = tl.load(mean + row, mask=some, other=0.0)
        spread = tl.load(deviation + row, mask=some, other=0.0)
        normed = tl.where(here, (value - center) * spread, 0.0)
        inner = up * factor
        drift = tl.sum(inner, axis=0) / dim
        turn = tl.sum(inner * normed, axis=0) / dim
        down = spread * (inner - drift - normed * turn)
        tl.store(to_x + at, down.to(to_x.dtype.element_ty), mask=here)
        of_scale += up * (normed * own + offset)
        of_shift += up
    part = tl.program_id(0) * dim + column
    tl.store(partial + part, of_scale, mask=inside)
    part += tl.num_programs(0) * dim
    tl.store(partial + part, of_shift, mask=inside)
