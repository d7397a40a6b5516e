#!/usr/bin/env bash
# trimesh 5.2.0 writes attributes of vertices and faces that are int64, which is
# what numpy makes of a list of labels, as "property int64" into a PLY file. The
# format has integers of 8, 16 and 32 bits only, so other readers refuse the
# whole file. No warning. Right would be int, where the values fit, or an error.
# Seen: plyfile reads a triangle with labels in int32, and not with the same
# labels in int64.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-cache-dir --target "$folder" "trimesh==5.2.0" "plyfile==1.1.5" "numpy==2.4.6"
cd "$folder"
PYTHONPATH="$folder" python3 - <<'PYTHON'
import io

import numpy as np
import plyfile
import trimesh

found = {}
for kind in ("int32", "int64"):
    for encoding in ("ascii", "binary"):
        mesh = trimesh.Trimesh(
            [[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], process=False
        )
        mesh.vertex_attributes["label"] = np.array([5, 6, 7], kind)
        file = mesh.export(file_type="ply", encoding=encoding)
        header = file.partition(b"end_header")[0].decode().splitlines()
        declared = next(line for line in header if line.endswith(" label"))
        try:
            again = plyfile.PlyData.read(io.BytesIO(file))
            labels = again["vertex"]["label"].tolist()
        except plyfile.PlyHeaderParseError as error:
            labels = "refused"
            print(error)
        print(trimesh.__version__, encoding, declared, labels)
        found[kind, encoding] = declared, labels
for encoding in ("ascii", "binary"):
    assert found["int32", encoding] == ("property int label", [5, 6, 7]), (
        "it has changed"
    )
    assert found["int64", encoding] == ("property int64 label", "refused"), (
        "right would be a type of the format: it has changed"
    )
PYTHON
