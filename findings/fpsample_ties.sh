#!/usr/bin/env bash
# fpsample 1.0.2 takes, of several points that are equally far away, the last
# one. The kernels that the published models of this field were trained with
# take the first. On clouds with equal distances (grids, repeated points) the
# samples differ, and with them all features that hang on them. Seen: of the
# four corners of a square, from the first, both choose the opposite one, and
# then this library the last of the two that are left.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-cache-dir --target "$folder" "fpsample==1.0.2" "numpy==2.4.6"
cd "$folder"
PYTHONPATH="$folder" python3 - <<'PYTHON'
import importlib.metadata

import fpsample
import numpy as np

square = np.array(
    [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)], "float32"
)
chosen = fpsample.fps_sampling(square, 3, start_idx=0).tolist()
# The lowest index of the farthest points, written out.
first, distances = [0], ((square - square[0]) ** 2).sum(1)
for _ in range(2):
    first.append(int(distances.argmax()))
    last = ((square - square[first[-1]]) ** 2).sum(1)
    distances = np.minimum(distances, last)
version = importlib.metadata.version("fpsample")
print(version, "fpsample:", chosen, "lowest index:", first)
assert chosen == [0, 3, 2] and first == [0, 3, 1], "it has changed"
PYTHON
