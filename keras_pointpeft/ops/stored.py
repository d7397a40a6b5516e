"""What a variable holds, also while a function is traced."""

import contextlib

import keras
from keras import ops


def stored(variable):
    """A variable's value outside of whatever is being traced.

    Args:
        variable: a `keras.Variable`.

    Returns:
        An array.

    Example:

    >>> keras_pointpeft.ops.stored.stored(keras.Variable(3))
    array(3, dtype=int32)
    """
    scope = contextlib.nullcontext()
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        scope = tf.init_scope()
    # An own scope has no values of a trace, and torch's symbolic calls have
    # no values at all.
    with scope, keras.device("cpu"), keras.StatelessScope():
        return ops.convert_to_numpy(variable.value)
