"""torch: picks a path by device, and hides loops from what lists operators.

`torch.compile` would unroll the sampling loop, and take minutes; a recorded
step would not see what numpy does. Both see operators of our own, with a known
output shape. Matrix products on a CPU go through oneDNN where that is faster.
"""

import functools
import time

import torch
from torch.nn import functional

from keras_pointpeft.ops.accelerators import allowed
from keras_pointpeft.ops.accelerators import host
from keras_pointpeft.ops.accelerators import torch_block
from keras_pointpeft.ops.accelerators import torch_cuda
from keras_pointpeft.ops.accelerators import torch_recompute
from keras_pointpeft.ops.accelerators import torch_step
from keras_pointpeft.ops.plain import pairwise_squared
from keras_pointpeft.ops.plain import plain_sample

# Functions that `find` is asked for, and that stand elsewhere.
add_scaled = torch_block.add_scaled
affine = torch_block.affine
affine_gelu = torch_block.affine_gelu
attention = torch_block.attention
batch_norm = torch_block.batch_norm
dropout_gate = torch_step.dropout_gate
dropout_mask = torch_step.dropout_mask
dynamic_adapter = torch_block.dynamic_adapter
layer_norm = torch_block.layer_norm
layer_norm_affine = torch_block.layer_norm_affine
pooled = torch_block.pooled
split_at = torch_block.split_at
recomputed = torch_recompute.Recomputed
remade = torch_recompute.Remade
seeded_mask = torch_step.seeded_mask
uniform = torch_step.uniform
# Distances that are worked on at a time: what a CPU's caches hold, and what a
# GPU's memory has room for beside a model.
CHUNK = {"cpu": 2**18}
DEVICE_CHUNK = 2**27
# Points in patches that are encoded at a time, for a CPU's caches.
PART = 2**14
# Multiplications below which a call costs more than it saves.
SMALLEST = 2**20


def farthest_point_sample(points, num_samples, skip_origin):
    operators = torch.ops.keras_pointpeft
    points = points.detach()
    return operators.farthest_point_sample(points, num_samples, skip_origin)


def knn(queries, points, k):
    operators = torch.ops.keras_pointpeft
    return operators.knn(queries.detach(), points.detach(), k)


def group(points, centers, k):
    """One kernel in place of several, or `None` where there is none."""
    differentiated = torch.is_grad_enabled() and (
        points.requires_grad or centers.requires_grad
    )
    if torch.compiler.is_compiling() or differentiated:
        return None
    if not (points.is_cuda and torch_cuda.fits(points, k)):
        return None
    return torch_cuda.group(centers, points, k)


def gather(values, indices):
    """Keras' own minds indices that count from the end."""
    batch, count, channels = values.shape
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or not count:
        return None
    start = torch.arange(
        0, batch * count, count, dtype=torch.int32, device=values.device
    )
    rows = indices + start.view(-1, *(1,) * (indices.ndim - 1))
    return torch.nn.functional.embedding(rows, values.reshape(-1, channels))


def largest(x, axis):
    # `amax` has the slower backward pass: it shares a gradient among equal
    # values. `max` remembers the index.
    if x.requires_grad:
        return torch.max(x, axis).values
    return torch.amax(x, axis)


