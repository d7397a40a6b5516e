"""Sampling and neighbours on a CPU, from array to array.

`torch.argmax` is not vectorised on CPUs; numpy's is. numba, where it is
installed, is several times faster still (`numba_loops`). The indices are the
same. The loader uses this module on every backend.
"""

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from keras_pointpeft.ops.accelerators import allowed
from keras_pointpeft.ops.plain import FAR
from keras_pointpeft.ops.plain import SKIPPED_SQUARED_NORM

# Work that is worth handing to another thread, in distances.
THREAD_WORK = 2**20


def farthest_point_sample(points, num_samples, skip_origin, threads=1):
    """As `keras_pointpeft.ops.farthest_point_sample`.

    Args:
        points: float32 array `(batch, points, 3)`.
        num_samples: int.
        skip_origin: bool.
        threads: int. At most so many threads share the batch.

    Returns:
        int32 array `(batch, num_samples)`.
    """
    planes = _planes(points)
    nearest = np.full(planes.shape[1:], FAR, "float32")
    if skip_origin:
        x, y, z = planes
        norm = x * x + y * y + z * z
        nearest[norm < np.float32(SKIPPED_SQUARED_NORM)] = -1.0
    chosen = np.zeros((len(points), num_samples), "int32")
    loops = numba_loops()
    loop = batched if loops is None else loops.farthest_points

    def run(part):
        loop(planes[:, part], nearest[part], chosen[part])

    _shared(run, len(points), nearest.size * num_samples, threads)
    return chosen


def knn(queries, points, k, threads=1):
    """As `keras_pointpeft.ops.knn`; needs numba.

    Args:
        queries: float32 array `(batch, M, 3)`.
        points: float32 array `(batch, N, 3)`.
        k: int.
        threads: int. At most so many threads share the batch.

    Returns:
        int32 array `(batch, M, k)`.
    """
    planes = _planes(points)
    queries = np.ascontiguousarray(queries)
    found = np.empty((*queries.shape[:2], k), "int32")

    def run(part):
        numba_loops().nearest(queries[part], planes[:, part], found[part])

    work = queries.shape[1] * points.shape[1] * len(points)
    _shared(run, len(points), work, threads)
    return found


def numba_loops():
    """The module of compiled loops; `None` without numba."""
    return _import_loops() if allowed("numba") else None


@functools.cache
def _import_loops():
    try:
        from keras_pointpeft.ops.accelerators import numba_loops
    except ImportError:
        return None
    return numba_loops


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


def _planes(points):
    """One contiguous plane per axis, `(3, batch, points)`."""
    return np.ascontiguousarray(points.transpose(2, 0, 1))


def _shared(run, batch, work, threads):
    """Calls `run(slice)` for parts of the batch, in threads if it pays."""
    threads = min(threads, batch, work // THREAD_WORK)
    if threads < 2:
        run(slice(None))
        return
    ends = np.linspace(0, batch, threads + 1).astype(int)
    parts = [slice(*pair) for pair in zip(ends, ends[1:])]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, parts))
