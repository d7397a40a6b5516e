"""Compiling and differentiating, the same way on every backend."""

import keras
import numpy as np
from keras import ops

BACKEND = keras.config.backend()


def compiled_forms(function):
    """`(name, compiled function)` pairs of the current backend."""
    if BACKEND == "jax":
        import jax

        return [("jit", jax.jit(function))]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return [
            ("graph", tf.function(function)),
            ("xla", tf.function(function, jit_compile=True)),
            (
                "dynamic",
                tf.function(
                    function,
                    input_signature=[tf.TensorSpec((None, None, 3))],
                ),
            ),
        ]
    import torch

    return [
        (
            "compile",
            torch.compile(function, backend="eager", fullgraph=True),
        ),
        (
            "dynamic",
            torch.compile(
                function, backend="eager", fullgraph=True, dynamic=True
            ),
        ),
    ]


def gradients(function, *arrays):
    """Gradients of a scalar function with each array."""
    tensors = [ops.convert_to_tensor(a) for a in arrays]
    if BACKEND == "jax":
        import jax

        every = tuple(range(len(tensors)))
        found = jax.jit(jax.grad(function, argnums=every))(*tensors)
    elif BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        found = tape.gradient(value, tensors)
    else:
        for tensor in tensors:
            tensor.requires_grad_(True)
        function(*tensors).backward()
        found = [tensor.grad for tensor in tensors]
    return [
        np.zeros(array.shape) if g is None else ops.convert_to_numpy(g)
        for g, array in zip(found, arrays)
    ]


def numeric_gradient(function, array, step=1e-6):
    """Central differences of a float64 numpy function."""
    array = array.astype("float64")
    gradient = np.zeros_like(array)
    for index in np.ndindex(*array.shape):
        ends = []
        for sign in (1, -1):
            moved = array.copy()
            moved[index] += sign * step
            ends.append(function(moved))
        gradient[index] = (ends[0] - ends[1]) / (2 * step)
    return gradient
