"""Runs that are killed at random moments end with the same bits."""

import os
import pathlib
import re
import subprocess
import sys

import keras
import pytest

ROOT = pathlib.Path(__file__).parents[2]

pytestmark = [
    pytest.mark.long,
    pytest.mark.once,
    pytest.mark.skipif(
        keras.config.backend() != "torch" or not hasattr(os, "fork"),
        reason="processes are forked; test_checkpoint.py runs on every backend",
    ),
]


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_runs(tmp_path, kills):
    program = ROOT / "tests/training/kill_program.py"
    process = subprocess.run(
        [sys.executable, str(program), str(tmp_path), str(kills)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    print(process.stdout)
    assert process.stdout.count("killed ") == kills
    variables, differ = re.search(
        r"variables (\d+) differ (.*)", process.stdout
    ).groups()
    assert int(variables) > 50 and differ == "[]"
    # No line of the log is lost or there twice, and no file is left over.
    files = [".run.lock", "end.npz", "log.csv", "state.npz"]
    assert f"epochs logged True files {files}" in process.stdout
