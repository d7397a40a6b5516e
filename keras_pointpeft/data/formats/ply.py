"""PLY: clouds, meshes of any polygons, and strips of triangles."""

import dataclasses
import os
import warnings

import numpy as np

from keras_pointpeft.data.checks import MAX_BYTES
from keras_pointpeft.data.checks import check_size
from keras_pointpeft.data.formats.content import from_columns
from keras_pointpeft.data.formats.content import role_of
from keras_pointpeft.data.formats.polygons import strip_triangles
from keras_pointpeft.data.formats.polygons import triangles

_CORNERS = ("vertex_indices", "vertex_index")
# Elements that hold no geometry.
_OTHER = ("camera", "material", "multi_texture_vertex", "multi_texture_face")
_KINDS = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2",
    "int": "i4", "uint": "u4", "float": "f4", "double": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2",
    "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8",
    # Not in the format's description, but written by some.
    "int64": "i8", "uint64": "u8",
}  # fmt: skip
_NAMES = {kind: name for name, kind in reversed(_KINDS.items())}
_ORDERS = {
    b"ascii": "<",
    b"binary_little_endian": "<",
    b"binary_big_endian": ">",
}


def read(path, max_bytes):
    """The vertices and triangles of a PLY file.

    Args:
        path: string.
        max_bytes: int.

    Returns:
        `Content`. A vertex property such as "label" or "scalar_Class" gives
        the labels.
    """
    elements = read_elements(path, max_bytes)
    found = {name: values for name, _, _, values in elements}
    counts = {name: count for name, count, *_ in elements}
    if "vertex" not in found:
        raise ValueError(f"it has no vertices, only {sorted(found)}")
    columns = {}
    for name, kind, _ in next(e for e in elements if e[0] == "vertex")[2]:
        role, values = role_of(name), found["vertex"][name]
        if role is None or getattr(values, "ndim", 0) != 1:
            continue
        if kind == "u1":  # of text, too: it tells what is bright
            values = values.astype("uint8", copy=False)
        columns.setdefault(role, values)
    content = from_columns(columns)
    faces, points = [], content.points
    if counts.get("face"):
        faces.append(triangles(_polygons("face", found["face"]), points))
    if counts.get("tristrips"):
        for strip in _polygons("tristrips", found["tristrips"]):
            # -1 ends one strip, another one follows.
            strip = np.asarray(strip, "int64")
            for part in np.split(strip, np.flatnonzero(strip < 0)):
                part = strip_triangles(part[part >= 0])
                faces.append(triangles(part, points))
    known = ("vertex", "face", "tristrips", *_OTHER)
    left_out = [
        f"{size} {name}"
        for name, size in counts.items()
        if name not in known and size
    ]
    return dataclasses.replace(
        content,
        faces=np.concatenate(faces) if faces else None,
        left_out=tuple(left_out),
    )


def read_elements(path, max_bytes=MAX_BYTES):
    """All that a PLY file holds.

    Args:
        path: string.
        max_bytes: int.

    Returns:
        list of (name, count, properties, values): properties are (name, type,
        type of a list's length or None), values a dict from their names to
        arrays, of lists of different lengths to lists of arrays.
    """
    with open(path, "rb") as file:
        form, elements = _header(path, file, max_bytes)
        body = _Body(file.read(), _ORDERS[form], form == b"ascii")
    return [(*element, body.take(*element[1:])) for element in elements]


def write_elements(path, elements):
    """Writes what `read_elements` gives as a binary PLY file."""
    lines = ["ply", "format binary_little_endian 1.0"]
    for name, count, properties, _ in elements:
        lines.append(f"element {name} {count}")
        for item, kind, length in properties:
            kinds = [_NAMES[kind]]
            if length is not None:
                kinds = ["list", _NAMES[length], *kinds]
            lines.append(f"property {' '.join(kinds)} {item}")
    with open(path, "wb") as file:
        file.write("\n".join([*lines, "end_header", ""]).encode())
        for _, count, properties, values in elements:
            file.write(_packed(count, properties, values))


def _packed(count, properties, values):
    """The rows of one element as bytes."""
    columns = []
    for name, kind, length in properties:
        column = values[name]
        if length is None or isinstance(column, np.ndarray):
            column = np.asarray(column).astype(f"<{kind}")
        if length is not None and isinstance(column, np.ndarray):
            size = column.shape[1] if column.ndim == 2 else 0
            columns.append(np.full(count, size, f"<{length}"))
        columns.append(column)
    if all(isinstance(column, np.ndarray) for column in columns):
        parts = [(f"f{i}", c.dtype, c.shape[1:]) for i, c in enumerate(columns)]
        rows = np.empty(count, np.dtype(parts))
        for (name, *_), column in zip(parts, columns):
            rows[name] = column
        return rows.tobytes()
    found = []
    for row in range(count):
        for name, kind, length in properties:
            entry = np.asarray(values[name][row]).astype(f"<{kind}")
            if length is not None:
                found.append(np.array(len(entry), f"<{length}").tobytes())
            found.append(entry.tobytes())
    return b"".join(found)


