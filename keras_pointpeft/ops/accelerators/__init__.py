"""Fast paths for single backends and devices, and the switch for them.

Each module named after a backend holds functions with the names that `find`
is asked for, and `report`. They return exactly what the plain functions in
`keras.ops` return; nothing is compiled when the package is installed.
"""

import importlib
import os

import keras

KINDS = ("all", "cudagraph", "numba", "onednn", "recording", "triton", "xla")
VARIABLE = "KERAS_POINTPEFT_DISABLE"


def find(name):
    """The backend's own function, or `None` where the plain one is used.

    Args:
        name: string, the function.
    """
    # Layers ask some hundred times in a step.
    return None if "all" in _disabled else getattr(_FUNCTIONS, name, None)


def allowed(kind):
    """Whether fast paths of a kind may be used."""
    return "all" not in _disabled and kind not in _disabled


class disable_accelerators:
    """Turns fast paths off, until the end of a `with` block if it opens one.

    What is left are slower ones with the same results; without any, plain
    `keras.ops`. The environment variable `KERAS_POINTPEFT_DISABLE`, such as
    `KERAS_POINTPEFT_DISABLE=numba,triton`, does the same from the start.
    On torch that holds from the next call on, but in a step that is kept, which
    goes on with what it had: with `"recording"` and `"cudagraph"` turned off,
    too, none is. On tensorflow and jax a compiled step keeps what it was
    compiled with until the model is compiled anew.

    Args:
        *kinds: `"cudagraph"` (steps of torch on CUDA, see
            `keras_pointpeft.step_report`), `"numba"` (torch on a CPU, and the
            loader), `"onednn"` (matrix products of torch on a CPU),
            `"recording"` (steps of torch on a CPU), `"triton"` (torch on CUDA),
            `"xla"` (tensorflow and jax) or `"all"`. All, if
            none is given.

    Raises:
        ValueError: an unknown kind.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft import ops

    points = np.random.default_rng(0).normal(size=(2, 256, 3))
    with ops.disable_accelerators():
        ops.farthest_point_sample(points, 16)
    ```
    """

    def __init__(self, *kinds):
        self._before = set(_disabled)
        _disabled.update(_known(kinds or ("all",)))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        _disabled.clear()
        _disabled.update(self._before)


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


def _known(kinds):
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ValueError(
            f"Accelerators are of the kinds {KINDS}. Received: {unknown}"
        )
    return kinds


_disabled = set(
    _known([kind for kind in os.environ.get(VARIABLE, "").split(",") if kind])
)
# After what these modules ask of this one.
_BACKEND = keras.config.backend()
_FUNCTIONS = None
if _BACKEND in ("torch", "tensorflow", "jax"):
    _FUNCTIONS = importlib.import_module(
        f"keras_pointpeft.ops.accelerators.{_BACKEND}_backend"
    )
