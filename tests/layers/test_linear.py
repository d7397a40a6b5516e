import numpy as np
import pytest
from keras import ops

from keras_pointpeft.layers import Linear


def array(x):
    return np.array(ops.convert_to_numpy(x))


def test_starts_uniform_within_the_root_of_the_inputs():
    layer = Linear(500)
    layer.build((None, 25))
    kernel, bias = array(layer.kernel), array(layer.bias)
    for values in (kernel, bias):
        assert 0.19 < np.abs(values).max() <= 0.2
        assert abs(values.mean()) < 0.02
        assert values.std() == pytest.approx(0.2 / np.sqrt(3), rel=0.1)


def test_other_initializers():
    layer = Linear(4, kernel_initializer="zeros", bias_initializer="ones")
    layer.build((None, 25))
    assert not array(layer.kernel).any()
    assert (array(layer.bias) == 1).all()


def test_without_bias():
    layer = Linear(4, use_bias=False)
    layer.build((None, 8))
    assert layer.bias is None


def test_config():
    layer = Linear(4, name="fc", dtype="mixed_bfloat16")
    again = Linear.from_config(layer.get_config())
    again.build((None, 16))
    assert again.compute_dtype == "bfloat16"
    assert 0 < np.abs(array(again.bias)).max() <= 0.25
    assert 0 < np.abs(array(again.kernel)).max() <= 0.25
