"""Torch without TensorFlow: `docs/guides/lean_torch.md`."""

import importlib.util
import os
import pathlib
import re
import statistics
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


FIRST = r"""
import re, sys, time
begin = time.perf_counter()
if sys.argv[1] == "lean":
    blocked = ("tensorflow", "tensorflow_text", "grain")
    sys.modules.update(dict.fromkeys(blocked))
import keras_pointpeft
name = "dapt_pointmaetiny_shapes"
keras_pointpeft.from_preset(name, load_weights="backbone")
seconds = time.perf_counter() - begin
# Of this process alone: what `resource` tells begins with the parent's.
peak = re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]
print(seconds, peak)
"""


@pytest.mark.slow
def test_the_first_model_of_a_process():
    """In turns, so that a busy machine is fair to both."""
    pytest.importorskip("torch")
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("there is nothing to compare with")
    if not pathlib.Path("/proc/self/status").exists():
        pytest.skip("the memory of a process is read as Linux tells it")
    found = {"lean": [], "whole": []}
    for _ in range(4):
        for way, figures in found.items():
            run = subprocess.run(
                [sys.executable, "-c", FIRST, way],
                env={
                    **os.environ,
                    "KERAS_BACKEND": "torch",
                    "PYTHONPATH": str(ROOT),
                },
                capture_output=True,
                text=True,
                check=True,
            )
            figures.append([float(x) for x in run.stdout.split()[-2:]])
    # The first turn fills the caches of files.
    lean, whole = (
        [statistics.median(column) for column in zip(*found[way][1:])]
        for way in ("lean", "whole")
    )
    ratios = [a / b for a, b in zip(lean, whole)]
    print("seconds, memory:", ratios)
    assert max(ratios) <= 0.6
