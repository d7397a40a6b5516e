"""torch on CUDA: triton kernels, where triton is installed and works.

PyTorch's CUDA packages for Linux bring triton. It is imported for the first
CUDA tensor, not before.
"""

import functools
import warnings

import torch

from keras_pointpeft.ops.accelerators import allowed

# A cloud is kept in the registers of one block of threads.
MAX_POINTS = 2**14
# The kernel looks for one neighbour after the other.
MAX_NEIGHBORS = 256


def available():
    """Whether the kernels may be used and work."""
    return allowed("triton") and _working_kernels() is not None


def fits(points, k=1):
    """Whether there is a kernel for these points."""
    small = points.shape[1] <= MAX_POINTS and k <= MAX_NEIGHBORS
    return points.is_cuda and small and available()


def description():
    """The name and version for a report, or `None`."""
    return f"triton {kernels().__version__}" if available() else None


def farthest_point_sample(points, num_samples, skip_origin):
    points = points.detach().contiguous()
    batch, count, _ = points.shape
    chosen = points.new_empty((batch, num_samples), dtype=torch.int32)
    if batch > 0:
        block = _power_of_two(count)
        kernels().farthest_points[(batch,)](
            points,
            chosen,
            count,
            num_samples,
            SKIP=skip_origin,
            BLOCK=block,
            num_warps=_warps(block, 256),
        )
    return chosen


def knn(queries, points, k):
    return _nearest(queries, points, k, group=False)[0]


def group(queries, points, k):
    """Neighbours, and their coordinates relative to the query."""
    return _nearest(queries, points, k, group=True)


def weighted_sum(values, index, weights):
    """`sum_j weights[..., j] * values[index[..., j]]`, per sample."""
    return _WeightedSum.apply(
        values.contiguous(), index.contiguous(), weights.contiguous()
    )


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(context, values, index, weights):
        context.save_for_backward(values, index, weights)
        batch, queries, k = index.shape
        count, channels = values.shape[1:]
        mixed = values.new_empty((batch, queries, channels))
        block = min(_power_of_two(channels), 512)
        grid = (batch * queries, -(-channels // block))
        if mixed.numel() > 0:
            kernels().weighted_sum[grid](
                values,
                index,
                weights,
                mixed,
                queries,
                count,
                channels,
                k,
                BLOCK=block,
            )
        return mixed

    @staticmethod
    def backward(context, gradient):
        values, index, weights = context.saved_tensors
        batch, queries, k = index.shape
        count, channels = values.shape[1:]
        to_values = torch.zeros_like(values)
        to_weights = torch.zeros_like(weights)
        if gradient.numel() > 0:
            kernels().weighted_sum_gradients[(batch * queries,)](
                values,
                index,
                weights,
                gradient.contiguous(),
                to_values,
                to_weights,
                queries,
                count,
                channels,
                k,
                BLOCK=min(_power_of_two(channels), 512),
            )
        return to_values, None, to_weights


def _nearest(queries, points, k, group):
    queries = queries.detach().contiguous()
    points = points.detach().contiguous()
    batch, number, _ = queries.shape
    count = points.shape[1]
    found = points.new_empty((batch, number, k), dtype=torch.int32)
    offsets = points.new_empty((batch, number, k, 3) if group else (1,))
    if batch * number > 0:
        block = _power_of_two(count)
        kernels().nearest_points[(batch * number,)](
            queries,
            points,
            found,
            offsets,
            number,
            count,
            k,
            GROUP=group,
            BLOCK=block,
            num_warps=_warps(block, 1024),
        )
    return found, offsets


@functools.cache
def kernels():
    """The module `triton_kernels`.

    Raises:
        ImportError: triton is not installed.
    """
    from keras_pointpeft.ops.accelerators import triton_kernels

    return triton_kernels


@functools.cache
def _working_kernels():
    """The kernels, or `None` if this machine cannot compile or run them."""
    try:
        kernels()
    except ImportError:
        return None
    try:
        points = torch.zeros((1, 16, 3), device="cuda")
        farthest_point_sample(points, 2, False)
        torch.cuda.synchronize()
    except Exception as error:
        # Such as no C compiler for triton's launchers, or an old device.
        warnings.warn(
            "The triton kernels do not work here, so sampling and neighbours "
            f"are computed by slower PyTorch operations: {error}",
            stacklevel=2,
        )
        return None
    return kernels()


def _power_of_two(number):
    return 1 << max(0, number - 1).bit_length()


def _warps(block, points_per_warp):
    return min(16, max(1, block // points_per_warp))
