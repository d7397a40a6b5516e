"""The operators of this package in plain operations of torch.

A saved program that has them in this form runs without this package.
"""

import torch

from keras_pointpeft.ops.plain import FAR
from keras_pointpeft.ops.plain import SKIPPED_SQUARED_NORM


def written_out():
    """A table of decompositions for `torch.export`."""
    operators = torch.ops.keras_pointpeft
    return {
        **torch.export.default_decompositions(),
        operators.farthest_point_sample.default: sample,
        operators.knn.default: knn,
    }


def sample(points, num_samples, skip_origin):
    """Farthest point sampling, one step after the other."""
    nearest = torch.full_like(points[..., 0], FAR)
    if skip_origin:
        norm = _squares(points)
        nearest = torch.where(norm < SKIPPED_SQUARED_NORM, -1.0, nearest)
    last = torch.zeros_like(points[:, :1, 0], dtype=torch.int64)
    chosen = [last]
    for _ in range(num_samples - 1):
        center = torch.gather(points, 1, last[..., None].expand(-1, -1, 3))
        nearest = torch.minimum(nearest, _squares(points - center))
        # Of equally far points the first one; argmax does not promise that.
        top = torch.amax(nearest, 1, keepdim=True)
        number = torch.arange(points.shape[1], device=points.device)
        number = torch.where(nearest == top, number, points.shape[1])
        last = torch.amin(number, 1, keepdim=True)
        chosen.append(last)
    return torch.cat(chosen, 1).to(torch.int32)


def knn(queries, points, k):
    """The nearest points, lowest index first among equal ones."""
    distance = _squares(queries[:, :, None] - points[:, None])
    order = torch.sort(distance, dim=-1, stable=True).indices
    return order[..., :k].to(torch.int32)


def _squares(x):
    x, y, z = x[..., 0], x[..., 1], x[..., 2]
    return x * x + y * y + z * z
