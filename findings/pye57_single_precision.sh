#!/usr/bin/env bash
# pye57 writes coordinates that are given as float64 with single precision, and
# reads them back as float64. At map coordinates that is a grid of a quarter to
# half a metre. No warning; the E57 format itself has doubles. Seen: a northing
# of 5400000.123 comes back as 5400000.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-cache-dir --target "$folder" "pye57==0.4.19" "numpy==2.4.6"
cd "$folder"
PYTHONPATH="$folder" python3 - <<'PYTHON'
import importlib.metadata

import numpy as np
import pye57

north = np.array([5400000.123, 5400001.377])
with pye57.E57("scan.e57", mode="w") as file:
    file.write_scan_raw(
        {
            "cartesianX": np.array([400000.25, 400001.25]),
            "cartesianY": north,
            "cartesianZ": np.array([352.1, 352.2]),
        }
    )
with pye57.E57("scan.e57") as file:
    again = file.read_scan_raw(0)["cartesianY"]
error = float(np.abs(again - north).max())
print(importlib.metadata.version("pye57"), again.dtype, "error:", error)
assert again.dtype == np.float64 and 0.1 < error < 0.5, "it has changed"
PYTHON
