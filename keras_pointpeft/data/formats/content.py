"""What a file of points or of a mesh holds, whatever its format."""

import importlib
import re
from dataclasses import dataclass
from dataclasses import replace

import numpy as np

from keras_pointpeft.data.clouds import turned

LABELS = (
    "label",
    "labels",
    "class",
    "classification",
    "semantic",
    "semantic_label",
    "part",
    "pid",
)
# What points may have beside their place.
CHANNELS = ("colors", "normals", "intensity")
# What arrays of them are called, in .npz and .h5.
CHANNEL_ARRAYS = {
    "colors": ("colors", "color", "rgb"),
    "normals": ("normals", "normal"),
    "intensity": ("intensity", "intensities"),
}
# The names that programs give to columns, by what they mean.
_ROLES = {
    "x": ("x", "easting", "east", "x_coord", "coord_x"),
    "y": ("y", "northing", "north", "y_coord", "coord_y"),
    "z": ("z", "height", "elevation", "altitude", "z_coord", "coord_z"),
    "nx": ("nx", "normal_x", "normalx"),
    "ny": ("ny", "normal_y", "normaly"),
    "nz": ("nz", "normal_z", "normalz"),
    "r": ("r", "red", "diffuse_red"),
    "g": ("g", "green", "diffuse_green"),
    "b": ("b", "blue", "diffuse_blue"),
    "intensity": ("intensity", "reflectance", "remission", "reflectivity"),
    "label": LABELS,
}
_ROLE_OF = {name: role for role, names in _ROLES.items() for name in names}


@dataclass(frozen=True, eq=False)
class Content:
    """Points, or a mesh, with what stands beside them.

    Args:
        points: array `(points, 3)` in the precision of the file: of a mesh,
            its vertices.
        faces: optional int array `(triangles, 3)`.
        labels: optional int array `(points,)`.
        colors: optional array `(points, 3)`, as they are in the file.
        normals: optional array `(points, 3)`.
        intensity: optional array `(points,)`.
        left_out: tuple of strings, what the file holds beside it that is not
            read, counted.
        color_range: optional float, the number of the brightest colour, where
            the file tells: 255 for colours of one byte.
    """

    points: np.ndarray
    faces: np.ndarray | None = None
    labels: np.ndarray | None = None
    colors: np.ndarray | None = None
    normals: np.ndarray | None = None
    intensity: np.ndarray | None = None
    left_out: tuple = ()
    color_range: float | None = None

    def __post_init__(self):
        count = len(self.points)
        for name in ("labels", "colors", "normals", "intensity"):
            value = getattr(self, name)
            if value is not None and len(value) != count:
                raise ValueError(f"{len(value)} {name} of {count} points")
        if self.color_range is None and self.colors is not None:
            if self.colors.dtype == "uint8":
                object.__setattr__(self, "color_range", 255.0)

    def channels(self, names, up_axis=None, color_range=None, to="y"):
        """What stands beside the points, for a model that takes it.

        Args:
            names: sequence of "colors", "normals" and "intensity".
            up_axis, to: see `turned`; normals are turned as the points are.
            color_range: optional float, the number of the brightest colour,
                where the file does not tell.

        Returns:
            float32 array `(points, channels)`; colours from 0 to 1.

        Raises:
            ValueError: the file has none of a name, or nobody tells the range
                of its colours.
        """
        parts = [np.empty((len(self.points), 0), "float32")]
        for name in names:
            values = getattr(self, name)
            if values is None:
                raise ValueError(f"its points have no {name}")
            values = np.asarray(values, "float32").reshape(len(values), -1)
            if name == "normals":
                values = turned(values, up_axis, to)
            if name == "colors":
                full = self.color_range or color_range
                if full is None:
                    raise ValueError(
                        "its colours may be fractions, or numbers up to 255 or "
                        "65535: `color_range` must say which"
                    )
                values = values / np.float32(full)
            parts.append(values)
        return np.concatenate(parts, axis=1)

    def take(self, indices):
        """The points at `indices`, or of a mask, with what belongs to them."""
        return Content(
            left_out=self.left_out,
            color_range=self.color_range,
            **{n: _rows(value, indices) for n, value in self._of_points()},
        )

    def owned(self):
        """The same in memory of its own, that lets go of the file."""
        return replace(
            self,
            **{
                name: np.array(value, order="C")
                for name, value in self._of_points()
            },
        )

    def _of_points(self):
        names = ("points", "labels", *CHANNELS)
        values = ((name, getattr(self, name)) for name in names)
        return [(name, value) for name, value in values if value is not None]


