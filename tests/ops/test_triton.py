import importlib.util
import os
import pathlib
import subprocess
import sys

import keras
import pytest

from . import triton_programs

ROOT = pathlib.Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif(
        keras.config.backend() != "torch", reason="for the torch backend"
    ),
    pytest.mark.skipif(
        importlib.util.find_spec("triton") is None,
        reason="triton is not installed (it is packaged for Linux alone)",
    ),
]


def run(*arguments, **environment):
    process = subprocess.run(
        [sys.executable, "-m", "tests.ops.triton_programs", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout + process.stderr


@pytest.mark.parametrize(
    "program", ["indices", "grouping", "interpolation", "empty"]
)
def test_interpreted(program):
    run(program, TRITON_INTERPRET="1")


def test_compiles_for_every_architecture_without_contraction(tmp_path):
    architectures = map(str, triton_programs.ARCHITECTURES)
    run("compilation", *architectures, TRITON_CACHE_DIR=str(tmp_path))


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None,
    reason="tensorflow is not installed",
)
class TestBesideTensorflow:
    """On torch, importing Keras imports triton too, so that it is first."""

    def test_before(self, tmp_path):
        run(
            "loading",
            "keras_pointpeft.ops",
            "tensorflow",
            TRITON_CACHE_DIR=str(tmp_path),
        )

    def test_after(self, tmp_path):
        alone = subprocess.run(
            [sys.executable, "-c", "import tensorflow"], capture_output=True
        )
        if alone.returncode != 0:
            pytest.skip(
                "with this triton, `import tensorflow` ends a process in "
                "which Keras is to use torch, before this package is imported"
            )
        run(
            "loading",
            "tensorflow",
            "keras_pointpeft.ops",
            TRITON_CACHE_DIR=str(tmp_path),
        )
