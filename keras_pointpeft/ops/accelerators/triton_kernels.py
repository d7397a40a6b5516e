"""Kernels for CUDA, as source that triton compiles at first use.

Distances are rounded after every operation (`mul_rn`, `add_rn`: no fused
multiply-add), so that indices equal those of every other path, and are
compared by their bits, as in `host`. (Squares below 1.2e-38 count as
0 here.) Import through `torch_cuda.kernels`.
"""

import os

import triton
import triton.language as tl
from triton.language.extra import libdevice

__version__ = triton.__version__

# Bits of 1e10 and of -1, of the float32 nearest to 0.001, and what no distance
# is above or below.
FAR = tl.constexpr(0x501502F9)
SKIPPED = tl.constexpr(-0x40800000)
SKIPPED_SQUARED_NORM = tl.constexpr(0.0010000000474974513)
LOWEST = tl.constexpr(-(2**31))
HIGHEST = tl.constexpr(2**31 - 1)


if os.environ.get("TRITON_INTERPRET") == "1":
    # The interpreter has no libdevice, and numpy contracts nothing.
    @triton.jit
    def _squared(x, y, z):
        return x * x + y * y + z * z

else:

    @triton.jit
    def _squared(x, y, z):
        xy = libdevice.add_rn(libdevice.mul_rn(x, x), libdevice.mul_rn(y, y))
        return libdevice.add_rn(xy, libdevice.mul_rn(z, z))


@triton.jit
def farthest_points(
    points, chosen, count, num_samples, SKIP: tl.constexpr, BLOCK: tl.constexpr
):
    """One program per cloud, which it keeps in registers."""
    cloud = tl.program_id(0).to(tl.int64)
    points += cloud * count * 3
    chosen += cloud * num_samples
    index = tl.arange(0, BLOCK)
    inside = index < count
    x = tl.load(points + 3 * index, mask=inside, other=0.0)
    y = tl.load(points + 3 * index + 1, mask=inside, other=0.0)
    z = tl.load(points + 3 * index + 2, mask=inside, other=0.0)
    nearest = tl.where(inside, FAR, LOWEST)
    if SKIP:
        skipped = inside & (_squared(x, y, z) < SKIPPED_SQUARED_NORM)
        nearest = tl.where(skipped, SKIPPED, nearest)
    last = 0
    tl.store(chosen, last)
    for step in range(1, num_samples):
        px = tl.load(points + 3 * last)
        py = tl.load(points + 3 * last + 1)
        pz = tl.load(points + 3 * last + 2)
        distance = _squared(x - px, y - py, z - pz)
        nearest = tl.minimum(nearest, distance.to(tl.int32, bitcast=True))
        top = tl.max(nearest, axis=0)
        last = tl.min(tl.where(nearest == top, index, BLOCK), axis=0)
        tl.store(chosen + step, last)


@triton.jit
def nearest_points(
    queries,
    points,
    found,
    offsets,
    num_queries,
    count,
    k,
    GROUP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program per query; with `GROUP` also what leads to each point."""
    query = tl.program_id(0).to(tl.int64)
    points += query // num_queries * count * 3
    px = tl.load(queries + 3 * query)
    py = tl.load(queries + 3 * query + 1)
    pz = tl.load(queries + 3 * query + 2)
    index = tl.arange(0, BLOCK)
    inside = index < count
    x = tl.load(points + 3 * index, mask=inside, other=0.0)
    y = tl.load(points + 3 * index + 1, mask=inside, other=0.0)
    z = tl.load(points + 3 * index + 2, mask=inside, other=0.0)
    distance = _squared(px - x, py - y, pz - z)
    bits = tl.where(inside, distance.to(tl.int32, bitcast=True), HIGHEST)
    for j in range(0, k):
        top = tl.min(bits, axis=0)
        best = tl.min(tl.where(bits == top, index, BLOCK), axis=0)
        bits = tl.where(index == best, HIGHEST, bits)
        place = query * k + j
        tl.store(found + place, best)
        if GROUP:
            tl.store(offsets + 3 * place, tl.load(points + 3 * best) - px)
            tl.store(
                offsets + 3 * place + 1, tl.load(points + 3 * best + 1) - py
            )
            tl.store(
                offsets + 3 * place + 2, tl.load(points + 3 * best + 2) - pz
            )


@triton.jit
def weighted_sum(
    values,
    index,
    weights,
    mixed,
    num_queries,
    count,
    channels,
    k,
    BLOCK: tl.constexpr,
):
    """One program per query and block of channels."""
    query = tl.program_id(0).to(tl.int64)
    values += query // num_queries * count * channels
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < channels
    total = tl.zeros((BLOCK,), tl.float32)
    for j in range(0, k):
        weight = tl.load(weights + query * k + j)
        row = tl.load(index + query * k + j) * channels
        value = tl.load(values + row + channel, mask=inside, other=0.0)
        total += weight * value
    tl.store(mixed + query * channels + channel, total, mask=inside)


@triton.jit
def weighted_sum_gradients(
    values,
    index,
    weights,
    gradient,
    to_values,
    to_weights,
    num_queries,
    count,
    channels,
    k,
    BLOCK: tl.constexpr,
):
    """One program per query; adds up in `to_values`."""
    query = tl.program_id(0).to(tl.int64)
    start = query // num_queries * count * channels
    for j in range(0, k):
        weight = tl.load(weights + query * k + j)
        row = start + tl.load(index + query * k + j) * channels
        product = tl.zeros((BLOCK,), tl.float32)
        for first in range(0, channels, BLOCK):
            channel = first + tl.arange(0, BLOCK)
            inside = channel < channels
            given = tl.load(
                gradient + query * channels + channel, mask=inside, other=0.0
            )
            value = tl.load(values + row + channel, mask=inside, other=0.0)
            product += given * value
            tl.atomic_add(
                to_values + row + channel, weight * given, mask=inside
            )
        tl.store(to_weights + query * k + j, tl.sum(product, axis=0))
