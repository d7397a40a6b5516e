#!/usr/bin/env bash
# plyfile 1.1.5, asked for a big-endian file, writes the scalars of an element
# that has a list property as well with the byte order of the machine. Only the
# list is swapped. The header says big-endian, so every reader, its own as well,
# reads other numbers. No warning. Elements without a list are right. Seen, on a
# little-endian machine: the label 7 beside a face's indices comes back as
# 117440512, from plyfile and from trimesh.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-cache-dir --target "$folder" "plyfile==1.1.5" "trimesh==5.2.0" "numpy==2.4.6"
cd "$folder"
PYTHONPATH="$folder" python3 - <<'PYTHON'
import importlib.metadata

import numpy as np
import plyfile
import trimesh

points = np.array(
    [(0, 0, 0), (1, 0, 0), (0, 1, 0)],
    [("x", "f4"), ("y", "f4"), ("z", "f4")],
)
faces = np.array(
    [((0, 1, 2), 7)], [("vertex_indices", "i4", (3,)), ("label", "i4")]
)
elements = [
    plyfile.PlyElement.describe(points, "vertex"),
    plyfile.PlyElement.describe(faces, "face"),
]
labels = {}
for order, name in (("<", "little"), (">", "big")):
    plyfile.PlyData(elements, byte_order=order).write("part.ply")
    again = plyfile.PlyData.read("part.ply")
    other = trimesh.load("part.ply", process=False)
    # What has no scalar beside a list is right either way.
    assert again["vertex"]["x"].tolist() == [0, 1, 0]
    assert again["face"]["vertex_indices"][0].tolist() == [0, 1, 2]
    raw = other.metadata["_ply_raw"]["face"]["data"]["label"]
    labels[name] = [int(again["face"]["label"][0]), int(raw[0])]
version = importlib.metadata.version("plyfile")
print(version, "label 7, read by plyfile and trimesh:", labels)
assert labels["little"] == [7, 7], "it has changed"
assert labels["big"] == [117440512] * 2, "right would be 7: it has changed"
PYTHON
