"""OFF: meshes, read by their tokens."""

import re

import numpy as np

from keras_pointpeft.data.formats.content import Content
from keras_pointpeft.data.formats.polygons import triangles

# Behind x, y, z may come colours, normals and texture coordinates. Programs
# differ in the order of the letters.
_HEADER = re.compile(r"\s*((?:ST|C|N|4|n)*)OFF")


def read(path):
    """The vertices and triangles of an .off file.

    Numbers are taken one after the other, whatever stands on a line; only
    where faces have colours, a line must end a face.
    """
    with open(path, encoding="utf-8", errors="replace") as file:
        text = file.read()
    if "#" in text:
        text = re.sub(r"#[^\n]*", "", text)
    header = _HEADER.match(text)
    if header is None:
        raise ValueError('it does not begin with "OFF"')
    letters = header.group(1)
    text = text[header.end() :]
    if "4" in letters or "n" in letters:
        raise ValueError("it has another number of dimensions than 3")
    if text.lstrip().startswith("BINARY"):
        raise ValueError("it is binary, which is not read")
    sizes = text.split(maxsplit=3)
    counts = [int(size) for size in sizes[:2]]
    if len(sizes) < 3 or min(counts) < 0:
        raise ValueError(f"it must declare three sizes, not {sizes[:3]}")
    body = sizes[3] if len(sizes) > 3 else ""
    num_points, num_faces = counts
    width = 3 + 3 * ("N" in letters) + 2 * ("ST" in letters)
    if "C" in letters:
        # Written with and without opacity.
        first = body.split("\n", 1)[0].split()
        width += 3 if len(first) == width + 3 else 4
    if num_points * width > len(body):
        raise ValueError(
            f"it declares {num_points} vertices, more than it can hold"
        )
    vertices, rest = _numbers(body, num_points * width)
    points = vertices.reshape(num_points, width)[:, :3].copy()
    faces = triangles(_faces(rest, num_faces), points)
    return Content(points, faces if num_faces else None)


def _numbers(text, count):
    """The first numbers, and the text behind them."""
    pieces = text.split(maxsplit=count)
    if len(pieces) < count:
        raise ValueError(f"it ends after {len(pieces)} of {count} numbers")
    rest = pieces[count] if len(pieces) > count else ""
    return np.array(pieces[:count], "float64"), rest


def _faces(text, count):
    if not count:
        return np.empty((0, 3), "int64")
    tokens = text.split()
    if len(tokens) == 4 * count:
        table = np.array(tokens, "float64").reshape(-1, 4)
        if (table[:, 0] == 3).all():
            return table[:, 1:].astype("int64")
    plain = _walk(tokens, count)
    if plain is not None:
        return plain
    lines = [line.split() for line in text.split("\n") if line.strip()]
    faces = [
        [int(t) for t in row[1 : 1 + int(row[0])]] for row in lines[:count]
    ]
    short = any(len(f) != int(row[0]) for f, row in zip(faces, lines))
    if len(faces) < count or short:
        raise ValueError(f"it ends within its {count} faces")
    return [np.array(face, "int64") for face in faces if len(face) > 2]


def _walk(tokens, count):
    """Faces without colours, one after the other; None if that fails."""
    faces, position = [], 0
    for _ in range(count):
        if position >= len(tokens) or not tokens[position].isdigit():
            return None
        end = position + 1 + int(tokens[position])
        corners = tokens[position + 1 : end]
        if end > len(tokens) or not all(c.isdigit() for c in corners):
            return None
        if len(corners) > 2:
            faces.append(np.array(corners, "int64"))
        position = end
    return faces if position == len(tokens) else None
