"""Torch without TensorFlow: `docs/guides/lean_torch.md`."""

import os
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
pytestmark = pytest.mark.once


def test_a_first_hour(tmp_path):
    pytest.importorskip("torch")
    run = subprocess.run(
        [sys.executable, ROOT / "tests" / "lean_program.py", tmp_path],
        env={
            **os.environ,
            "KERAS_BACKEND": "torch",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.split()[-3:] == ["ok", "100", "clouds"]


def test_the_command_names_what_the_package_needs():
    page = (ROOT / "docs" / "guides" / "lean_torch.md").read_text()
    command = re.search(r"```bash\n(pip install torch .*?)\n```", page)[1]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        assert requirement in command, requirement
    assert "tensorflow" not in command
