#!/usr/bin/env bash
# trimesh 5.2.0 reads relative face indices of an OBJ file against the end of
# the whole file. In the format, "-1" is the vertex declared last when the line
# is read, so a file that is written part by part (vertices, faces, vertices,
# faces) comes back with its last part several times and without the others.
# No warning. Seen: two triangles, at z = 0 and at z = 5, are both at z = 5.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-cache-dir --target "$folder" "trimesh==5.2.0" "numpy==2.4.6"
cd "$folder"
PYTHONPATH="$folder" python3 - <<'PYTHON'
import io

import trimesh

PARTS = """v 0 0 0
v 1 0 0
v 0 1 0
f -3 -2 -1
v 0 0 5
v 1 0 5
v 0 1 5
f -3 -2 -1
"""
mesh = trimesh.load(io.StringIO(PARTS), file_type="obj", process=False)
heights = mesh.triangles[:, :, 2].max(axis=1).tolist()
print(trimesh.__version__, "heights of the two triangles:", heights)
assert heights == [5.0, 5.0], "right would be [0.0, 5.0]: it has changed"
PYTHON
