import numpy as np
import pytest
from keras import ops as kops

from keras_pointpeft import ops


def test_returns_its_argument():
    points = np.zeros((4, 10, 3))
    assert ops.validate_points(points) is points
    assert ops.validate_points(np.zeros((0, 10, 3))).shape == (0, 10, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_names_the_clouds(value):
    points = np.zeros((4, 10, 3), "float32")
    points[1, 3, 2] = points[3, 0, 0] = value
    for given in (points, kops.convert_to_tensor(points)):
        with pytest.raises(ValueError, match="2 of 4.*Received.*1, 3"):
            ops.validate_points(given)


def test_infinities_that_cancel():
    points = np.zeros((2, 10, 3))
    points[0, 0] = (np.inf, -np.inf, 0.0)
    with pytest.raises(ValueError, match="1 of 2"):
        ops.validate_points(points)


def test_large_but_finite():
    points = np.linspace(-3e38, 3e38, 60).reshape(2, 10, 3)
    assert ops.validate_points(points.astype("float32")) is not None
    with pytest.raises(ValueError, match="float32 cannot hold"):
        ops.validate_points(np.full((2, 10, 3), np.finfo("float64").max))


def test_one_cloud():
    with pytest.raises(ValueError, match="1 of 1"):
        ops.validate_points(np.full((10, 3), np.nan))


@pytest.mark.parametrize("shape", [(3,), (2, 10, 2)])
def test_wrong_shape(shape):
    with pytest.raises(ValueError, match="shape.*Received"):
        ops.validate_points(np.zeros(shape))
