"""Random points on triangles."""

from typing import NamedTuple

import numpy as np

from keras_pointpeft.data.shapes.primitives import cross
from keras_pointpeft.data.shapes.primitives import dot


class Samples(NamedTuple):
    """Points on a surface: positions, unit normals and their parts."""

    points: np.ndarray  # (n, 3)
    normals: np.ndarray  # (n, 3)
    parts: np.ndarray  # (n,) int32


def sample(solid, count, rng, toward=None):
    """Points spread evenly over a solid's surface.

    Args:
        solid: `Solid`.
        count: number of points.
        rng: `numpy.random.Generator`.
        toward: positions of viewers, (viewers, 3). When given, only faces
            turned towards at least one of them are sampled.

    Returns:
        `Samples`, in random order.
    """
    (vertices, faces), parts = solid
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    ab, ac = b - a, c - a
    normals = cross(ab, ac)
    area = np.sqrt(dot(normals, normals))
    normals /= np.maximum(area, 1e-30)[:, None]
    if toward is not None:
        ways = toward[:, None] - a[None]
        facing = np.einsum("vfk,fk->vf", ways, normals) > 0
        area = area * facing.any(axis=0)
    total = np.cumsum(area)
    chosen = np.searchsorted(total, rng.random(count) * total[-1], "right")
    # Beyond the last face only by rounding.
    chosen = np.minimum(chosen, np.flatnonzero(area)[-1])
    u, v = rng.random((2, count, 1))
    outside = u + v > 1
    u, v = np.where(outside, 1 - u, u), np.where(outside, 1 - v, v)
    points = a[chosen] + u * ab[chosen] + v * ac[chosen]
    return Samples(points, normals[chosen], parts[chosen])
