"""Clouds from single files: arrays, text, meshes, laser scans."""

import os

import numpy as np

from keras_pointpeft.data.checks import MAX_BYTES
from keras_pointpeft.data.checks import check_size
from keras_pointpeft.data.text_files import read_table

ARRAYS = (".npy", ".npz")
TEXTS = (".txt", ".xyz", ".pts", ".csv")
MESHES = (".off", ".obj", ".ply", ".stl", ".glb")
SCANS = (".las", ".laz")
EXTENSIONS = ARRAYS + TEXTS + MESHES + SCANS


def read_cloud(path, num_points=None, rng=None, max_bytes=MAX_BYTES):
    """Reads the coordinates of one file.

    Args:
        path: string, a file with one of `EXTENSIONS`. Arrays and text have
            x, y, z in their first three columns (an .npz under "points", or
            as its only array). Meshes need `trimesh`, laser scans `laspy`
            (`pip install keras-pointpeft[mesh]`). Coordinates beyond 10,000,
            as on maps, are counted from the cloud's lowest corner, since
            float32 could not hold them.
        num_points: int, how many points are drawn from the surface of a
            mesh; other files are read whole. Defaults to None, 2048.
        rng: `numpy.random.Generator`, for meshes. Defaults to None: seed 0.
        max_bytes: int, refuse files that declare more.

    Returns:
        float32 array `(points, 3)`.

    Raises:
        ValueError: an unknown extension or a damaged file.
        ImportError: a package is needed that is not installed.

    Example:

    ```python
    from keras_pointpeft.data import read_cloud

    points = read_cloud("chair.off", num_points=1024)
    ```
    """
    extension = os.path.splitext(path)[1].lower()
    if extension not in EXTENSIONS:
        raise ValueError(
            f"A cloud is read from one of {EXTENSIONS}. Received: {path}"
        )
    if extension in ARRAYS:
        points = _read_array(path, extension, max_bytes)
    elif extension in TEXTS:
        points = read_table(path, 3, _delimiter(path), "float64")
    elif extension in SCANS:
        points = _read_scan(path, max_bytes)
    else:
        points = _read_mesh(path, num_points or 2048, rng)
    if points.ndim != 2 or points.shape[1] < 3 or not len(points):
        raise ValueError(
            f"{path} must hold points (points, 3 or more). "
            f"Received: shape {points.shape}"
        )
    return _near_origin(points[:, :3]).astype("float32")


def surface_points(vertices, faces, count, rng):
    """Points of a triangle mesh, uniform over its area.

    Args:
        vertices: array `(vertices, 3)`.
        faces: int array `(triangles, 3)`.
        count: int.
        rng: `numpy.random.Generator`.

    Returns:
        float32 array `(count, 3)`.

    Raises:
        ValueError: the mesh has no area.
    """
    corners = np.asarray(vertices, "float64")[np.asarray(faces)]
    origin, first, second = corners[:, 0], corners[:, 1], corners[:, 2]
    first, second = first - origin, second - origin
    area = np.linalg.norm(np.cross(first, second), axis=1)
    total = area.sum()
    if not (np.isfinite(total) and total > 0):
        raise ValueError(
            "A mesh needs triangles with an area. "
            f"Received: {len(area)} triangles, area {total / 2}"
        )
    chosen = rng.choice(len(area), count, p=area / total)
    # A point beyond the diagonal is folded back: uniform in the triangle.
    u, v = rng.random((2, count, 1))
    folded = u + v > 1
    u, v = np.where(folded, 1 - u, u), np.where(folded, 1 - v, v)
    points = origin[chosen] + u * first[chosen] + v * second[chosen]
    return points.astype("float32")


def _read_array(path, extension, max_bytes):
    try:
        # A header that declares more than the file holds fails to map.
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if extension == ".npz":
            with loaded:
                loaded = _only_array(path, loaded, max_bytes)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(
            f"{path} is not a complete array file. Received: {error}"
        ) from error
    if loaded.dtype.kind not in "fiu":
        raise ValueError(
            f"{path} must hold numbers. Received: dtype {loaded.dtype}"
        )
    check_size(path, loaded.shape, "float32", max_bytes)
    return loaded


def _only_array(path, loaded, max_bytes):
    names = loaded.files
    if "points" not in names and len(names) != 1:
        raise ValueError(f'an array named "points" is needed, not {names}')
    name = "points" if "points" in names else names[0]
    member = loaded.zip.getinfo(f"{name}.npy")
    if member.file_size > max_bytes:
        raise ValueError(f"{member.file_size} bytes, above `max_bytes`")
    with loaded.zip.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    if int(np.prod(shape, dtype=object)) * dtype.itemsize > member.file_size:
        raise ValueError(f"its header declares {shape}, more than it holds")
    return loaded[name]


def _delimiter(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return "," if "," in file.readline() else None


def _read_mesh(path, count, rng):
    trimesh = _imported("trimesh", path)
    try:
        loaded = trimesh.load(path, process=False, skip_materials=True)
        if isinstance(loaded, trimesh.Scene):
            loaded = loaded.to_geometry()
        faces = getattr(loaded, "faces", None)
        vertices = np.asarray(loaded.vertices)
    except Exception as error:  # readers of meshes fail in many ways
        raise ValueError(
            f"{path} cannot be read as a mesh. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
    if faces is None or not len(faces):
        return vertices
    rng = np.random.default_rng(0) if rng is None else rng
    try:
        return surface_points(vertices, faces, count, rng)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _read_scan(path, max_bytes):
    laspy = _imported("laspy", path)
    try:
        with laspy.open(path) as file:
            shape = (file.header.point_count, 3)
            check_size(path, shape, "float64", max_bytes)
            scan = file.read()
        points = np.stack([scan.x, scan.y, scan.z], axis=1)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as a laser scan. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
    return points


def _near_origin(points):
    """Map coordinates, too large for float32, from their corner on."""
    largest = np.abs(points).max()
    if np.isfinite(largest) and largest > 1e4:
        points = points - np.floor(points.min(axis=0, keepdims=True))
    return np.asarray(points)


def _imported(package, path):
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"{path} needs the package {package}: "
            "pip install keras-pointpeft[mesh]. Received: it is not installed"
        ) from error
