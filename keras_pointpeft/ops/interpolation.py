"""Inverse-distance interpolation of features."""

from keras import ops

from keras_pointpeft.ops import accelerators
from keras_pointpeft.ops.neighbors import gather
from keras_pointpeft.ops.neighbors import knn
from keras_pointpeft.ops.plain import pairwise_squared
from keras_pointpeft.ops.points import as_points
from keras_pointpeft.ops.points import check_points
from keras_pointpeft.ops.points import symbolic


def _output_spec(queries, points, values, k=3, epsilon=1e-8, power=2):
    check_points(queries, "queries")
    check_points(points, "points")
    if len(values.shape) != 3:
        raise ValueError(
            "`values` must have the shape (batch, points, channels). "
            f"Received: {tuple(values.shape)}"
        )
    count = points.shape[1]
    if k is not None and (k < 1 or (count is not None and k > count)):
        raise ValueError(
            f"`k` must lie between 1 and the number of points, {count}. "
            f"Received: k={k}"
        )
    if power not in (1, 2):
        raise ValueError(f"`power` must be 1 or 2. Received: {power}")
    shape = (queries.shape[0], queries.shape[1], values.shape[-1])
    return shape, values.dtype


@symbolic(_output_spec)
def interpolate(queries, points, values, k=3, epsilon=1e-8, power=2):
    """Carries features from points to queries, nearer points weighing more.

    A point's weight is `1 / (distance ** power + epsilon)`, normalised over
    the `k` nearest points ([PointNet++](https://arxiv.org/abs/1706.02413),
    section 3.4).

    Args:
        queries: tensor or array `(batch, M, 3)`.
        points: tensor or array `(batch, N, 3)`.
        values: float tensor or array `(batch, N, C)`.
        k: int, or `None` for all points. Defaults to 3.
        epsilon: float. Defaults to `1e-8`.
        power: 1 or 2. Point-MAE and its successors use the squared distance;
            the original kernel of PointNet++ the distance. Defaults to 2.

    Returns:
        tensor `(batch, M, C)` of the dtype of `values`, computed in float32;
        differentiable in `values`, `queries` and `points`.

    Raises:
        ValueError: wrong shape, `k` below 1 or above the number of points, or
            an unknown `power`.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft import ops

    rng = np.random.default_rng(0)
    points = rng.normal(size=(2, 1024, 3)).astype("float32")
    tokens = rng.normal(size=(2, 64, 384)).astype("float32")
    ops.interpolate(points, points[:, :64], tokens).shape  # (2, 1024, 384)
    ```
    """
    _output_spec(queries, points, values, k, epsilon, power)
    queries = as_points(queries)
    points = as_points(points)
    values = ops.convert_to_tensor(values)
    features = ops.cast(values, "float32")
    if k is None:
        squared = pairwise_squared(queries, points)
        result = ops.matmul(_weights(squared, epsilon, power), features)
        return ops.cast(result, values.dtype)
    index, weights = nearest_weights(queries, points, k, epsilon, power)
    mix = accelerators.find("weighted_sum") or plain_weighted_sum
    return ops.cast(mix(features, index, weights), values.dtype)


def nearest_weights(queries, points, k, epsilon=1e-8, power=2):
    """The nearest points of each query, and how much each of them weighs.

    Args:
        queries, points, k, epsilon, power: see `interpolate`.

    Returns:
        int32 and float32 `(batch, M, k)`; the weights add up to 1.
    """
    index = knn(queries, points, k)
    difference = queries[:, :, None] - gather(points, index)
    squared = ops.sum(difference * difference, axis=-1)
    return index, _weights(squared, epsilon, power)


def plain_weighted_sum(values, index, weights):
    """`sum_j weights[..., j] * values[index[..., j]]`, per sample.

    As a product with the sparse matrix of the weights: gathering rows, and
    scattering their gradients, is slower.
    """
    columns = ops.arange(ops.shape(values)[1], dtype="int32")
    matrix = 0.0
    for j in range(index.shape[-1]):
        hit = index[..., j : j + 1] == columns
        matrix = matrix + ops.where(hit, weights[..., j : j + 1], 0.0)
    return ops.matmul(matrix, values)


def _weights(squared, epsilon, power):
    if power == 1:
        # The square root has no gradient at 0.
        squared = ops.sqrt(ops.maximum(squared, 1e-30))
    weights = 1.0 / (squared + epsilon)
    return weights / ops.sum(weights, axis=-1, keepdims=True)
