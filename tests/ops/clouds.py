"""Point sets that are hard in different ways, and brute-force truths."""

import numpy as np


def uniform(rng, batch, count):
    return rng.uniform(-1, 1, (batch, count, 3))


def surface(rng, batch, count):
    points = rng.normal(size=(batch, count, 3))
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    return points * (1.0, 0.6, 0.3)


def lattice(rng, batch, count):
    # A step of 0.1 is not exact in binary: equal distances are equal only if
    # they are rounded in the same way.
    return np.round(rng.uniform(-0.5, 0.5, (batch, count, 3)), 1)


def duplicates(rng, batch, count):
    points = rng.normal(size=(batch, count, 3))
    return points[:, rng.integers(0, max(1, count // 3), count)]


def symmetric(rng, batch, count):
    half = rng.normal(size=(batch, count, 3))[:, : (count + 1) // 2]
    return np.concatenate((half, -half), axis=1)[:, :count]


def far_away(rng, batch, count):
    return rng.uniform(-1, 1, (batch, count, 3)) + (100.0, -30.0, 500.0)


def near_origin(rng, batch, count):
    return rng.normal(size=(batch, count, 3)) * 0.03


KINDS = {
    function.__name__: function
    for function in (
        uniform,
        surface,
        lattice,
        duplicates,
        symmetric,
        far_away,
        near_origin,
    )
}


def make(kind, batch, count, seed=0):
    rng = np.random.default_rng(seed)
    return KINDS[kind](rng, batch, count).astype("float32")


def distances(a, b):
    """Float32, `((dx^2 + dy^2) + dz^2)`, for one sample."""
    d = a[:, None] - b[None]
    d = d * d
    return (d[..., 0] + d[..., 1]) + d[..., 2]


def sample(points, num_samples, skip_origin=False, rank=None):
    """Farthest points of one cloud, by the definition."""
    count = len(points)
    rank = np.arange(count) if rank is None else rank
    allowed = np.ones(count, bool)
    if skip_origin:
        norm = distances(points, np.zeros((1, 3), "float32"))[:, 0]
        allowed = norm.astype("float64") > 1e-3
    pairs = distances(points, points)
    chosen = [0]
    while len(chosen) < num_samples:
        nearest = pairs[chosen].min(axis=0)
        candidates = np.flatnonzero(allowed)
        if len(candidates) == 0:
            chosen.append(0)
            continue
        far = nearest[candidates].max()
        best = candidates[nearest[candidates] == far]
        chosen.append(int(best[np.argmin(rank[best])]))
    return np.array(chosen)


def neighbors(queries, points, k):
    """Nearest points of one sample, lower index first on ties."""
    return np.argsort(distances(queries, points), axis=1, kind="stable")[:, :k]
