"""Exported models give the task's logits, for other sizes too."""

import keras
import numpy as np
import pytest

from keras_pointpeft.peft import DAPT
from tests.conftest import small_classifier

BACKEND = keras.backend.backend()


def clouds(batch, points):
    rng = np.random.default_rng(points)
    return rng.normal(size=(batch, points, 3)).astype("float32")


def compare(model, run, sizes=((3, 64), (1, 80))):
    for size in sizes:
        x = clouds(*size)
        expected = model.predict(x, verbose=0)
        np.testing.assert_allclose(run(x), expected, atol=1e-4)


@pytest.mark.skipif(BACKEND != "torch", reason="a format of torch")
def test_a_program_of_the_smallest_model(tmp_path):
    import torch

    model = small_classifier(depth=1, num_groups=4)
    model.export(tmp_path / "model.pt2", format="torch")
    run = torch.export.load(tmp_path / "model.pt2").module()
    sizes = ((3, 16), (1, 20))
    compare(model, lambda x: run(torch.tensor(x)).detach().numpy(), sizes)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "torch", reason="a format of torch")
def test_torch(tmp_path):
    import torch

    model = small_classifier(DAPT(rank=4))
    model.export(tmp_path / "model.pt2", format="torch")
    program = torch.export.load(tmp_path / "model.pt2")
    # Nothing of this package is needed to run it.
    names = {str(node.target) for node in program.graph.nodes}
    assert not [name for name in names if "pointpeft" in name]
    run = program.module()
    compare(model, lambda x: run(torch.tensor(x)).detach().numpy())
    with pytest.raises(ValueError, match="ends in .pt2"):
        model.export(tmp_path / "model.onnx", format="torch")
    few = [keras.InputSpec(shape=(None, 4, 3), dtype="float32")]
    with pytest.raises(ValueError, match="need 8 points"):
        model.export(tmp_path / "few.pt2", format="torch", input_signature=few)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "torch", reason="torch writes ONNX itself")
def test_onnx(tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    from keras_pointpeft.models import exporting
    from keras_pointpeft.models import exporting_onnx

    model = small_classifier(DAPT(rank=4), skip_origin=True)
    path = tmp_path / "model.onnx"
    model.export(path, format="onnx")
    session = runtime.InferenceSession(path)
    compare(model, lambda x: session.run(None, {"points": x})[0])

    # A translation that errs is refused, and what was there stays.
    before = path.read_bytes()
    right = exporting_onnx.translations

    def wrong():
        table = right()
        sample = torch_operator("farthest_point_sample")
        nearest = torch_operator("knn")
        table[sample], table[nearest] = exporting_onnx.sample, misled
        return table

    def misled(queries, points, k: int):
        from onnxscript import opset18 as op

        return exporting_onnx.knn(queries, op.Neg(points), k)

    monkeypatch.setattr(exporting_onnx, "translations", wrong)
    with pytest.raises(RuntimeError, match="does not give"):
        exporting.export(model, path, "onnx")
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def torch_operator(name):
    import torch

    return getattr(torch.ops.keras_pointpeft, name).default


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="a format of tensorflow")
def test_saved_model(tmp_path):
    import tensorflow as tf

    model = small_classifier(DAPT(rank=4))
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    compare(model, lambda x: loaded.serve(x).numpy())
