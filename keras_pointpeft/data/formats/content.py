"""What a file of points or of a mesh holds, whatever its format."""

import importlib
from dataclasses import dataclass

import numpy as np

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
# The names that programs give to columns, by what they mean.
_ROLES = {
    "x": ("x", "easting", "east"),
    "y": ("y", "northing", "north"),
    "z": ("z", "height", "elevation", "altitude"),
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
    """

    points: np.ndarray
    faces: np.ndarray | None = None
    labels: np.ndarray | None = None
    colors: np.ndarray | None = None
    normals: np.ndarray | None = None
    intensity: np.ndarray | None = None
    left_out: tuple = ()

    def take(self, indices):
        """The points at `indices`, or of a mask, with what belongs to them."""
        own = {
            name: None if value is None else value[indices]
            for name, value in (
                ("labels", self.labels),
                ("colors", self.colors),
                ("normals", self.normals),
                ("intensity", self.intensity),
            )
        }
        return Content(self.points[indices], left_out=self.left_out, **own)


def role_of(name):
    """What a column of this name holds: "x", "label" ..., or None."""
    plain = name.strip().strip("\"'").strip().lower().replace(" ", "_")
    for prefix in ("//", "scalar_field_", "scalar_", "sf_"):
        plain = plain.removeprefix(prefix)
    return _ROLE_OF.get(plain)


def from_columns(columns, faces=None, left_out=()):
    """`Content` of columns by their role.

    Args:
        columns: dict of role to array `(points,)`; "x", "y" and "z" must be
            there.
        faces, left_out: see `Content`.

    Raises:
        ValueError: a coordinate is missing, or labels are no integers.
    """
    missing = [axis for axis in "xyz" if axis not in columns]
    if missing:
        raise ValueError(f"no column {' and '.join(missing)}")

    def together(*names):
        if any(name not in columns for name in names):
            return None
        return np.stack([columns[name] for name in names], axis=1)

    return Content(
        as_numbers(together("x", "y", "z")),
        faces,
        as_labels(columns.get("label")),
        together("r", "g", "b"),
        together("nx", "ny", "nz"),
        columns.get("intensity"),
        tuple(left_out),
    )


def as_numbers(points):
    """Coordinates as floating-point numbers that lose nothing of them."""
    points = np.asarray(points)
    if points.dtype.kind not in "fiu":
        raise ValueError(f"coordinates of the type {points.dtype}")
    small = points.dtype.kind == "f" and points.dtype.itemsize <= 4
    # A copy: what was read lets go of the file.
    return np.array(points, "float32" if small else "float64")


def as_labels(values):
    """Labels as int32; a number with a fraction is refused."""
    if values is None:
        return None
    values = np.asarray(values)
    # What has no label is often marked by NaN.
    known = np.where(np.isfinite(values), values, -1)
    if (known != np.floor(known)).any():
        raise ValueError("labels that are not integers")
    return known.astype("int32")


def triangles(polygons, num_points):
    """Polygons as fans of triangles.

    Args:
        polygons: int array `(polygons, corners)`, or a list of such arrays of
            different lengths.
        num_points: int. A corner must lie below.

    Returns:
        int64 array `(triangles, 3)`.

    Raises:
        ValueError: a corner that is not there.
    """
    if not isinstance(polygons, np.ndarray):
        by_size = {}
        for polygon in polygons:
            by_size.setdefault(len(polygon), []).append(polygon)
        parts = [triangles(np.array(p), num_points) for p in by_size.values()]
        return np.concatenate([np.empty((0, 3), "int64"), *parts])
    corners = polygons.astype("int64")
    if corners.size and not 0 <= corners.min() <= corners.max() < num_points:
        raise ValueError(
            f"a face with corners {corners.min()} to {corners.max()} of "
            f"{num_points} vertices"
        )
    fan = [
        corners[:, [0, i, i + 1]] for i in range(1, corners.shape[1] - 1)
    ] or [np.empty((0, 3), "int64")]
    return np.stack(fan, axis=1).reshape(-1, 3)


def strip_triangles(strip):
    """The triangles of one strip, those without an area left out."""
    strip = np.asarray(strip, "int64")
    rows = np.stack([strip[:-2], strip[1:-1], strip[2:]], axis=1)
    rows[1::2] = rows[1::2, [1, 0, 2]]
    a, b, c = rows.T
    return rows[(a != b) & (b != c) & (a != c)]


def imported(package, path, extra="mesh"):
    """A package that only some formats need.

    Raises:
        ImportError: names the file, the package and the extra.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"{path} needs the package {package}: "
            f"pip install keras-pointpeft[{extra}]. "
            "Received: it is not installed"
        ) from error
