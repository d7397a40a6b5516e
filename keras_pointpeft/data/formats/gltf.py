"""glTF 2.0 (.glb, .gltf): the scene's triangles or points, in place.

[The specification](https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html)
is followed where a scene's geometry depends on it: the transforms of nodes,
quantised (`KHR_mesh_quantization`) and sparse accessors, strips and fans.
"""

import base64
import json
import os
import struct
import urllib.parse

import numpy as np

from keras_pointpeft.data.checks import check_size
from keras_pointpeft.data.formats.content import Content
from keras_pointpeft.data.formats.polygons import strip_triangles
from keras_pointpeft.data.formats.polygons import triangles

_TYPES = {
    5120: "<i1",
    5121: "<u1",
    5122: "<i2",
    5123: "<u2",
    5125: "<u4",
    5126: "<f4",
}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_POINTS, _TRIANGLES, _STRIP, _FAN = 0, 4, 5, 6
# Extensions that change nothing of the geometry, by the names' beginnings.
_HARMLESS = (
    "KHR_mesh_quantization",
    "KHR_materials_",
    "KHR_texture_",
    "KHR_lights_",
    "EXT_texture_",
    "EXT_lights_",
    "KHR_xmp",
)


def read(path, max_bytes):
    """The triangles or the points of the default scene.

    Args:
        path: string.
        max_bytes: int.

    Returns:
        `Content`, in the coordinates of the scene.

    Raises:
        ValueError: points beside triangles, geometry that is compressed, or
            nothing to read.
    """
    document, blob = _document(path)
    unknown = [
        name
        for name in document.get("extensionsRequired", [])
        if not name.startswith(_HARMLESS)
    ]
    if unknown:
        raise ValueError(f"it needs the extensions {unknown}, not read here")
    accessors = _Accessors(path, document, blob, max_bytes)
    clouds, meshes, left_out = [], [], {}
    if len(document.get("scenes", [])) > 1:
        left_out["other scenes"] = len(document["scenes"]) - 1
    for node, matrix in _nodes(document):
        if "mesh" not in node:
            continue
        if "skin" in node:
            left_out["the poses of a skin"] = 1
        for name in node.get("extensions", ()):
            # Copies of it, or whether it is seen.
            if not name.startswith(_HARMLESS):
                left_out[name] = left_out.get(name, 0) + 1
        mesh = document["meshes"][node["mesh"]]
        weights = node.get("weights", mesh.get("weights", ()))
        for primitive in mesh["primitives"]:
            mode = primitive.get("mode", _TRIANGLES)
            if mode not in (_POINTS, _TRIANGLES, _STRIP, _FAN):
                left_out["sets of lines"] = left_out.get("sets of lines", 0) + 1
                continue
            points = _points(accessors, primitive, weights)
            placed = points @ matrix[:3, :3].T + matrix[:3, 3]
            if mode == _POINTS:
                clouds.append(placed)
            else:
                faces = _faces(accessors, primitive, mode, points)
                meshes.append((placed, faces))
    if clouds and meshes:
        count = sum(len(cloud) for cloud in clouds)
        raise ValueError(
            f"it holds {count} points beside {len(meshes)} meshes; only one "
            "kind can be read"
        )
    left_out = tuple(f"{count} {what}" for what, count in left_out.items())
    if clouds:
        return Content(np.concatenate(clouds), left_out=left_out)
    if not meshes:
        raise ValueError(f"its scene has no triangles and no points {left_out}")
    starts = np.cumsum([0, *(len(points) for points, _ in meshes)])
    return Content(
        np.concatenate([points for points, _ in meshes]),
        np.concatenate([f + s for (_, f), s in zip(meshes, starts)]),
        left_out=left_out,
    )


