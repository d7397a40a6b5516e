"""Runs the guide on export: writes files, and uses ONNX without Keras."""

import subprocess
import sys

import keras
import pytest

import keras_pointpeft
from tests.docs import pages

BACKEND = keras.config.backend()
pytestmark = [pytest.mark.once, pytest.mark.slow]


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """The guide's blocks, in a folder with the adapter that it loads."""
    monkeypatch.chdir(tmp_path)
    keras_pointpeft.from_preset(
        "dapt_pointmaetiny_shapes", load_weights="backbone"
    ).save_adapter("my_task")
    names = ("write", "use", "litert")
    blocks = pages.python_blocks("docs/guides/export.md")
    return dict(zip(names, blocks, strict=True))


@pytest.mark.skipif(BACKEND != "torch", reason="ONNX is written from torch")
def test_onnx_and_without_keras(parts, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    pages.run(parts["write"], {})
    (tmp_path / "use.py").write_text(
        parts["use"].text
        + "import sys\n"
        + "print([n for n in ('keras', 'torch') if n in sys.modules])\n"
    )
    process = subprocess.run(
        [sys.executable, "use.py"], capture_output=True, text=True, check=True
    )
    classes, imported = process.stdout.splitlines()
    assert len(classes.strip("[]").split()) == 2
    assert imported == "[]"


@pytest.mark.skipif(BACKEND != "tensorflow", reason="written from tensorflow")
def test_litert(parts, tmp_path):
    import tensorflow as tf

    names = {}
    onnx = 'model.export("model.onnx", format="onnx")'
    pages.run(parts["write"], names, [(onnx, "")])
    pages.run(parts["litert"], names)
    file = tf.lite.Interpreter(str(tmp_path / "model.tflite"))
    (points,) = file.get_input_details()
    assert list(points["shape_signature"]) == [-1, 1024, 3]
