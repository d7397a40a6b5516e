"""PLY: clouds, meshes of any polygons, and strips of triangles."""

import os

import numpy as np

from keras_pointpeft.data.checks import check_size
from keras_pointpeft.data.formats.content import from_columns
from keras_pointpeft.data.formats.content import imported
from keras_pointpeft.data.formats.content import role_of
from keras_pointpeft.data.formats.content import strip_triangles
from keras_pointpeft.data.formats.content import triangles

_CORNERS = ("vertex_indices", "vertex_index")
# Elements that hold no geometry.
_OTHER = ("camera", "material", "multi_texture_vertex", "multi_texture_face")


def read(path, max_bytes):
    """The vertices and triangles of a PLY file.

    Args:
        path: string.
        max_bytes: int.

    Returns:
        `Content`. A vertex property such as "label" or "scalar_Class" gives
        the labels.
    """
    plyfile = imported("plyfile", path)
    _check_header(path, max_bytes)
    elements = {e.name: e for e in _opened(plyfile, path).elements}
    if "vertex" not in elements:
        raise ValueError(f"it has no vertices, only {sorted(elements)}")
    vertex = elements["vertex"]
    columns = {}
    for item in vertex.properties:
        role = role_of(item.name)
        if role is not None and not isinstance(item, plyfile.PlyListProperty):
            columns.setdefault(role, np.asarray(vertex[item.name]))
    count = vertex.count
    faces = []
    if "face" in elements and elements["face"].count:
        faces.append(triangles(_polygons(elements["face"]), count))
    if "tristrips" in elements:
        for strip in _polygons(elements["tristrips"]):
            # -1 ends one strip, another one follows.
            strip = np.asarray(strip, "int64")
            for part in np.split(strip, np.flatnonzero(strip < 0)):
                part = strip_triangles(part[part >= 0])
                faces.append(triangles(part, count))
    known = {"vertex", "face", "tristrips", *_OTHER}
    left_out = [
        f"{element.count} {name}"
        for name, element in elements.items()
        if name not in known and element.count
    ]
    faces = np.concatenate(faces) if faces else None
    return from_columns(columns, faces, left_out)


def _opened(plyfile, path):
    """Faces are read in one go where all are triangles, else one by one."""
    lengths = {"face": {name: 3 for name in _CORNERS}}
    try:
        return plyfile.PlyData.read(path, mmap="c", known_list_len=lengths)
    except (plyfile.PlyParseError, ValueError, KeyError):
        return plyfile.PlyData.read(path, mmap="c")


def _polygons(element):
    names = [p.name for p in element.properties if p.name in _CORNERS]
    if not names:
        raise ValueError(f"its {element.name} name no vertices")
    rows = element[names[0]]
    if isinstance(rows, np.ndarray) and rows.ndim == 2:
        return rows
    sizes = {len(row) for row in rows}
    return np.stack(list(rows)) if len(sizes) == 1 else list(rows)


def _check_header(path, max_bytes):
    """No element can have more entries than the file has bytes."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        if file.readline(16).strip() != b"ply":
            raise ValueError('it does not begin with "ply"')
        for _ in range(1000):
            words = file.readline(1000).split()
            if words[:1] == [b"end_header"]:
                return
            if words[:1] == [b"element"] and len(words) == 3:
                count = int(words[2])
                check_size(path, (count, 3), "float32", max_bytes)
                if count > size:
                    raise ValueError(
                        f"it declares {count} {words[1].decode()}, more than "
                        f"its {size} bytes can hold"
                    )
    raise ValueError("its header has no end")