def in_parts(function, neighborhoods):
    # First, for an exported program must not depend on sizes.
    if (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or neighborhoods.device.type != "cpu"
    ):
        return function(neighborhoods)
    _, groups, size, _ = neighborhoods.shape
    clouds = max(1, PART // max(1, groups * size))
    if len(neighborhoods) <= clouds:
        return function(neighborhoods)
    parts = neighborhoods.split(clouds)
    return torch.cat([function(part) for part in parts])


def linear(x, kernel, bias):
    if not (_suits(x, kernel) and usable()):
        if bias is None:
            return _product(x, kernel)
        # With one call for both, the bias costs no pass over the output.
        return functional.linear(x, kernel.t(), bias)
    rows = _Product.apply(x.reshape(-1, x.shape[-1]), kernel, bias)
    return rows.reshape(*x.shape[:-1], kernel.shape[-1])


def _product(x, kernel):
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return torch.matmul(x, kernel)
    # Of more than two axes `matmul` makes an operation more.
    rows = torch.mm(x.reshape(-1, x.shape[-1]), kernel)
    return rows.view(*x.shape[:-1], kernel.shape[-1])


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


def clip_by_global_norm(gradients, norm):
    """As Keras does it, which makes four calls for each gradient."""
    total = torch.nn.utils.get_total_norm(gradients)
    inverse = torch.clamp(total, min=norm).reciprocal_()
    # If the norm is NaN or infinite, all gradients become NaN, as Keras has
    # it: `total - total` is 0 or NaN.
    scale = torch.add(total - total, inverse, alpha=norm)
    return torch._foreach_mul(gradients, scale)


def add_up(sums, gradients, every=None):
    """Adds gradients to sums; of the last of `every`, returns the means.

    The sums then start anew.
    """
    torch._foreach_add_(sums, gradients)
    if every is None:
        return None
    means = torch._foreach_div(sums, every)
    torch._foreach_zero_(sums)
    return means


def weighted_sum(values, index, weights):
    """One fused kernel instead of gathering rows and adding them up."""
    compiling = torch.compiler.is_compiling()
    if values.is_cuda and not compiling and torch_cuda.available():
        return torch_cuda.weighted_sum(values, index, weights)
    batch, count, channels = values.shape
    k = index.shape[-1]
    if torch.compiler.is_exporting():
        # Other runtimes have no `embedding_bag`, and exporting it would fix
        # the batch size.
        rows = index.reshape(batch, -1, 1).long().expand(-1, -1, channels)
        rows = torch.gather(values, 1, rows).reshape(batch, -1, k, channels)
        return (rows * weights.reshape(batch, -1, k, 1)).sum(2)
    start = torch.arange(batch, device=index.device)[:, None, None] * count
    mixed = torch.nn.functional.embedding_bag(
        (index + start).reshape(-1, k),
        values.reshape(-1, channels),
        per_sample_weights=weights.reshape(-1, k),
        mode="sum",
    )
    return mixed.reshape(batch, -1, channels)


def report():
    loops = host.numba_loops()
    fast = f"numba {loops.version}" if loops else None
    found = {
        "farthest_point_sample": {"cpu": fast or "numpy"},
        "knn": {"cpu": fast or "torch.topk, cloud by cloud"},
        "weighted_sum": {"cpu": "torch.nn.functional.embedding_bag"},
        "linear": {"cpu": "oneDNN" if usable() else "torch"},
    }
    if torch.cuda.is_available():
        eager = {
            "farthest_point_sample": "keras.ops",
            "knn": "torch.topk",
            "group": "torch.topk and keras.ops",
            "weighted_sum": "torch.nn.functional.embedding_bag",
        }
        for name, path in eager.items():
            path = torch_cuda.description() or path
            found.setdefault(name, {})["cuda"] = path
    return found


def _sample(points, num_samples, skip_origin):
    if points.device.type == "meta":  # only the shape is asked for
        return _empty_sample(points, num_samples, skip_origin)
    if points.device.type == "cpu":
        chosen = host.farthest_point_sample(
            points.detach().numpy(),
            num_samples,
            skip_origin,
            torch.get_num_threads(),
        )
        return _indices(chosen)
    if points.is_cuda and torch_cuda.fits(points):
        return torch_cuda.farthest_point_sample(
            points, num_samples, skip_origin
        )
    return plain_sample(points, num_samples, skip_origin)


def _knn(queries, points, k):
    if points.device.type == "meta":
        return _empty_knn(queries, points, k)
    loops = host.numba_loops() if points.device.type == "cpu" else None
    if loops is not None and k <= host.MAX_NEIGHBORS:
        arrays = (tensor.detach().numpy() for tensor in (queries, points))
        return _indices(host.knn(*arrays, k, torch.get_num_threads()))
    if points.is_cuda and torch_cuda.fits(points, k):
        return torch_cuda.knn(queries, points, k)
    return _topk(queries, points, k)


def _indices(array):
    """An array of numpy as a tensor of the backend's own.

    An array that becomes a tensor by itself is what a captured step must not
    have, and `step.recorded` cannot tell one from another.
    """
    found = torch.empty(array.shape, dtype=torch.int32)
    found.numpy()[...] = array
    return found


def _topk(queries, points, k):
    index = _empty_knn(queries, points, k)
    number = torch.arange(points.shape[1], device=points.device)
    pairs = max(1, queries.shape[1] * points.shape[1])
    chunk = max(1, CHUNK.get(points.device.type, DEVICE_CHUNK) // pairs)
    for i in range(0, len(points), chunk):
        part = slice(i, i + chunk)
        distance = pairwise_squared(queries[part], points[part])
        # torch.topk leaves the order of equal values open. The bits of a
        # float that is not negative sort like the float; behind them, the
        # index decides.
        key = (distance.view(torch.int32).long() << 32) | number
        key = torch.topk(key, k, largest=False).values
        index[part] = (key & 0xFFFFFFFF).int()
    return index


def _empty_sample(points, num_samples, skip_origin):
    shape = (points.shape[0], num_samples)
    return points.new_empty(shape, dtype=torch.int32)


def _empty_knn(queries, points, k):
    shape = (queries.shape[0], queries.shape[1], k)
    return points.new_empty(shape, dtype=torch.int32)


_LIBRARY = torch.library.Library("keras_pointpeft", "DEF")
for _schema, _function, _empty in (
    (
        "farthest_point_sample(Tensor points, int num_samples, "
        "bool skip_origin) -> Tensor",
        _sample,
        _empty_sample,
    ),
    ("knn(Tensor queries, Tensor points, int k) -> Tensor", _knn, _empty_knn),
):
    _name = _LIBRARY.define(_schema)
    _LIBRARY.impl(_name, _function, "CompositeExplicitAutograd")
    _LIBRARY.impl(_name, _empty, "Meta")
