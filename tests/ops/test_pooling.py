import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft.ops.arithmetic import largest


def gradient(x):
    """Of a weighted sum of the largest of 5 in each of 3 x 4 places."""
    weights = ops.convert_to_tensor(WEIGHTS)
    if keras.config.backend() == "torch":
        x = ops.convert_to_tensor(x).requires_grad_()
        ops.sum(largest(x, 1) * weights).backward()
        return x.grad.numpy()
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        x = tf.Variable(x)
        with tf.GradientTape() as tape:
            loss = ops.sum(largest(x, 1) * weights)
        return tape.gradient(loss, x).numpy()
    import jax

    return np.asarray(jax.grad(lambda x: ops.sum(largest(x, 1) * weights))(x))


WEIGHTS = np.arange(1, 13, dtype="float32").reshape(3, 4)


def test_value_and_gradient():
    rng = np.random.default_rng(0)
    x = rng.permutation(60).reshape(3, 5, 4).astype("float32")
    top = x.max(axis=1, keepdims=True)
    found = largest(ops.convert_to_tensor(x), 1)
    np.testing.assert_array_equal(ops.convert_to_numpy(found), top[:, 0])
    np.testing.assert_array_equal(gradient(x), (x == top) * WEIGHTS[:, None])


@pytest.mark.parametrize("value", [0.0, -2.5])
def test_equal_values_have_the_gradient_together(value):
    found = gradient(np.full((3, 5, 4), value, dtype="float32"))
    np.testing.assert_allclose(found.sum(axis=1), WEIGHTS, rtol=1e-6)
