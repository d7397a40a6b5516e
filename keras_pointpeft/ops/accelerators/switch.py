"""Which kinds of fast paths may be used."""

import os

KINDS = ("all", "cudagraph", "numba", "onednn", "recording", "triton", "xla")
VARIABLE = "KERAS_POINTPEFT_DISABLE"


def allowed(kind):
    """Whether fast paths of a kind may be used."""
    return not {"all", kind} & _disabled


class disable_accelerators:
    """Turns fast paths off, until the end of a `with` block if it opens one.

    What is left are slower ones with the same results; without any, plain
    `keras.ops`. The environment variable `KERAS_POINTPEFT_DISABLE`, such as
    `KERAS_POINTPEFT_DISABLE=numba,triton`, does the same from the start.
    A model keeps the paths with which it was compiled.

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
