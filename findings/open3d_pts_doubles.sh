#!/usr/bin/env bash
# Open3D 0.20.0, `open3d.t.io.write_point_cloud`: in a .pts file the positions
# of a cloud that holds them as float64 are not the ones given. The call returns
# True. No warning. With float32, and with the older
# `open3d.io.write_point_cloud`, whose points are always float64, the same
# points are written right. Seen, on Linux: of (1, 2, 3) and (4, 5, 6) the first
# becomes other numbers, which differ from run to run, and the second loses
# its 4.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-cache-dir --target "$folder" "open3d-cpu==0.20.0" "numpy==2.4.6"
cd "$folder"
PYTHONPATH="$folder" python3 - <<'PYTHON'
import numpy as np
import open3d

points = np.array([[1.0, 2, 3], [4, 5, 6]])


def tensor(kind):
    values = open3d.core.Tensor(points.astype(kind))
    return open3d.t.geometry.PointCloud(values)


older = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
right = {}
for name, write, cloud in (
    ("tensor float32", open3d.t.io.write_point_cloud, tensor("float32")),
    ("tensor float64", open3d.t.io.write_point_cloud, tensor("float64")),
    ("older", open3d.io.write_point_cloud, older),
):
    assert write("cloud.pts", cloud)
    with open("cloud.pts") as file:
        count, *rows = [line.split() for line in file]
    assert count == ["2"] and len(rows) == 2
    print(open3d.__version__, name, "wrote", rows)
    right[name] = np.array_equal(np.array(rows, float), points)
print("as given:", right)
assert right == {
    "tensor float32": True,
    "tensor float64": False,
    "older": True,
}, "right would be all as given: it has changed"
PYTHON
