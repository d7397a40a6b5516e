import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def run_script(tmp_path):
    """Runs a script as a user does; returns the finished process."""

    def run(name, *arguments, check=True):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        process = subprocess.run(
            [sys.executable, str(ROOT / "scripts" / name), *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        if check and process.returncode != 0:
            raise AssertionError(
                f"exit status {process.returncode}\n"
                f"{process.stdout}{process.stderr}"
            )
        return process

    return run
