#!/usr/bin/env bash
# pypcd4 1.5.1 splits the lines of an ascii .pcd at every single space. Columns
# that are aligned with several spaces, a space at the end of a line, or tabs
# are a ValueError. The reader of the Point Cloud Library, where the format is
# from, takes any run of spaces and tabs as one. Seen: of five ways to write the
# same two points, only the one with single spaces is read.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-cache-dir --target "$folder" "pypcd4==1.5.1" "numpy==2.4.6"
cd "$folder"
PYTHONPATH="$folder" python3 - <<'PYTHON'
import importlib.metadata
import pathlib

import pypcd4

HEADER = """# .PCD v0.7 - Point Cloud Data file format
VERSION 0.7
FIELDS x y z
SIZE 4 4 4
TYPE F F F
COUNT 1 1 1
WIDTH 2
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS 2
DATA ascii
"""
BODIES = {
    "single spaces": "1 2 3\n10 20 30\n",
    "two spaces": "1  2  3\n10  20  30\n",
    "aligned": " 1  2  3\n10 20 30\n",
    "at the end": "1 2 3 \n10 20 30 \n",
    "tabs": "1\t2\t3\n10\t20\t30\n",
}
print(importlib.metadata.version("pypcd4"))
found = {}
for name, body in BODIES.items():
    pathlib.Path("cloud.pcd").write_text(HEADER + body)
    try:
        points = pypcd4.PointCloud.from_path("cloud.pcd").numpy()
        found[name] = points.tolist() == [[1, 2, 3], [10, 20, 30]]
    except ValueError as error:
        found[name] = False
        print(f"{name}: {error}")
print("read:", found)
assert [name for name in found if found[name]] == ["single spaces"], (
    "right would be all five: it has changed"
)
PYTHON
