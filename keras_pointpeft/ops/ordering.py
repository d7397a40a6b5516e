"""Orders of point sets."""

import numpy as np
from keras import ops

from keras_pointpeft.ops.neighbors import gather
from keras_pointpeft.ops.plain import pairwise_squared
from keras_pointpeft.ops.points import as_points
from keras_pointpeft.ops.points import check_points
from keras_pointpeft.ops.points import symbolic


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


def _morton_spec(points, wrap):
    return _output_spec(points)


@symbolic(_morton_spec)
def morton_order(points, wrap=False):
    """Orders points along the Z-order curve of a grid with cells of 0.01.

    Coordinates become 16-bit integers, whose bits are interleaved, y before x
    before z; ties keep the order of the points.

    Args:
        points: tensor or array `(batch, points, 3)`. Must be finite.
        wrap: bool. Whether coordinates are cut off towards 0 and negative
            ones come behind the positive, as in the published code of
            [PointGST](https://arxiv.org/abs/2410.08114). By default they are
            rounded down and all in their place.

    Returns:
        int32 tensor `(batch, points)`: which point comes at each place. It
        carries no gradient.

    Raises:
        ValueError: wrong shape.

    Example:
    ```python
    import numpy as np
    from keras_pointpeft import ops

    points = np.random.default_rng(0).random((2, 64, 3), "float32")
    order = ops.morton_order(points)  # (2, 64)
    ```
    """
    check_points(points, "points")
    # A quotient of float32, as everywhere: 0.29 / 0.01 is not 29.
    cells = ops.stop_gradient(as_points(points)) * np.float32(100.0)
    if wrap:
        cells = ops.cast(cells, "int32")
    else:
        cells = ops.cast(ops.floor(cells), "int32") + 2**15
    shifts = ops.arange(16, dtype="int32")
    bits = ops.bitwise_and(ops.right_shift(cells[..., None], shifts), 1)
    # 48 bits do not fit into an int32: the high half decides, then the low.
    place = 3 * (shifts % 8) + ops.convert_to_tensor([[1], [2], [0]], "int32")
    weighted = ops.left_shift(bits, place)
    low = ops.sum(weighted[..., :8], axis=(-2, -1))
    high = ops.sum(weighted[..., 8:], axis=(-2, -1))
    first = ops.argsort(low, axis=1)
    then = ops.argsort(_along(high, first), axis=1)
    return ops.cast(_along(first, then), "int32")


def _along(values, index):
    # `take_along_axis` would fix the batch of a program exported by torch.
    return gather(values[..., None], index)[..., 0]
