#!/usr/bin/env bash
# jax 0.10.2 reads, with `jax_compilation_cache_max_size` set, a file of every
# entry of the persistent compile cache whenever it adds one, even where nothing
# has to go, and holds the lock of the cache meanwhile: filling a cache is
# quadratic in its entries. Right would be as without a limit, the same work for
# an entry however many there are. Seen, in files opened for one new entry:
# without a limit 1, with one that is far off 53 for the 50th and 503 for the
# 500th. Takes a minute or two.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-cache-dir --target "$folder" \
    "jax==0.10.2" "jaxlib==0.10.2" "filelock==4.3.1" "numpy==2.4.6"
cd "$folder"
cat > fill.py <<'PYTHON'
import os
import pathlib
import sys

import jax
import numpy as np

cache = pathlib.Path(sys.argv[1]).absolute()
jax.config.update("jax_compilation_cache_dir", str(cache))
jax.config.update("jax_compilation_cache_max_size", int(sys.argv[2]))
# Small programs are kept as well.
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
opened = 0


def count(event, values):
    global opened
    if event == "open" and isinstance(values[0], (str, os.PathLike)):
        opened += os.fspath(values[0]).startswith(str(cache))


sys.addaudithook(count)
for n in range(1, 501):
    before = opened
    jax.jit(lambda x: x * n + n)(np.zeros(1, "float32"))
    if n in (50, 500):
        entries = len(list(cache.glob("*-cache")))
        assert entries == n, f"{entries} entries, not {n}"
        print(opened - before)
PYTHON
export JAX_PLATFORMS=cpu PYTHONPATH="$folder"
without=$(python3 fill.py without -1 | xargs)
with=$(python3 fill.py with 1000000000 | xargs)
version=$(python3 -c "import jax; print(jax.__version__)")
echo "$version files opened for the 50th and the 500th entry:" \
    "without a limit $without, with one $with"
[ "$without" = "1 1" ] || { echo "it has changed"; exit 1; }
read -r few many <<< "$with"
[ "$few" -ge 50 ] && [ "$many" -ge 500 ] || { echo "it has changed"; exit 1; }
