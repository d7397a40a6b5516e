"""The operators of this package in ONNX."""

import torch
from onnxscript import FLOAT
from onnxscript import INT32
from onnxscript import opset18 as op
from onnxscript import script


def translations():
    """A table for `torch.onnx.export`."""
    operators = torch.ops.keras_pointpeft
    return {
        operators.farthest_point_sample.default: sample,
        operators.knn.default: knn,
    }


# onnxscript reads the source of what it decorates: numbers stand as they are
# in `keras_pointpeft.ops.plain`, which a test compares.
@script()
def _sample(points: FLOAT, start: FLOAT, steps: INT32) -> INT32:
    nearest = start
    zero = op.Constant(value_ints=[0])
    last = op.CastLike(op.ReduceMin(start, [1], keepdims=1), zero)
    last = last * 0
    chosen = last
    for _ in range(steps):
        center = op.GatherND(points, last, batch_dims=1)
        away = points - op.Unsqueeze(center, [1])
        distance = op.ReduceSum(away * away, [2], keepdims=0)
        nearest = op.Min(nearest, distance)
        last = op.ArgMax(nearest, axis=1, keepdims=1)
        chosen = op.Concat(chosen, last, axis=1)
    return op.Cast(chosen, to=6)


def sample(points: FLOAT, num_samples: int, skip_origin: bool) -> INT32:
    """Farthest point sampling as a loop."""
    norm = op.ReduceSum(op.Mul(points, points), [2], keepdims=0)
    start = op.Add(op.Mul(norm, 0.0), 1e10)
    if skip_origin:
        near = op.Less(norm, 0.0010000000474974513)
        start = op.Where(near, -1.0, start)
    return _sample(points, start, op.Constant(value_int=num_samples - 1))


def knn(queries: FLOAT, points: FLOAT, k: int) -> INT32:
    """The nearest points; among equal ones the lowest index comes first."""
    away = op.Sub(op.Unsqueeze(queries, [2]), op.Unsqueeze(points, [1]))
    distance = op.ReduceSum(op.Mul(away, away), [3], keepdims=0)
    _, index = op.TopK(distance, [k], axis=-1, largest=0, sorted=1)
    return op.Cast(index, to=6)
