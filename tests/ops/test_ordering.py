import numpy as np
import pytest
from keras import ops

from keras_pointpeft.ops import nearest_neighbor_chain


def chain_of(points):
    """The definition, one step at a time."""
    order, left = [0], list(range(1, len(points)))
    while left:
        distances = [((points[i] - points[order[-1]]) ** 2).sum() for i in left]
        order.append(left.pop(int(np.argmin(distances))))
    return order


def test_follows_the_definition():
    points = np.random.default_rng(0).normal(size=(3, 20, 3))
    points = points.astype("float32")
    order = ops.convert_to_numpy(nearest_neighbor_chain(points))
    assert order.dtype == np.int32
    assert order.tolist() == [chain_of(cloud) for cloud in points]


def test_lowest_index_of_equally_near_points():
    line = np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0], [2, 0, 0]], "float32")
    order = ops.convert_to_numpy(nearest_neighbor_chain(line[None]))
    assert order.tolist() == [[0, 1, 3, 2]]


def test_duplicates_are_all_visited():
    order = nearest_neighbor_chain(np.zeros((1, 5, 3), "float32"))
    assert ops.convert_to_numpy(order).tolist() == [[0, 1, 2, 3, 4]]


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match="Received"):
        nearest_neighbor_chain(np.zeros((5, 3), "float32"))
