#!/usr/bin/env bash
# pymeshlab 2025.7 writes an OFF file with normals and colours ("NCOFF") with
# the colours first. The format has the normals first, and so has its own
# reader: what it saves it reads back wrong. No warning. Seen: a triangle with
# the normal (0, 0, 1) and a green corner, read right from a file, saved and read
# again, has the normal (0, 255, 0) in that corner, which is now red.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-cache-dir --target "$folder" "pymeshlab==2025.7" "numpy==2.4.6"
cd "$folder"
PYTHONPATH="$folder" python3 - <<'PYTHON'
import importlib.metadata
import pathlib

import pymeshlab

# Positions, normals, colours: the order that the format names.
TRIANGLE = """NCOFF
3 1 0
0 0 0 0 0 1 255 0 0 255
1 0 0 0 0 1 0 255 0 255
0 1 0 0 0 1 0 0 255 255
3 0 1 2
"""


def corner(name):
    meshes = pymeshlab.MeshSet()
    meshes.load_new_mesh(name)
    mesh = meshes.current_mesh()
    normal = mesh.vertex_normal_matrix()[1].tolist()
    return meshes, normal, mesh.vertex_color_matrix()[1, :3].tolist()


pathlib.Path("given.off").write_text(TRIANGLE)
meshes, normal, colour = corner("given.off")
meshes.save_current_mesh(
    "saved.off", save_vertex_normal=True, save_vertex_color=True
)
print(pathlib.Path("saved.off").read_text())
_, after, turned = corner("saved.off")
version = importlib.metadata.version("pymeshlab")
print(version, "given:", normal, colour, "saved and read:", after, turned)
assert normal == [0, 0, 1] and colour == [0, 1, 0], "it has changed"
assert after == [0, 255, 0] and turned == [1, 0, 0], (
    "right would be as given: it has changed"
)
PYTHON