class _Accessors:
    """Arrays of a document, decoded as float64 or indices."""

    def __init__(self, path, document, blob, max_bytes):
        self.path, self.document = path, document
        self.max_bytes = max_bytes
        self.buffers = [
            _buffer(path, entry, blob if number == 0 else None)
            for number, entry in enumerate(document.get("buffers", []))
        ]

    def read(self, index):
        """An accessor, `(count, width)`; normalised integers as fractions."""
        entry = self.document["accessors"][index]
        dtype = np.dtype(_TYPES[entry["componentType"]])
        width, count = _WIDTHS[entry["type"]], entry["count"]
        check_size(self.path, (count, width), "float64", self.max_bytes)
        values = np.zeros((count, width), dtype)
        if "bufferView" in entry:
            offset = entry.get("byteOffset", 0)
            values = self._rows(
                entry["bufferView"], offset, count, width, dtype
            )
        if "sparse" in entry:
            values = self._with_sparse(values.copy(), entry["sparse"], dtype)
        if dtype.kind == "f" or not entry.get("normalized"):
            return values.astype("float64")
        fraction = values / float(np.iinfo(dtype).max)
        return np.maximum(fraction, -1.0)

    def _with_sparse(self, values, sparse, dtype):
        count, where = sparse["count"], sparse["indices"]
        kind = np.dtype(_TYPES[where["componentType"]])
        rows = self._rows(
            where["bufferView"], where.get("byteOffset", 0), count, 1, kind
        )[:, 0]
        what = sparse["values"]
        if count and rows.max() >= len(values):
            raise ValueError(f"a sparse entry {rows.max()} of {len(values)}")
        values[rows] = self._rows(
            what["bufferView"],
            what.get("byteOffset", 0),
            count,
            values.shape[1],
            dtype,
        )
        return values

    def _rows(self, view, offset, count, width, dtype):
        view = self.document["bufferViews"][view]
        size = width * dtype.itemsize
        stride = view.get("byteStride", 0) or size
        begin = view.get("byteOffset", 0) + offset
        needed = begin + (stride * (count - 1) + size if count else 0)
        buffer = self.buffers[view["buffer"]]
        end = view.get("byteOffset", 0) + view["byteLength"]
        if stride < size or needed > min(len(buffer), end):
            raise ValueError(
                f"an array of {needed} bytes, more than its buffer holds"
            )
        return np.ndarray(
            (count, width), dtype, buffer, begin, (stride, dtype.itemsize)
        )


def _points(accessors, primitive, weights):
    """The vertices, moved by the targets as much as these weigh."""
    points = accessors.read(primitive["attributes"]["POSITION"])
    for target, weight in zip(primitive.get("targets", []), weights):
        if weight and "POSITION" in target:
            points = points + weight * accessors.read(target["POSITION"])
    return points


def _faces(accessors, primitive, mode, points):
    if "indices" in primitive:
        order = accessors.read(primitive["indices"])[:, 0].astype("int64")
    else:
        order = np.arange(len(points))
    if mode == _TRIANGLES:
        if len(order) % 3:
            raise ValueError(f"triangles of {len(order)} corners")
        return triangles(order.reshape(-1, 3), points)
    if mode == _STRIP:
        return triangles(strip_triangles(order), points)
    first = np.repeat(order[:1], max(len(order) - 2, 0))
    return triangles(np.c_[first, order[1:-1], order[2:]], points)


def _nodes(document):
    """The nodes of the default scene, each with its transform."""
    scenes = document.get("scenes", [])
    if not scenes:
        raise ValueError("it has no scene")
    nodes = document.get("nodes", [])
    scene = scenes[document.get("scene", 0)]
    open_nodes = [(number, np.eye(4)) for number in scene.get("nodes", [])]
    seen = 0
    while open_nodes:
        number, parent = open_nodes.pop(0)
        node = nodes[number]
        matrix = parent @ _matrix(node)
        seen += 1
        if seen > len(nodes):
            raise ValueError("its nodes form a circle")
        open_nodes += [(child, matrix) for child in node.get("children", [])]
        yield node, matrix


def _matrix(node):
    if "matrix" in node:
        # Column by column.
        return np.array(node["matrix"], "float64").reshape(4, 4).T
    x, y, z, w = node.get("rotation", (0.0, 0.0, 0.0, 1.0))
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * node.get("scale", (1.0, 1.0, 1.0))
    matrix[:3, 3] = node.get("translation", (0.0, 0.0, 0.0))
    return matrix


def _document(path):
    """The JSON of a file, and the binary chunk of a .glb."""
    with open(path, "rb") as file:
        content = file.read()
    if not content.startswith(b"glTF"):
        return json.loads(content), None
    _, version, length = struct.unpack_from("<4sII", content)
    if version != 2 or length > len(content):
        raise ValueError(
            f"version {version}, {len(content)} of {length} bytes are there"
        )
    chunks, position = {}, 12
    while position + 8 <= length:
        size, kind = struct.unpack_from("<I4s", content, position)
        position += 8
        if position + size > length:
            raise ValueError("it ends within a chunk")
        chunks.setdefault(kind, content[position : position + size])
        position += size
    if b"JSON" not in chunks:
        raise ValueError("it has no JSON")
    return json.loads(chunks[b"JSON"]), chunks.get(b"BIN\0")


def _buffer(path, entry, blob):
    uri = entry.get("uri")
    if uri is None:
        data = b"" if blob is None else blob
    elif uri.startswith("data:"):
        data = base64.b64decode(uri.partition(",")[2], validate=True)
    else:
        # Only what lies beside the file itself.
        uri = urllib.parse.unquote(uri)
        if os.path.basename(uri) != uri or uri in ("", ".", ".."):
            raise ValueError(f"its buffer {uri!r} does not lie beside it")
        with open(os.path.join(os.path.dirname(path), uri), "rb") as file:
            data = file.read()
    if len(data) < entry["byteLength"]:
        raise ValueError(
            f"a buffer with {len(data)} of {entry['byteLength']} bytes"
        )
    return data
