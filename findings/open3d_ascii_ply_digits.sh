#!/usr/bin/env bash
# Open3D 0.20.0 writes the coordinates of an ascii PLY file with six significant
# digits, under a header that says "double". Map coordinates are then moved onto
# steps of 10 metres. No warning, and both of its writers do it, the one for
# tensors as well as the older one. Its binary PLY is right. Right would be as
# many digits as a double has. Seen: a northing of 5400003.75 comes back as
# 5400000.0, an easting of 400001.5 as 400002.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-cache-dir --target "$folder" "open3d-cpu==0.20.0" "numpy==2.4.6"
cd "$folder"
PYTHONPATH="$folder" python3 - <<'PYTHON'
import pathlib

import numpy as np
import open3d

points = np.array(
    [[400000.25, 5400000.125, 352.5], [400001.5, 5400003.75, 353]]
)
tensor = open3d.t.geometry.PointCloud(open3d.core.Tensor(points))
older = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
found = {}
for name, write, cloud in (
    ("tensor", open3d.t.io.write_point_cloud, tensor),
    ("older", open3d.io.write_point_cloud, older),
):
    for kind in ("ascii", "binary"):
        assert write("cloud.ply", cloud, write_ascii=kind == "ascii")
        if kind == "ascii":
            text = pathlib.Path("cloud.ply").read_text()
            assert "property double x" in text
            print(text.partition("end_header\n")[2].strip())
        again = open3d.t.io.read_point_cloud("cloud.ply").point.positions
        found[name, kind] = again.numpy().tolist()
        print(open3d.__version__, name, kind, found[name, kind])
for name in ("tensor", "older"):
    assert found[name, "binary"] == points.tolist(), "it has changed"
    assert found[name, "ascii"] == [
        [400000, 5400000, 352.5],
        [400002, 5400000, 353],
    ], "right would be the points as given: it has changed"
PYTHON
