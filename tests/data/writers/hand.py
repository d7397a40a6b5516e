"""What no library at hand writes."""

import pathlib
import struct

import numpy as np
from writers.contents import CLOUD
from writers.contents import CORNER
from writers.contents import LABELS
from writers.contents import POLYGONS
from writers.contents import TRIANGLES
from writers.contents import VERTICES
from writers.contents import cloud
from writers.contents import mesh


def by_hand():
    """What no library at hand writes: text of the formats' descriptions."""
    lines = ["OFF", "14 10 0  # a comment"]
    numbers = [f"{x:g}" for x in VERTICES.ravel()]
    lines += [" ".join(numbers[i : i + 6]) for i in range(0, 42, 6)]
    lines += [f"{len(p)} {' '.join(map(str, p))}" for p in POLYGONS]
    path = mesh("two_on_a_line.off", "by hand")
    pathlib.Path(path).write_text("\n".join(lines) + "\n")
    lines[0:2] = ["OFF14 10 0"]
    path = mesh("glued.off", "by hand")
    pathlib.Path(path).write_text("\n".join(lines) + "\n")
    lines = ["COFF", "14 10 0"]
    lines += ["%g %g %g 255 0 0 255" % tuple(v) for v in VERTICES]
    lines += [f"{len(p)} {' '.join(map(str, p))} 9 9 9" for p in POLYGONS]
    path = mesh("colours.off", "by hand")
    pathlib.Path(path).write_text("\n".join(lines) + "\n")
    text = ""
    for polygon in POLYGONS:
        text += "".join("v %g %g %g\n" % tuple(VERTICES[i]) for i in polygon)
        text += "f " + " ".join(str(-n) for n in range(len(polygon), 0, -1))
        text += "\n"
    path = mesh("relative.obj", "by hand")
    pathlib.Path(path).write_text("# part by part\n" + text)
    far = "".join("v %.3f %.3f %.3f\n" % tuple(v + CORNER) for v in VERTICES)
    far += "".join("f %d//1 %d//1 %d//1\n" % tuple(t + 1) for t in TRIANGLES)
    path = mesh("map.obj", "by hand", VERTICES + CORNER)
    pathlib.Path(path).write_text(far)
    header = (
        "ply\nformat binary_little_endian 1.0\nelement vertex 14\n"
        "property double x\nproperty double y\nproperty double z\n"
        "property list uchar int near\nelement face 10\n"
        "property list uchar int vertex_indices\nend_header\n"
    )
    body = b""
    for number, vertex in enumerate(VERTICES + CORNER):
        near = range(number % 4)
        body += struct.pack(f"<3dB{len(near)}i", *vertex, len(near), *near)
    for polygon in POLYGONS:
        body += struct.pack(f"<B{len(polygon)}i", len(polygon), *polygon)
    path = mesh("lists.ply", "by hand", VERTICES + CORNER)
    pathlib.Path(path).write_bytes(header.encode() + body)
    strip = [4, 5, 8, 6, -1, 9, 10, 13, 11]
    rows = np.array([(4, 5, 8), (5, 8, 6), (9, 10, 13), (10, 13, 11)])
    text = (
        "ply\nformat ascii 1.0\nelement vertex 14\nproperty float x\n"
        "property float y\nproperty float z\nelement tristrips 1\n"
        "property list int int vertex_indices\nend_header\n"
    )
    text += "".join("%g %g %g\n" % tuple(v) for v in VERTICES)
    text += f"{len(strip)} {' '.join(map(str, strip))}\n"
    path = mesh("strips.ply", "by hand", faces=rows)
    pathlib.Path(path).write_text(text)
    text = (
        "ply\nformat ascii 1.0\nelement vertex 40\nproperty double x\n"
        "property double y\nproperty double z\n"
        "property int scalar_Classification\nend_header\n"
    )
    text += "".join("%.3f %.3f %.3f %d\n" % (*p, n)
                    for p, n in zip(CLOUD + CORNER, LABELS))  # fmt: skip
    path = cloud(
        "classes.ply", "by hand", CLOUD + CORNER, labels=LABELS.tolist()
    )
    pathlib.Path(path).write_text(text)
