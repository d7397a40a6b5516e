#!/usr/bin/env bash
# laspy 2.7.0: setting `header.scales` after the coordinates converts the values
# that lie on the old grid already. The finer grid is in the file, the digits
# are gone. No warning. Seen: a height of 1.2345 m, written with a scale of
# 0.0001 set late, is read as 1.23.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-cache-dir --target "$folder" "laspy==2.7.0" "numpy==2.4.6"
cd "$folder"
PYTHONPATH="$folder" python3 - <<'PYTHON'
import laspy
import numpy as np


def height(early):
    header = laspy.LasHeader(point_format=0)
    header.scales = np.full(3, 1e-4 if early else 1e-2)
    las = laspy.LasData(header)
    las.x, las.y, las.z = np.zeros(1), np.zeros(1), np.array([1.2345])
    if not early:
        las.change_scaling(scales=np.full(3, 1e-4))
    las.write("cloud.las")
    return round(float(laspy.read("cloud.las").z[0]), 6)


early, late = height(True), height(False)
print(laspy.__version__, "set first:", early, "set last:", late)
assert early == 1.2345 and late == 1.23, "it has changed"
PYTHON
