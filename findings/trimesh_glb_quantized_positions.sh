#!/usr/bin/env bash
# trimesh 5.2.0 reads a GLB with KHR_mesh_quantization (positions as normalised
# 16-bit integers, as gltfpack and glTF-Transform write them) as raw integers,
# and applies the transforms of the nodes, which were made for values from 0 to
# 1, on top. Sizes are then off by 32,767. No warning. Seen: a triangle of 2
# metres comes back 65,534 metres wide.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-cache-dir --target "$folder" "trimesh==5.2.0" "numpy==2.4.6"
cd "$folder"
PYTHONPATH="$folder" python3 - <<'PYTHON'
import io
import json
import struct

import numpy as np
import trimesh

# Positions from 0 to 1 as int16; four components keep rows at 8 bytes.
points = np.zeros((3, 4), "<i2")
points[:, :3] = [(0, 0, 0), (32767, 0, 0), (0, 32767, 0)]
faces = np.array([0, 1, 2, 0], "<u2")
binary = points.tobytes() + faces.tobytes()
scene = {
    "asset": {"version": "2.0"},
    "extensionsUsed": ["KHR_mesh_quantization"],
    "extensionsRequired": ["KHR_mesh_quantization"],
    "scene": 0,
    "scenes": [{"nodes": [0]}],
    "nodes": [{"mesh": 0, "scale": [2, 2, 2]}],
    "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
    "buffers": [{"byteLength": len(binary)}],
    "bufferViews": [
        {"buffer": 0, "byteOffset": 0, "byteLength": 24, "byteStride": 8},
        {"buffer": 0, "byteOffset": 24, "byteLength": 6},
    ],
    "accessors": [
        {
            "bufferView": 0,
            "componentType": 5122,
            "normalized": True,
            "count": 3,
            "type": "VEC3",
            "min": [0, 0, 0],
            "max": [32767, 32767, 0],
        },
        {
            "bufferView": 1,
            "componentType": 5123,
            "count": 3,
            "type": "SCALAR",
        },
    ],
}
text = json.dumps(scene).encode()
text += b" " * (-len(text) % 4)
body = struct.pack("<I4s", len(text), b"JSON") + text
body += struct.pack("<I4s", len(binary), b"BIN\0") + binary
file = struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body
loaded = trimesh.load(io.BytesIO(file), file_type="glb", force="mesh")
width = float(loaded.extents[0])
print(trimesh.__version__, "width:", width)
assert width > 60000, "right would be 2.0: it has changed"
PYTHON
