"""Fast paths for single backends and devices, behind the same functions.

Each module here is named after a backend and holds functions with the names
that `find` is asked for. They return exactly what the plain ones return.
"""

import functools
import importlib

import keras

_BACKENDS = ("torch", "tensorflow", "jax")


def find(name, points):
    """The fast path for `points`, or `None`.

    Args:
        name: string, the function.
        points: tensor that the function will get.

    Returns:
        A function, or `None` where the plain one is to be used.
    """
    backend = keras.config.backend()
    if backend not in _BACKENDS or isinstance(points, keras.KerasTensor):
        return None
    return getattr(_module(backend), name, None)


@functools.cache
def _module(backend):
    return importlib.import_module(f"{__name__}.{backend}_backend")
