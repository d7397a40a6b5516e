"""Chamfer distance, the loss of masked pre-training."""

from keras import ops

from keras_pointpeft.ops.neighbors import gather
from keras_pointpeft.ops.plain import pairwise_squared
from keras_pointpeft.ops.points import as_points
from keras_pointpeft.ops.points import check_points


def chamfer_distance(a, b, norm="l2", weights=None):
    """Mean distance of each point to its nearest in the other set.

    `"l2"`: the mean squared distance from `a` to `b` plus that from `b` to
    `a`. `"l1"`: half the sum of the two mean distances. Means are over all
    samples and points together
    ([Point-MAE](https://arxiv.org/abs/2203.06604), section 3.3).

    Args:
        a: tensor or array `(batch, M, 3)`.
        b: tensor or array `(batch, N, 3)`.
        norm: `"l2"` or `"l1"`. Defaults to `"l2"`.
        weights: optional tensor or array `(batch,)`. How much each sample
            counts in the mean, such as 0 for those to leave out.

    Returns:
        float32 scalar. The gradient goes through the nearest pairs only, and
        is 0, not NaN, where two points coincide.

    Raises:
        ValueError: wrong shape, or an unknown `norm`.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft.ops.chamfer import chamfer_distance

    rng = np.random.default_rng(0)
    chamfer_distance(rng.normal(size=(8, 32, 3)), rng.normal(size=(8, 24, 3)))
    ```
    """
    if norm not in ("l1", "l2"):
        raise ValueError(f'`norm` must be "l1" or "l2". Received: {norm!r}')
    check_points(a, "a")
    check_points(b, "b")
    a, b = as_points(a), as_points(b)
    # Only indices come from the matrix: no gradient keeps it in memory.
    pairs = pairwise_squared(ops.stop_gradient(a), ops.stop_gradient(b))
    to_b = _squared(a, gather(b, ops.argmin(pairs, axis=2)))
    to_a = _squared(b, gather(a, ops.argmin(pairs, axis=1)))
    if norm == "l1":
        to_b, to_a = _root(to_b) / 2.0, _root(to_a) / 2.0
    if weights is None:
        return ops.mean(to_b) + ops.mean(to_a)
    weights = ops.cast(weights, "float32")
    each = ops.mean(to_b, axis=1) + ops.mean(to_a, axis=1)
    total = ops.maximum(ops.sum(weights), 1e-12)
    return ops.sum(each * weights) / total


def _squared(x, nearest):
    difference = x - nearest
    return ops.sum(difference * difference, axis=-1)


def _root(squared):
    positive = squared > 0.0
    root = ops.sqrt(ops.where(positive, squared, 1.0))
    return ops.where(positive, root, 0.0)
