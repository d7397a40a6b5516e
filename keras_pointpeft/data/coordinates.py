"""Coordinates until they are centred: their precision, units and axes.

Map coordinates, degrees and millimetres about a scanner need more digits than
float32 has. So clouds keep the precision in which they came until they are
counted from a place of their own.
"""

import numpy as np

# A place is the same wherever a cloud lies if it is told apart to this part
# of the cloud's size, far above the noise that float64 has on maps.
_GRID = 2.0**-22


def as_floats(points) -> np.ndarray:
    """Coordinates as float32 if that is what they are, else as float64.

    Args:
        points: array of numbers, or nested lists.

    Returns:
        The same array, if it was one of the two.

    Raises:
        ValueError: these are no numbers.
    """
    if not isinstance(points, np.ndarray):  # a memory map stays one
        points = np.asarray(points)
    if points.dtype in ("float32", "float64"):
        return points
    if points.dtype.kind not in "fiu":
        raise ValueError(
            "Coordinates must be numbers, in clouds of equal size. "
            f"Received: an array of {points.dtype}"
        )
    return points.astype("float32" if points.dtype == "float16" else "float64")


def nearby(points: np.ndarray) -> np.ndarray:
    """float32 coordinates that tell apart what the given ones do.

    Points in float32 are returned as they are. Those in float64 are counted
    from the middle of their cloud, which leaves distances as they are.

    Args:
        points: array `(..., points, 3)`.

    Returns:
        float32 array of the same shape.
    """
    points = as_floats(points)
    if points.dtype == "float32" or not points.size:
        return points.astype("float32", copy=False)
    low = points.min(axis=-2, keepdims=True)
    size = (points.max(axis=-2, keepdims=True) - low).max(-1, keepdims=True)
    grid = np.where(np.isfinite(size) & (size > 0), size, 1.0) * _GRID
    moved = points - (low + size / 2)
    return (np.rint(moved / grid) * grid).astype("float32")


def to_float32(points) -> np.ndarray:
    """Coordinates as float32, where that loses nothing of the clouds.

    Args:
        points: array `(..., points, 3)`.

    Returns:
        float32 array of the same shape.

    Raises:
        ValueError: clouds so far from the origin that float32 would cut them.
    """
    # Not above: files are read without Keras.
    from keras_pointpeft.ops.points import validate_points

    points = as_floats(points)
    if points.dtype != "float32":
        points = validate_points(points).astype("float32")
    return points


def turned(points: np.ndarray, up_axis, to="y") -> np.ndarray:
    """Turns clouds so that another axis points up.

    Args:
        points: array `(..., points, 3)`.
        up_axis: "x", "y" or "z", which points up; None leaves them.
        to: string, the axis that is to point up.

    Returns:
        Array of the same shape, turned by a rotation, not mirrored.

    Raises:
        ValueError: there is no such axis.
    """
    if up_axis is None:
        return points
    if up_axis not in ("x", "y", "z"):
        raise ValueError(
            f'`up_axis` must be "x", "y" or "z". Received: {up_axis!r}'
        )
    result = np.array(points)
    if up_axis != to:
        # A quarter turn about the third axis.
        old, new = "xyz".index(up_axis), "xyz".index(to)
        result[..., new] = points[..., old]
        result[..., old] = -points[..., new]
    return result


def check_units(points, what="The cloud"):
    """Refuses longitude and latitude beside heights in metres.

    Args:
        points: array `(points, 3)`, finite.
        what: string, for the message.

    Raises:
        ValueError: the cloud is thousands of times higher than wide, at a
            place that may be a longitude and latitude.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    far = np.abs([low, high]).max(axis=0)
    wide, tall = (high - low)[:2].max(), (high - low)[2]
    on_earth = far[0] <= 360 and far[1] <= 90 and far[:2].max() > 1
    if on_earth and 0 < wide < 1 and tall > 2000 * wide:
        raise ValueError(
            f"{what} seems to be in degrees, with heights in metres: project "
            "it onto a map first, such as UTM. Received: "
            f"{wide:.3g} wide and {tall:.3g} high at {low[:2].tolist()}"
        )
