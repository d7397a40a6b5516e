"""Clouds from single files: arrays, text, meshes, laser scans."""

import os
import warnings

import numpy as np

from keras_pointpeft.data.checks import MAX_BYTES
from keras_pointpeft.data.clouds import turned
from keras_pointpeft.data.formats import arrays
from keras_pointpeft.data.formats import gltf
from keras_pointpeft.data.formats import obj
from keras_pointpeft.data.formats import off
from keras_pointpeft.data.formats import pcd
from keras_pointpeft.data.formats import ply
from keras_pointpeft.data.formats import ptx
from keras_pointpeft.data.formats import scans
from keras_pointpeft.data.formats import text
from keras_pointpeft.data.formats.content import Content
from keras_pointpeft.data.formats.content import imported

ARRAYS = (".npy", ".npz", ".bin")
TEXTS = (".txt", ".xyz", ".pts", ".csv", ".asc")
MESHES = (".off", ".obj", ".ply", ".stl", ".glb", ".gltf")
SCANS = (".las", ".laz", ".e57", ".pcd", ".ptx")
EXTENSIONS = ARRAYS + TEXTS + MESHES + SCANS


def read_cloud(
    path,
    num_points=None,
    rng=None,
    max_bytes=MAX_BYTES,
    up_axis=None,
    bin_columns=None,
):
    """Reads the coordinates of one file.

    They stay as they are in the file, in its precision: map coordinates need
    float64. `unit_sphere`, and what trains and predicts, centres them before
    they become float32.

    Args:
        path: string, a file with one of `EXTENSIONS`. Arrays have x, y, z in
            their first three columns (an .npz under "points", or as its only
            array), and so has text, unless a header names its columns.
            Meshes and scans need packages
            (`pip install keras-pointpeft[mesh]`).
        num_points: int, how many points are drawn from the surface of a
            mesh; other files are read whole. Defaults to None, 2048.
        rng: `numpy.random.Generator`, for meshes. Defaults to None: seed 0.
        max_bytes: int, refuse files that declare more.
        up_axis: optional "x", "y" or "z", the axis that points up in the
            file; the cloud is turned so that it is y, as in the sets that
            the models are pre-trained on. Defaults to None, as it is.
        bin_columns: optional int, how many float32 each point of a .bin file
            has: 4 for KITTI, 5 for nuScenes.

    Returns:
        float array `(points, 3)`: float32 where the file has no more, else
        float64.

    Raises:
        ValueError: an unknown extension or a damaged file.
        ImportError: a package is needed that is not installed.

    Example:
    ```python
    import numpy as np
    from keras_pointpeft.data import read_cloud

    np.savetxt("chair.xyz", np.random.default_rng(0).random((1024, 3)))
    points = read_cloud("chair.xyz")
    ```
    """
    content = open_content(path, num_points, rng, max_bytes, bin_columns)
    return turned(np.array(content.points, order="C"), up_axis)


def read_content(
    path, num_points=None, rng=None, max_bytes=MAX_BYTES, bin_columns=None
):
    """Reads the points of one file, and what it says about each of them.

    Args:
        path, num_points, rng, max_bytes, bin_columns: see `read_cloud`.

    Returns:
        `formats.content.Content`: points, and labels (the classification of
        .las, a property or column "label" or "classification"), colours,
        normals and intensity where the file has them. Of a mesh, points of
        its surface alone.

    Raises:
        ValueError: an unknown extension or a damaged file.
        ImportError: a package is needed that is not installed.

    Example:

    ```python
    from keras_pointpeft.data import read_content

    plot = read_content("plot.las")
    plot.points, plot.labels, plot.intensity
    ```
    """
    content = open_content(path, num_points, rng, max_bytes, bin_columns)
    return content.owned()


def open_content(
    path, num_points=None, rng=None, max_bytes=MAX_BYTES, bin_columns=None
):
    """What `read_content` gives, where it is: its points may be a view.

    Of an array file, for example, they are the file itself, mapped into
    memory. Who needs a few of them alone spares a copy of all.
    """
    content = _open(path, max_bytes, bin_columns)
    if content.faces is not None:
        rng = np.random.default_rng(0) if rng is None else rng
        try:
            points = surface_points(
                content.points, content.faces, num_points or 2048, rng
            )
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        content = Content(points, left_out=content.left_out)
    if content.left_out:
        warnings.warn(
            f"{path} is read without {', '.join(content.left_out)}",
            stacklevel=3,
        )
    return content


def read_vertices(path, bin_columns=None):
    """What a file holds, of a mesh its vertices and triangles.

    Args:
        path, bin_columns: see `read_cloud`.

    Returns:
        `formats.content.Content`.

    Raises:
        ValueError: an unknown extension or a damaged file.
        ImportError: a package is needed that is not installed.
    """
    return _open(path, MAX_BYTES, bin_columns).owned()


def _open(path, max_bytes, bin_columns):
    path = os.fspath(path)
    extension = os.path.splitext(path)[1].lower()
    if extension not in EXTENSIONS:
        raise ValueError(
            f"A cloud is read from one of {EXTENSIONS}. Received: {path}"
        )
    try:
        content = _read(path, extension, max_bytes, bin_columns)
        if not len(content.points):
            raise ValueError("it holds no points")
    except ImportError:
        raise
    except Exception as error:  # readers of files fail in many ways
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"There is no such file. Received: {path}"
            ) from error
        said = " ".join(str(error).split())[:200]
        kind = type(error).__name__
        said = said if isinstance(error, ValueError) else f"{kind}: {said}"
        raise ValueError(f"{path} cannot be read. Received: {said}") from error
    return content


def surface_points(vertices, faces, count, rng):
    """Points of a triangle mesh, uniform over its area.

    Args:
        vertices: array `(vertices, 3)`.
        faces: int array `(triangles, 3)`.
        count: int.
        rng: `numpy.random.Generator`.

    Returns:
        float64 array `(count, 3)`.

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
    return origin[chosen] + u * first[chosen] + v * second[chosen]


def _read(path, extension, max_bytes, bin_columns):
    if extension == ".bin":
        return arrays.read_raw(path, bin_columns, max_bytes)
    if extension in ARRAYS:
        return arrays.read(path, max_bytes)
    if extension in TEXTS:
        return text.read(path, counted=extension == ".pts")
    if extension in (".las", ".laz"):
        return scans.read_las(path, max_bytes)
    if extension in (".glb", ".gltf"):
        return gltf.read(path, max_bytes)
    if extension == ".stl":
        return _read_stl(path)
    if extension in (".off", ".obj"):
        return {".off": off, ".obj": obj}[extension].read(path)
    readers = {
        ".ply": ply.read,
        ".pcd": pcd.read,
        ".ptx": ptx.read,
        ".e57": scans.read_e57,
    }
    return readers[extension](path, max_bytes)


def _read_stl(path):
    trimesh = imported("trimesh", path)
    loaded = trimesh.load(path, process=False, skip_materials=True)
    if isinstance(loaded, trimesh.Scene):
        loaded = loaded.to_geometry()
    return Content(
        np.asarray(loaded.vertices, "float64"), np.asarray(loaded.faces)
    )
