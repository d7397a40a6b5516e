#!/usr/bin/env bash
# Lint, then the tests on every backend, or on those named:
#     bash scripts/test.sh torch jax
# One process per core, each with one thread; what a file's tests share is made
# once.
set -euo pipefail
cd "$(dirname "$0")/.."
export TF_CPP_MIN_LOG_LEVEL=3 OMP_NUM_THREADS=1
[ $# -gt 0 ] || set -- torch tensorflow jax
ruff check .
for backend in "$@"; do
    echo "== $backend"
    KERAS_BACKEND=$backend python -m pytest -q -W ignore -n auto --dist loadfile
done
