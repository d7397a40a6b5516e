"""PCD, the point clouds of PCL: ascii, binary and compressed."""

import dataclasses
import os
import struct

import numpy as np

from keras_pointpeft.data.checks import check_size
from keras_pointpeft.data.formats.content import from_columns
from keras_pointpeft.data.formats.content import imported
from keras_pointpeft.data.formats.content import role_of

_KINDS = {"F": "f", "I": "i", "U": "u"}


def read(path, max_bytes):
    """The points of a .pcd file; organised clouds without their gaps.

    A point that PCL marks as invalid, by NaN, is left out and counted.
    """
    with open(path, "rb") as file:
        header = _header(file)
        dtype, roles = _fields(header)
        count = _one(header, "POINTS", None)
        if count is None:
            count = _one(header, "WIDTH") * _one(header, "HEIGHT", 1)
        check_size(path, (count, dtype.itemsize), "uint8", max_bytes)
        encoding = header["DATA"][0].lower()
        if encoding == "ascii":
            columns = _read_text(file, count, dtype, roles)
        elif encoding == "binary":
            rows = np.frombuffer(_exactly(file, count * dtype.itemsize), dtype)
            columns = {role: rows[name] for role, name in roles.items()}
        elif encoding == "binary_compressed":
            columns = _read_compressed(path, file, count, dtype, roles)
        else:
            raise ValueError(f"its DATA is {encoding!r}")
    if "rgb" in columns:
        _split_colors(columns)
    content = from_columns(columns)
    if not any(np.isnan(axis).any() for axis in content.points.T):
        return content
    valid = ~np.isnan(content.points).any(axis=1)
    if not valid.any():
        return content
    gaps = len(valid) - int(valid.sum())
    left_out = (f"{gaps} invalid points (NaN)",)
    return dataclasses.replace(content.take(valid), left_out=left_out)


def _header(file):
    found = {}
    for _ in range(100):
        line = file.readline(4096)
        words = line.decode("ascii", "replace").split()
        if not words or words[0].startswith("#"):
            if not line:
                break
            continue
        found[words[0].upper()] = words[1:]
        if words[0].upper() == "DATA" and len(words) > 1:
            return found
    raise ValueError("it has no header that ends in DATA")


def _one(header, key, default=0):
    return int(header[key][0]) if header.get(key) else default


def _fields(header):
    """The type of a row, and the roles with the names in it."""
    names = header.get("FIELDS") or header.get("COLUMNS") or []
    sizes, kinds = header.get("SIZE", []), header.get("TYPE", [])
    counts = header.get("COUNT", ["1"] * len(names))
    if not names or not len(names) == len(sizes) == len(kinds) == len(counts):
        raise ValueError(
            "FIELDS, SIZE, TYPE and COUNT must name as many columns, not "
            f"{len(names)}, {len(sizes)}, {len(kinds)} and {len(counts)}"
        )
    layout, roles = [], {}
    for i, (name, size, kind, count) in enumerate(
        zip(names, sizes, kinds, counts)
    ):
        if kind not in _KINDS or size not in "1248" or int(count) < 1:
            raise ValueError(f"its field {name!r} is {count} x {kind}{size}")
        layout.append((f"f{i}", f"<{_KINDS[kind]}{size}", (int(count),)))
        role = {"rgb": "rgb", "rgba": "rgb"}.get(name, role_of(name))
        if name.startswith("normal_"):
            role = f"n{name[-1]}"
        if role is not None and int(count) == 1:
            roles.setdefault(role, f"f{i}")
    layout = [(n, t) if c == (1,) else (n, t, c) for n, t, c in layout]
    return np.dtype(layout), roles


def _read_text(file, count, dtype, roles):
    starts, position = {}, 0
    for name in dtype.names:
        starts[name] = position
        position += int(np.prod(dtype[name].shape, dtype=int))
    used = [starts[name] for name in roles.values()]
    rows = np.loadtxt(file, "float64", usecols=used, ndmin=2)
    if len(rows) != count:
        raise ValueError(f"it declares {count} points and holds {len(rows)}")
    columns = {}
    for (role, name), values in zip(roles.items(), rows.T):
        # A packed colour is written as the number of its own type, and a
        # colour's type tells what is bright.
        colors = role in ("rgb", "r", "g", "b")
        columns[role] = values.astype(dtype[name]) if colors else values
    return columns


def _read_compressed(path, file, count, dtype, roles):
    """LZF over the fields one after the other, not over rows."""
    lzf = imported("lzf", path)
    packed, size = struct.unpack("<II", _exactly(file, 8))
    if size != count * dtype.itemsize:
        raise ValueError(
            f"it holds {size} bytes for {count} points of {dtype.itemsize}"
        )
    data = lzf.decompress(_exactly(file, packed), size) if size else b""
    if data is None or len(data) != size:
        raise ValueError("its compressed points are damaged")
    columns, position = {}, 0
    for name in dtype.names:
        for role, field in roles.items():
            if field == name:
                columns[role] = np.frombuffer(
                    data, dtype[name], count, position
                )
        position += dtype[name].itemsize * count
    return columns


def _split_colors(columns):
    packed = np.ascontiguousarray(columns.pop("rgb"))
    if packed.dtype.itemsize != 4:
        packed = packed.astype("uint32")
    packed = packed.view("uint32")
    for shift, name in ((16, "r"), (8, "g"), (0, "b")):
        columns[name] = ((packed >> shift) & 255).astype("uint8")


def _exactly(file, size):
    left = os.fstat(file.fileno()).st_size - file.tell()
    if size > left:
        raise ValueError(f"it ends early, with {left} of {size} bytes")
    return file.read(size)
