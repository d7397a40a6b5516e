"""Farthest point sampling on a CPU: in numpy, or compiled by numba.

`torch.argmax` is not vectorised on CPUs; numpy's is. numba, where it is
installed, is several times faster still. The indices are the same.
"""

import functools

import numpy as np

from keras_pointpeft.ops.sampling_loop import FAR
from keras_pointpeft.ops.sampling_loop import SKIPPED_SQUARED_NORM


def farthest_point_sample(points, num_samples, skip_origin):
    """As `keras_pointpeft.ops.farthest_point_sample`, from array to array.

    Args:
        points: float32 array `(batch, points, 3)`.
        num_samples: int.
        skip_origin: bool.

    Returns:
        int32 array `(batch, num_samples)`.
    """
    # One contiguous plane per axis.
    planes = np.ascontiguousarray(points.transpose(2, 0, 1))
    nearest = np.full(planes.shape[1:], FAR, "float32")
    if skip_origin:
        x, y, z = planes
        norm = x * x + y * y + z * z
        nearest[norm < np.float32(SKIPPED_SQUARED_NORM)] = -1.0
    chosen = np.zeros((len(points), num_samples), "int32")
    (compiled() or batched)(planes, nearest, chosen)
    return chosen


def batched(planes, nearest, chosen):
    """All clouds of a batch at once, in numpy; writes into `chosen`."""
    x, y, z = planes
    rows = np.arange(len(x))
    distance = np.empty_like(nearest)
    square = np.empty_like(nearest)
    for step in range(1, chosen.shape[1]):
        last = chosen[:, step - 1]
        np.subtract(x, x[rows, last][:, None], out=distance)
        np.multiply(distance, distance, out=distance)
        for plane in (y, z):
            np.subtract(plane, plane[rows, last][:, None], out=square)
            np.multiply(square, square, out=square)
            np.add(distance, square, out=distance)
        np.minimum(nearest, distance, out=nearest)
        chosen[:, step] = nearest.argmax(axis=1)


@functools.cache
def compiled():
    """The same loop compiled, cloud by cloud; `None` without numba."""
    try:
        import numba
    except ImportError:
        return None

    # nogil: the data loader's threads go on meanwhile.
    @numba.njit(
        "void(float32[:, :, ::1], float32[:, ::1], int32[:, ::1])", nogil=True
    )
    def loop(planes, nearest, chosen):
        for b in range(planes.shape[1]):
            x, y, z = planes[0, b], planes[1, b], planes[2, b]
            own = nearest[b]
            # The bits of floats from 0 on sort like the floats, and those of
            # -1 are below them. Integers because their maximum vectorises.
            bits = own.view(np.int32)
            last = 0
            for step in range(1, chosen.shape[1]):
                px, py, pz = x[last], y[last], z[last]
                for i in range(len(x)):
                    dx, dy, dz = x[i] - px, y[i] - py, z[i] - pz
                    own[i] = min(own[i], dx * dx + dy * dy + dz * dz)
                best = bits[0]
                for i in range(len(x)):
                    best = max(best, bits[i])
                last = 0
                while bits[last] != best:
                    last += 1
                chosen[b, step] = last

    return loop
