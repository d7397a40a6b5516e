"""Fast paths for single backends and devices, behind the same functions.

Each module here is named after a backend and holds functions with the names
that `find` is asked for. They return exactly what the plain ones return.
"""

import importlib

import keras

_BACKEND = keras.config.backend()
_FUNCTIONS = None
if _BACKEND in ("torch", "tensorflow", "jax"):
    _FUNCTIONS = importlib.import_module(f"{__name__}.{_BACKEND}_backend")


def find(name):
    """The backend's own function, or `None` where the plain one is used.

    Args:
        name: string, the function.
    """
    return getattr(_FUNCTIONS, name, None)
