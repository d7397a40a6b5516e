"""Points as the functions of this package take them: checked, or symbolic."""

import functools
import importlib
import inspect

import keras
import numpy as np
from keras import ops

from keras_pointpeft.serialization import serializable

# Of float32 coordinates, a cloud must be so many steps wide.
_STEPS = 1000
# What is given in more digits must not lose more of a cloud's size.
_LOSS = 4e-6
# Clouds that reach no further have digits enough.
_NEAR = 4.0


def validate_points(points, largest=None):
    """Raises unless float32 can hold all coordinates.

    The other functions of this package do not look at values: that would
    make every training step on an accelerator wait for the device. Call this
    once where data come in; models call it on what is given to `fit`,
    `evaluate` and `predict`.

    Args:
        points: array or tensor `(..., points, 3)`; further channels may
            follow the coordinates. Reading a tensor on a device waits for it.
        largest: optional float. The largest coordinate that makes sense.

    Returns:
        `points`, unchanged.

    Raises:
        ValueError: fewer than two axes, fewer than 3 coordinates, NaN or
            infinite values, clouds so far from the origin that float32 cuts
            their coordinates, or coordinates above `largest`. The message
            counts and names the clouds.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft import ops

    ops.validate_points(np.zeros((2, 1024, 3)))
    ```
    """
    array = points
    if not isinstance(points, np.ndarray):
        array = ops.convert_to_numpy(points)
    if array.ndim < 2 or array.shape[-1] < 3:
        raise ValueError(
            "Points must have the shape (..., points, 3). "
            f"Received: {array.shape}"
        )
    if array.dtype.kind not in "fiub":
        raise ValueError(
            "Points must be numbers, in clouds of equal size. "
            f"Received: an array of {array.dtype}"
        )
    # A sum shows any NaN or infinity in one pass, without a mask.
    with np.errstate(invalid="ignore", over="ignore"):
        suspicious = not np.isfinite(array.sum(dtype="float64"))
    if suspicious:
        bad = ~np.isfinite(array).all(axis=(-2, -1))
        _refuse(bad, "hold NaN or infinite coordinates")
    reach = check_digits(array)
    if largest is not None:
        _refuse(
            reach > largest,
            f"reach further than {largest:g} from the origin, while models "
            "know clouds of about the unit sphere; is it the unit? "
            "`data.unit_sphere` scales them",
        )
    return points


def check_digits(array):
    """Raises for clouds that become others when they become float32.

    Args:
        array: array of numbers `(..., points, 3 or more)`.

    Returns:
        The largest coordinate of the array, or of each cloud.

    Raises:
        ValueError: numbers that float32 does not have, or a cloud so far from
            the origin that float32 cuts its coordinates.
    """
    reach = _reach(array)
    if reach <= _NEAR:
        return np.asarray(reach)
    if reach > np.finfo("float32").max:
        large = np.abs(array).max(axis=(-2, -1)) > np.finfo("float32").max
        _refuse(large, "hold coordinates that float32 cannot hold")
    xyz = array[..., :3]
    low, high = xyz.min(axis=-2), xyz.max(axis=-2)
    size = (high.astype("float64") - low).max(axis=-1)
    reach = np.maximum(-low, high).max(axis=-1)
    step = np.spacing(reach.astype("float32"))
    lost = step * _STEPS > size
    if array.dtype != "float32":
        lost = step * (0.5 / _LOSS) > size
    _refuse(
        lost & (reach > _NEAR) & ((size > 0) | (reach > _STEPS)),
        "lie too far from the origin for float32, as map coordinates do; "
        "centre them first, in float64 (`data.unit_sphere`, "
        "`normalize=True`)",
    )
    return reach


def check_steps(points, center, radius):
    """Raises for float32 clouds that had been cut before they came.

    Args:
        points: array `(clouds, points, 3)`.
        center: array `(clouds, 1, 3)`.
        radius: array `(clouds,)`.

    Raises:
        ValueError: a cloud so far from the origin that its coordinates take
            a few values alone.
    """
    if points.dtype != "float32":
        return
    reach = np.abs(center).max(axis=(-2, -1)) + radius
    step = np.spacing(reach.astype("float32"))
    cut = step * _STEPS > 2 * radius
    _refuse(
        cut & ((radius > 0) | (reach > _STEPS)),
        "lie so far from the origin that float32 has cut their coordinates; "
        "read and keep them as float64 until they are centred",
    )


def check_points(points, name):
    """Raises `ValueError` unless the shape is `(batch, points, 3)`."""
    shape = tuple(points.shape)
    if len(shape) != 3 or shape[-1] != 3:
        raise ValueError(
            f"`{name}` must have the shape (batch, points, 3). "
            f"Received: {shape}"
        )


def as_points(points):
    """`points` as a float32 tensor, whatever the dtype policy.

    Raises:
        ValueError: an array in more digits, so far from the origin that
            float32 would cut its coordinates.
    """
    if isinstance(points, np.ndarray) and points.dtype != "float32":
        # Queries may be few; of one point no size is known.
        if points.ndim == 3 and points.shape[1] > 1:
            check_digits(points)
    return ops.cast(points, "float32")


@serializable
class PointOperation(keras.Operation):
    """One of the package's functions as a node of a Functional model.

    Made by calling the function with a `keras.KerasTensor`; its output shape
    is known without tracing the function.

    Args:
        function: string, `"<module>.<name>"` below `keras_pointpeft.ops`. The
            name decides: modules have changed since some files were written.
        options: dict of the arguments that are not tensors.
    """

    def __init__(self, function, options, name=None):
        super().__init__(name=name)
        self.function = function
        self.options = dict(options)
        face = importlib.import_module("keras_pointpeft.ops")
        self._call = getattr(face, function.rpartition(".")[-1])

    def call(self, *tensors):
        return self._call(*tensors, **self.options)

    def compute_output_spec(self, *tensors):
        spec = self._call.output_spec(*tensors, **self.options)
        if isinstance(spec, list):
            return tuple(keras.KerasTensor(*output) for output in spec)
        return keras.KerasTensor(*spec)

    def get_config(self):
        config = {"function": self.function, "options": self.options}
        return {**config, "name": self.name}


def symbolic(output_spec):
    """Decorates a function whose leading arguments are tensors.

    Args:
        output_spec: function of the same arguments that returns the output's
            shape and dtype, of several outputs a list of such pairs.
            Parameters without default are the tensors and, after them,
            required options.
    """

    def decorate(function):
        signature = inspect.signature(function)
        module = function.__module__.rsplit(".", 1)[-1]
        path = f"{module}.{function.__name__}"

        @functools.wraps(function)
        def call(*args, **kwargs):
            values = (*args, *kwargs.values())
            if not any(isinstance(v, keras.KerasTensor) for v in values):
                return function(*args, **kwargs)
            tensors, options = [], {}
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            for name, value in bound.arguments.items():
                if len(getattr(value, "shape", ())) > 0:
                    tensors.append(value)
                else:
                    options[name] = value
            return PointOperation(path, options)(*tensors)

        call.output_spec = output_spec
        return call

    return decorate


def _reach(array):
    if not array.size:
        return 0.0
    # Of float32 two passes, without a copy.
    return max(float(array.max()), -float(array.min()))


def _refuse(bad, why):
    bad = np.asarray(bad).reshape(-1)
    if bad.any():
        which = np.flatnonzero(bad)
        shown = ", ".join(str(i) for i in which[:5])
        more = ", ..." if len(which) > 5 else ""
        raise ValueError(
            f"{len(which)} of {bad.size} clouds {why}. "
            f"Received: clouds number {shown}{more}"
        )
