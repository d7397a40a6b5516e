"""Fast paths for single backends and devices, behind the same functions.

Each module named after a backend holds functions with the names that `find`
is asked for, and `report`. They return exactly what the plain functions in
`keras.ops` return; nothing is compiled when the package is installed.
"""

import importlib

import keras

from keras_pointpeft.ops.accelerators.switch import allowed

_BACKEND = keras.config.backend()
_FUNCTIONS = None
if _BACKEND in ("torch", "tensorflow", "jax"):
    _FUNCTIONS = importlib.import_module(f"{__name__}.{_BACKEND}_backend")


def find(name):
    """The backend's own function, or `None` where the plain one is used.

    Args:
        name: string, the function.
    """
    return getattr(_FUNCTIONS, name, None) if allowed("all") else None


def accelerator_report() -> dict:
    """What computes each function here, by kind of device.

    Returns:
        dict from function to a dict from device to a description.

    Example:

    >>> accelerator_report()["farthest_point_sample"]
    {'cpu': 'numba 0.68.1'}
    """
    plain = {"any": "keras.ops"}
    functions = ("farthest_point_sample", "knn", "weighted_sum", "linear")
    found = {name: dict(plain) for name in functions}
    if _FUNCTIONS is not None and allowed("all"):
        found.update(_FUNCTIONS.report())
    return found
