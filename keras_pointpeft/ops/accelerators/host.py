"""Sampling and neighbours on a CPU, from array to array.

`torch.argmax` is not vectorised on CPUs; numpy's is. Loops that numba
compiles, where it is installed, are several times faster still. The indices
are the same. The loader uses this module on every backend.

In the loops, distances are compared by their bits: those of floats from 0 on
sort like the floats, and those of -1 are below them. A maximum or minimum of
integers vectorises. Nothing is contracted to a fused multiply-add. All release
the interpreter's lock, so that other threads go on meanwhile.
"""

import functools
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from keras_pointpeft.ops.accelerators import allowed
from keras_pointpeft.ops.plain import FAR
from keras_pointpeft.ops.plain import SKIPPED_SQUARED_NORM

# Work that is worth handing to another thread, in distances.
THREAD_WORK = 2**20
# Points whose minimum a compiled loop looks at before themselves.
BLOCK = 32
# Longer lists of neighbours are sorted faster otherwise.
MAX_NEIGHBORS = 128


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
    """The compiled loops and numba's version; `None` without numba."""
    return _compiled() if allowed("numba") else None


@functools.cache
def _compiled():
    try:
        import numba
    except ImportError:
        return None
    planes, row = "float32[:, :, :]", "float32[:, ::1]"
    sampling = numba.njit(f"void({planes}, {row}, int32[:, ::1])", nogil=True)
    finding = numba.njit(
        f"void(float32[:, :, ::1], {planes}, int32[:, :, ::1])", nogil=True
    )
    return types.SimpleNamespace(
        farthest_points=sampling(_farthest_points),
        nearest=finding(_nearest),
        version=numba.__version__,
    )


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


def _farthest_points(planes, nearest, chosen):
    """`planes` (3, batch, points), `nearest` (batch, points)."""
    for b in range(planes.shape[1]):
        x = np.ascontiguousarray(planes[0, b])
        y = np.ascontiguousarray(planes[1, b])
        z = np.ascontiguousarray(planes[2, b])
        own = nearest[b]
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


def _nearest(queries, planes, found):
    """`queries` (batch, M, 3), `planes` (3, batch, N), `found` (..., k)."""
    count, k = planes.shape[2], found.shape[2]
    distance = np.empty(count, np.float32)
    bits = distance.view(np.int32)
    kept = np.empty(k, np.int32)
    for b in range(len(queries)):
        x = np.ascontiguousarray(planes[0, b])
        y = np.ascontiguousarray(planes[1, b])
        z = np.ascontiguousarray(planes[2, b])
        for q in range(queries.shape[1]):
            px, py, pz = queries[b, q]
            for i in range(count):
                dx, dy, dz = px - x[i], py - y[i], pz - z[i]
                distance[i] = dx * dx + dy * dy + dz * dz
            row = found[b, q]
            kept[:] = 2**31 - 1
            for start in range(0, count, BLOCK):
                end = min(start + BLOCK, count)
                lowest = bits[start]
                for i in range(start, end):
                    lowest = min(lowest, bits[i])
                if lowest >= kept[k - 1]:
                    continue
                for i in range(start, end):
                    value = bits[i]
                    if value >= kept[k - 1]:
                        continue
                    # Behind those that are as near: they come earlier.
                    j = k - 1
                    while j > 0 and kept[j - 1] > value:
                        kept[j] = kept[j - 1]
                        row[j] = row[j - 1]
                        j -= 1
                    kept[j] = value
                    row[j] = i
