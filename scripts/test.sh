#!/usr/bin/env bash
# Lint, then the tests on every backend, or on those named:
#     bash scripts/test.sh torch jax
# The first runs all of them, the others leave out what is much the same on
# every backend. One process per core, each with one thread; what a file's tests
# share is made once.
set -euo pipefail
cd "$(dirname "$0")/.."
export TF_CPP_MIN_LOG_LEVEL=3 OMP_NUM_THREADS=1
# What jax compiles, for all processes and the next run: on a CPU, most of its
# tests' time. Told to keep it small, jax would look at all files, behind a
# lock, for each that it adds, so it starts anew where it is more than two
# gigabytes.
cache=${XDG_CACHE_HOME:-~/.cache}/keras_pointpeft/jax
[ "$(du -sm "$cache" 2>/dev/null | cut -f1)" -le 2048 ] 2>/dev/null ||
    rm -rf "$cache"
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$cache}
mkdir -p "$JAX_COMPILATION_CACHE_DIR"
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0
export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1
# A test runs a program a few times: to optimize it takes longer than that saves,
# a third of the CPU time (tests/conftest.py does so for tensorflow's graphs).
export XLA_FLAGS=${XLA_FLAGS---xla_backend_optimization_level=1}
[ $# -gt 0 ] || set -- torch tensorflow jax
ruff check .
marks="not slow"
for backend in "$@"; do
    echo "== $backend"
    KERAS_BACKEND=$backend python -m pytest -q -W ignore -n auto \
        --dist loadfile --no-loadscope-reorder -m "$marks"
    marks="not slow and not once"
done
