"""OBJ: vertices, polygons with absolute or relative corners, points."""

import numpy as np

from keras_pointpeft.data.formats.content import Content
from keras_pointpeft.data.formats.polygons import triangles

# Lines and free forms, which are left out, with what belongs to them.
_LEFT_OUT = (
    "l curv curv2 surf cstype deg bmat step parm trim hole scrv sp end con "
    "ctech stech call csh"
).split()
# Statements that only say how a model looks or is called.
_SILENT = (
    "vt vn vp g o s mg usemtl mtllib bevel c_interp d_interp lod shadow_obj "
    "trace_obj maplib usemap"
).split()


def read(path):
    """The vertices and triangles of an .obj file.

    A negative corner counts back from the last vertex before its face. Free
    form curves and surfaces, and lines, are counted as left out.
    """
    # Points ("p") only name vertices, which are read without a face too.
    vertices, colors, polygons, other = [], [], [], {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in _whole_lines(file):
            word, _, rest = line.partition(" ")
            if word == "v":
                numbers = rest.split()
                if len(numbers) < 3:
                    raise ValueError(f"a vertex {line[:40]!r}")
                vertices.append(numbers[:3])
                if len(numbers) >= 6:
                    colors.append(numbers[3:6])
            elif word == "f":
                polygons.append(_corners(rest, len(vertices)))
            elif word in _LEFT_OUT:
                other[word] = other.get(word, 0) + 1
            elif word not in _SILENT and word != "p":
                raise ValueError(f"a statement {line[:40]!r}")
    points = np.array(vertices, "float64").reshape(-1, 3)
    left_out = tuple(f"{count} {word!r}" for word, count in other.items())
    if left_out and not polygons:
        raise ValueError(f"it has no faces, only {', '.join(left_out)}")
    faces = triangles([p for p in polygons if len(p) > 2], points)
    whole = len(colors) == len(points) > 0
    return Content(
        points,
        faces if polygons else None,
        colors=np.array(colors, "float64") if whole else None,
        left_out=left_out,
    )


def _whole_lines(file):
    """Lines without comments, joined where one ends in a backslash."""
    begun = ""
    for line in file:
        line = begun + line.split("#", 1)[0].strip()
        if line.endswith("\\"):
            begun = line[:-1] + " "
            continue
        begun = ""
        if line:
            yield line.replace("\t", " ")


def _corners(text, count):
    """The corners of a face, counted from 0."""
    corners = []
    for corner in text.split():
        number = int(corner.split("/", 1)[0])
        # From 1 on, or backwards from the last vertex so far.
        corners.append(number - 1 if number > 0 else count + number)
        if not number or corners[-1] < 0:
            raise ValueError(f"a face with the corner {corner!r}")
    return np.array(corners, "int64")