class _Body:
    """The elements behind the header, one after the other.

    Args:
        data: bytes.
        order: "<" or ">".
        text: bool. The numbers are then taken as float64, all of them.
    """

    def __init__(self, data, order, text):
        self._order, self._text, self._at = order, text, 0
        if text:
            with warnings.catch_warnings():
                # What is no number ends it with a warning alone.
                warnings.simplefilter("error")
                try:
                    numbers = np.fromstring(data, "<f8", sep=" ")
                except DeprecationWarning as error:
                    raise ValueError(f"words among numbers: {error}") from error
            data = numbers.tobytes()
        self._data = data

    def take(self, count, properties):
        """The next element: a dict from names to arrays, or lists of them."""
        if not count or not properties:
            return {name: np.empty(0) for name, *_ in properties}
        begin, sizes = self._at, []
        for _, kind, length in properties:
            sizes.append(None if length is None else self._number(length))
            self._many(kind, 1 if length is None else sizes[-1])
        self._at = begin
        # In one go, if all rows have lists of the first one's lengths.
        row = []
        for i, (size, (_, kind, length)) in enumerate(zip(sizes, properties)):
            if length is not None:
                row.append((f"length{i}", self._kind(length)))
            shape = () if size is None else (size,)
            row.append((f"value{i}", self._kind(kind), shape))
        row = np.dtype(row)
        end = begin + count * row.itemsize
        whole = [i for i, size in enumerate(sizes) if size is not None]
        if end <= len(self._data):
            rows = np.frombuffer(self._data, row, count, begin)
            if all((rows[f"length{i}"] == sizes[i]).all() for i in whole):
                self._at = end
                return {
                    name: rows[f"value{i}"]
                    for i, (name, *_) in enumerate(properties)
                }
        if not whole:
            raise self._short()
        return self._one_by_one(count, properties)

    def _one_by_one(self, count, properties):
        found = {name: [] for name, *_ in properties}
        for _ in range(count):
            for name, kind, length in properties:
                if length is None:
                    found[name].append(self._many(kind, 1)[0])
                else:
                    size = self._number(length)
                    found[name].append(self._many(kind, size))
        return {
            name: np.array(found[name]) if length is None else found[name]
            for name, _, length in properties
        }

    def _number(self, kind):
        return int(self._many(kind, 1)[0])

    def _many(self, kind, count):
        kind = np.dtype(self._kind(kind))
        end = self._at + count * kind.itemsize
        if count < 0 or end > len(self._data):
            raise self._short()
        found = np.frombuffer(self._data, kind, count, self._at)
        self._at = end
        return found

    def _kind(self, kind):
        return "<f8" if self._text else self._order + kind

    def _short(self):
        return ValueError(f"it ends early, after {len(self._data)} bytes")


def _polygons(name, found):
    names = [corners for corners in _CORNERS if corners in found]
    if not names:
        raise ValueError(f"its {name} name no vertices")
    return found[names[0]]


def _header(path, file, max_bytes):
    """The format, and elements as (name, count, properties)."""
    if file.readline(16).strip() != b"ply":
        raise ValueError('it does not begin with "ply"')
    form, elements = None, []
    size = os.fstat(file.fileno()).st_size
    for _ in range(1000):
        words = file.readline(1000).split()
        if words[:1] == [b"format"] and len(words) > 1:
            form = words[1]
        elif words[:1] == [b"element"] and len(words) == 3:
            name, count = words[1].decode(), int(words[2])
            check_size(path, (count, 3), "float32", max_bytes)
            if count > size:
                raise ValueError(
                    f"it declares {count} {name}, more than its {size} bytes "
                    "can hold"
                )
            elements.append((name, count, []))
        elif words[:1] == [b"property"] and elements:
            *kinds, name = (word.decode() for word in words[1:])
            is_list = kinds[:1] == ["list"]
            unknown = set(kinds[is_list:]) - set(_KINDS)
            if unknown:
                raise ValueError(
                    f"its property {name!r} is of the type {unknown.pop()!r}"
                )
            kinds = [_KINDS[kind] for kind in kinds[is_list:]]
            length = kinds.pop(0) if is_list else None
            elements[-1][2].append((name, *kinds, length))
        elif words[:1] == [b"end_header"]:
            if form not in _ORDERS:
                raise ValueError(f"its format is {form}")
            return form, elements
    raise ValueError("its header has no end")
