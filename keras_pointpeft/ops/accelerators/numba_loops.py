"""The loops of sampling and of neighbours, compiled by numba.

Distances are compared by their bits: those of floats from 0 on sort like the
floats, and those of -1 are below them. A maximum or minimum of integers
vectorises. Nothing is contracted to a fused multiply-add. All release the
interpreter's lock, so that other threads go on meanwhile.
"""

import numba
import numpy as np

__version__ = numba.__version__
# Points whose minimum is looked at before themselves.
BLOCK = 32
# Longer lists of neighbours are sorted faster otherwise.
MAX_NEIGHBORS = 128


@numba.njit(
    "void(float32[:, :, :], float32[:, ::1], int32[:, ::1])", nogil=True
)
def farthest_points(planes, nearest, chosen):
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


@numba.njit(
    "void(float32[:, :, ::1], float32[:, :, :], int32[:, :, ::1])", nogil=True
)
def nearest(queries, planes, found):
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
