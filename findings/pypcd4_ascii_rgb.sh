#!/usr/bin/env bash
# pypcd4 1.5.1 writes the floats of an ascii .pcd with ten digits after the
# point. A packed colour is the bits of 0x00RRGGBB as a float, a number below
# 1e-37, so every colour becomes 0.0000000000, black. No warning. Right would be
# nine significant digits, which hold every float: its own reader takes the
# colours from such a file. Its binary files are right. Seen: (255, 128, 0)
# comes back as (0, 0, 0).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-cache-dir --target "$folder" "pypcd4==1.5.1" "numpy==2.4.6"
cd "$folder"
PYTHONPATH="$folder" python3 - <<'PYTHON'
import importlib.metadata
import pathlib

import numpy as np
import pypcd4

colors = np.array([[255, 128, 0], [0, 64, 200]], "uint8")
packed = pypcd4.PointCloud.encode_rgb(colors)
points = np.array([[1, 2, 3], [10, 20, 30]], "float32")
given = np.column_stack([points, packed])
cloud = pypcd4.PointCloud.from_xyzrgb_points(given)


def read():
    again = pypcd4.PointCloud.from_path("cloud.pcd").pc_data
    assert again["z"].tolist() == [3, 30]
    return pypcd4.PointCloud.decode_rgb(again["rgb"]).tolist()


cloud.save("cloud.pcd", encoding=pypcd4.Encoding.BINARY)
binary = read()
cloud.save("cloud.pcd", encoding=pypcd4.Encoding.ASCII)
ascii_colors = read()
header, _, rows = pathlib.Path("cloud.pcd").read_text().partition("ascii\n")
digits = "\n".join(" ".join(f"{v:.9g}" for v in row) for row in given)
pathlib.Path("cloud.pcd").write_text(f"{header}ascii\n{digits}\n")
nine = read()
print(rows + digits)
version = importlib.metadata.version("pypcd4")
print(version, "binary:", binary, "ascii:", ascii_colors, "nine digits:", nine)
assert binary == nine == colors.tolist(), "it has changed"
assert ascii_colors == [[0, 0, 0]] * 2, (
    "right would be the colours as given: it has changed"
)
PYTHON