def role_of(name):
    """What a column of this name holds: "x", "label" ..., or None."""
    plain = re.sub(r"[\[(].*", "", name)  # the unit, as in "X [m]"
    plain = plain.strip().strip("\"'").strip().lower().replace(" ", "_")
    for prefix in ("//", "scalar_field_", "scalar_", "sf_"):
        plain = plain.removeprefix(prefix)
    return _ROLE_OF.get(plain)


def from_columns(columns):
    """`Content` of columns by their role.

    Args:
        columns: dict of role to array `(points,)`; "x", "y" and "z" must be
            there.

    Raises:
        ValueError: a coordinate is missing, or labels are no integers.
    """
    missing = [axis for axis in "xyz" if axis not in columns]
    if missing:
        raise ValueError(f"no column {' and '.join(missing)}")

    def together(*names):
        if any(name not in columns for name in names):
            return None
        return _side_by_side([columns[name] for name in names])

    return Content(
        as_numbers(together("x", "y", "z")),
        labels=as_labels(columns.get("label")),
        colors=together("r", "g", "b"),
        normals=together("nx", "ny", "nz"),
        intensity=columns.get("intensity"),
    )


def _rows(values, indices):
    if values.flags.c_contiguous and indices.dtype != bool:
        return values.take(indices, axis=0)  # several times faster
    return values[indices]  # `take` would copy all of them first


def _side_by_side(columns):
    """Columns as one array `(points, columns)`, a view where they lie so."""
    first = columns[0]
    begin = first.__array_interface__["data"][0]
    if first.base is not None and all(
        column.base is first.base
        and column.dtype == first.dtype
        and column.strides == first.strides
        and column.__array_interface__["data"][0]
        == begin + number * first.itemsize
        for number, column in enumerate(columns)
    ):
        return np.lib.stride_tricks.as_strided(
            first,
            (len(first), len(columns)),
            (*first.strides, first.itemsize),
            writeable=False,
        )
    return np.stack(columns, axis=1)


def as_numbers(points):
    """Coordinates as floating-point numbers that lose nothing of them.

    Those that are such numbers stay where they are: in a file, if it is
    mapped into memory.
    """
    points = np.asarray(points)
    if points.dtype.kind not in "fiu":
        raise ValueError(f"coordinates of the type {points.dtype}")
    small = points.dtype.kind == "f" and points.dtype.itemsize <= 4
    return points.astype("float32" if small else "float64", copy=False)


def as_labels(values):
    """Labels as int32; a number with a fraction is refused."""
    if values is None:
        return None
    values = np.asarray(values)
    # What has no label is often marked by NaN.
    known = np.where(np.isfinite(values), values, -1)
    if known.ndim == 2 and known.shape[1] == 1:
        known = known[:, 0]
    if known.ndim != 1:
        raise ValueError(f"labels of the shape {known.shape}")
    if (known != np.floor(known)).any():
        raise ValueError("labels that are not integers")
    return known.astype("int32")


def imported(package, path):
    """A package that only some formats need.

    Raises:
        ImportError: names the file, the package and the extra.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"{path} needs the package {package}: "
            "pip install keras-pointpeft[mesh]. "
            "Received: it is not installed"
        ) from error
