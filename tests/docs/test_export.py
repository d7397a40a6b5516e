"""Runs the guide on export: to ONNX, and then without Keras."""

import subprocess
import sys

import keras
import pytest

import keras_pointpeft
from tests.docs import pages

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.config.backend() != "torch", reason="ONNX is written from torch"
    ),
]


def test_onnx_and_without_keras(tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    write, use = pages.python_blocks("docs/guides/export.md")
    keras_pointpeft.from_preset(
        "dapt_pointmaetiny_shapes", load_weights="backbone"
    ).save_adapter("my_task")
    pages.run(write, {})
    (tmp_path / "use.py").write_text(
        use.text
        + "import sys\n"
        + "print([n for n in ('keras', 'torch') if n in sys.modules])\n"
    )
    process = subprocess.run(
        [sys.executable, "use.py"], capture_output=True, text=True, check=True
    )
    classes, imported = process.stdout.splitlines()
    assert len(classes.strip("[]").split()) == 2
    assert imported == "[]"
