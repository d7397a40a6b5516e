#!/usr/bin/env bash
# torch 2.13.0, on a CPU: batch normalization in training of `(rows, channels)`,
# which is also how a channels-last image lies in memory, adds up each channel in
# float32, one row after the other. With the same numbers as `(1, channels,
# rows)` it does not, and neither does `torch.var_mean`. No warning. Right would
# be sums of parts in both. Seen, against float64 on one
# thread: for 32,768 rows with a mean of 12 deviations the output is off by
# 1e-4 instead of 6e-7, and with a mean of 0 by 2e-5 instead of 4e-7.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-cache-dir --target "$folder" "torch==2.13.0" "numpy==2.4.6"
cd "$folder"
PYTHONPATH="$folder" python3 - <<'PYTHON'
import torch
from torch.nn import functional

# Each thread adds up rows of its own.
torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
noise = torch.randn((32768, 8), generator=generator)


def error(found, x):
    x = x.double()
    right = (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()
    return float((found - right).abs().max())


print(torch.__version__)
for mean in (0, 12):
    x = noise + mean
    options = {"training": True, "eps": 1e-5}
    rows = functional.batch_norm(x, None, None, **options)
    lines = functional.batch_norm(x.T[None].contiguous(), None, None, **options)
    variance, center = torch.var_mean(x, 0, correction=0)
    plain = (x - center) / (variance + 1e-5).sqrt()
    found = [error(y, x) for y in (rows, lines[0].T, plain)]
    print(
        f"mean {mean}, largest error: (rows, channels) {found[0]:.1e},",
        f"(1, channels, rows) {found[1]:.1e}, var_mean {found[2]:.1e}",
    )
    assert max(found[1:]) < 2e-6, "it has changed"
    assert 8e-6 < found[0] < 1e-3, (
        "right would be as exact as the others: it has changed"
    )
PYTHON
