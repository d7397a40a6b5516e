"""Orders of point sets."""

from keras import ops

from keras_pointpeft.ops.distances import as_points
from keras_pointpeft.ops.distances import check_points
from keras_pointpeft.ops.distances import pairwise_squared
from keras_pointpeft.ops.symbolic import symbolic


def _output_spec(points):
    return points.shape[:2], "int32"


@symbolic(_output_spec)
def nearest_neighbor_chain(points):
    """Orders points greedily: each is followed by its nearest unvisited one.

    It starts at point 0 ([PointGPT](https://arxiv.org/abs/2305.11487) orders
    its patches so). Deterministic: float32 direct differences, and the lowest
    index of equally near points.

    Args:
        points: tensor or array `(batch, points, 3)`. Must be finite.

    Returns:
        int32 tensor `(batch, points)`: which point comes at each place. It
        carries no gradient.

    Raises:
        ValueError: wrong shape.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft import ops

    points = np.random.default_rng(0).normal(size=(2, 64, 3))
    chain = ops.gather(points, ops.nearest_neighbor_chain(points))
    ```
    """
    check_points(points, "points")
    points = ops.stop_gradient(as_points(points))
    batch, count = ops.shape(points)[0], points.shape[1]
    # One row of distances per point of the batch.
    rows = ops.reshape(pairwise_squared(points, points), (-1, count))
    start = ops.arange(batch, dtype="int32") * count
    places = ops.arange(count, dtype="int32")

    def step(i, state):
        chain, visited, last = state
        row = ops.take(rows, start + last, axis=0)
        row = ops.where(visited, float("inf"), row)
        last = ops.cast(ops.argmin(row, axis=1), "int32")
        visited = visited | (places == last[:, None])
        return ops.slice_update(chain, (i, 0), last[None]), visited, last

    chain = ops.zeros((count, batch), dtype="int32")
    last = ops.zeros((batch,), dtype="int32")
    visited = ops.broadcast_to(places == 0, (batch, count))
    state = ops.fori_loop(1, count, step, (chain, visited, last))
    return ops.transpose(state[0])
