"""How a GPU multiplies matrices of float32."""

import contextlib

import keras

PRECISIONS = ("float32", "tf32")


@contextlib.contextmanager
def float32_products(precision):
    """Within it, matrices of float32 are multiplied as `precision` says.

    The setting is the process's own, and is what it was before when the
    context ends, by an error too. It acts on GPUs that have TF32 alone: a CPU
    computes as ever.

    Args:
        precision: `"tf32"`: factors are rounded to ten bits behind the point,
            sums stay float32. `"float32"` leaves everything as it is set.

    Raises:
        ValueError: for another precision.

    Example:
    ```python
    from keras_pointpeft.step.precision import float32_products

    with float32_products("tf32"):
        model.evaluate(points, labels)
    ```
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"`precision` must be one of {PRECISIONS}. "
            f"Received: precision={precision!r}"
        )
    if precision == "float32":
        yield
        return
    with {"torch": _torch, "jax": _jax, "tensorflow": _tensorflow}[
        keras.config.backend()
    ]():
        yield


@contextlib.contextmanager
def _torch():
    import torch

    products = torch.backends.cuda.matmul
    before, products.allow_tf32 = products.allow_tf32, True
    try:
        yield
    finally:
        products.allow_tf32 = before


@contextlib.contextmanager
def _jax():
    import jax

    with jax.default_matmul_precision("tensorfloat32"):
        yield


@contextlib.contextmanager
def _tensorflow():
    import tensorflow as tf

    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(True)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
