"""Exported models give the task's logits, for other sizes too."""

import importlib.util

import keras
import numpy as np
import pytest

from keras_pointpeft import models
from keras_pointpeft.peft import DAPT
from keras_pointpeft.peft import PointGST
from keras_pointpeft.peft import PointPEFT
from keras_pointpeft.peft import PriorBank
from tests import test_registry
from tests.conftest import small_classifier
from tests.models.test_segmenters import make_backbone
from tests.models.test_segmenters import make_parts

pytestmark = pytest.mark.long

BACKEND = keras.backend.backend()
FORMATS = {
    "torch": {"onnx": ".onnx", "torch": ".pt2"},
    "tensorflow": {"tf_saved_model": "", "litert": ".tflite"},
    "jax": {},
}[BACKEND]
ANY = ((3, 64), (1, 80))
FIXED = ((3, 64), (1, 64))
on_torch = pytest.mark.skipif(BACKEND != "torch", reason="formats of torch")
on_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="formats of tensorflow"
)


def inputs(model, batch, points):
    rng = np.random.default_rng(points)
    clouds = rng.normal(size=(batch, points, 3)).astype("float32")
    if not isinstance(model.input, dict):
        return {"points": clouds}
    category = np.arange(batch, dtype="int32") % model.num_categories
    return {"points": clouds, "category": category}


def compare(model, run, sizes=ANY):
    for size in sizes:
        given = inputs(model, *size)
        several = isinstance(model.input, dict)
        expected = model.predict(
            given if several else given["points"], verbose=0
        )
        assert np.ptp(expected) > 0
        np.testing.assert_allclose(run(given), expected, atol=1e-4)


def move(model):
    """Away from the start, where much of a method does nothing."""
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        noise = 0.05 * rng.normal(size=variable.shape)
        variable.assign(keras.ops.convert_to_numpy(variable) + noise)
    if getattr(model.backbone.peft, "prior", False):
        clouds = rng.normal(size=(16, 64, 3)).astype("float32")
        bank = PriorBank.build(model, clouds, verbose=0)
        bank.sample(12).attach(model)
    return model


def written(model, folder, format, **kwargs):
    """Exports a model, and runs what was written with inputs by name."""
    path = folder / f"model{FORMATS[format]}"
    model.export(path, format=format, verbose=False, **kwargs)
    return RUN[format](path)


def run_onnx(path):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(path)
    found = {value.name: value.shape for value in session.get_inputs()}
    assert session.get_outputs()[0].shape[0] == "batch"
    assert found.pop("category", ["batch"]) == ["batch"]
    assert found == {"points": ["batch", "points", 3]}
    return lambda given: session.run(["output"], given)[0]


def run_torch(path):
    import torch

    program = torch.export.load(path)
    # Nothing of this package is needed to run it.
    names = {str(node.target) for node in program.graph.nodes}
    assert not [name for name in names if "pointpeft" in name]
    module = program.module()

    def run(given):
        tensors = {name: torch.tensor(x) for name, x in given.items()}
        several = len(tensors) > 1
        output = module(tensors if several else tensors["points"])
        return output.detach().numpy()

    return run


def run_saved_model(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)

    def run(given):
        several = len(given) > 1
        return loaded.serve(given if several else given["points"]).numpy()

    return run


def run_litert(path):
    if importlib.util.find_spec("ai_edge_litert"):
        from ai_edge_litert.interpreter import Interpreter
    else:
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter
    interpreter = Interpreter(str(path))
    # By their number of axes: their names are not ours.
    places = {len(d["shape"]): d for d in interpreter.get_input_details()}
    output = interpreter.get_output_details()[0]["index"]

    def run(given):
        for x in given.values():
            place = places[x.ndim]["index"]
            interpreter.resize_tensor_input(place, x.shape)
        interpreter.allocate_tensors()
        for x in given.values():
            interpreter.set_tensor(places[x.ndim]["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(output)

    return run


RUN = {
    "onnx": run_onnx,
    "torch": run_torch,
    "tf_saved_model": run_saved_model,
    "litert": run_litert,
}


def small_point_peft(**kwargs):
    method = PointPEFT(
        prompt_blocks=1,
        num_prompts=4,
        adapter_rank=4,
        bank_size=16,
        prior_num_groups=None,
        prior_group_size=None,
        **kwargs,
    )
    return small_classifier(method, depth=1, num_groups=4)


def small_rooms():
    return models.SemanticSegmenter(
        make_backbone(peft=DAPT(rank=4)),
        4,
        propagation_dims=(16, 12),
        head_dims=(16,),
    )


TASKS = {
    "classifier": lambda: small_classifier(DAPT(rank=4), skip_origin=True),
    "classifier with a bank": small_point_peft,
    "published defects": lambda: small_point_peft(reference=True),
    "parts": lambda: make_parts(peft=DAPT(rank=4)),
    "parts of a graph": lambda: make_parts(
        models.PointBERTBackbone, DAPT(rank=4)
    ),
    "parts of stages": lambda: make_parts(models.PointM2AEBackbone),
    "rooms": small_rooms,
}


@on_torch
def test_a_program_of_the_smallest_model(tmp_path):
    model = move(small_classifier(DAPT(rank=4), depth=1, num_groups=4))
    compare(model, written(model, tmp_path, "torch"))


@on_torch
def test_onnx_of_a_model_with_a_bank(tmp_path):
    # Distances of 0: their inverse is finite by an epsilon of 1e-8 alone.
    pytest.importorskip("onnxscript")
    model = move(small_point_peft())
    compare(model, written(model, tmp_path, "onnx"))


@on_tensorflow
def test_a_saved_model_of_two_inputs(tmp_path):
    model = move(make_parts(peft=DAPT(rank=4)))
    compare(model, written(model, tmp_path, "tf_saved_model"))


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("task", TASKS)
def test_a_task(task, format, tmp_path):
    if format == "onnx":
        pytest.importorskip("onnxscript")
    model = move(TASKS[task]())
    if format != "litert":
        compare(model, written(model, tmp_path, format))
        return
    signature = {
        name: keras.InputSpec(
            shape=(None, 64, 3)[: x.ndim], dtype=x.dtype.name, name=name
        )
        for name, x in inputs(model, 2, 64).items()
    }
    if not isinstance(model.input, dict):
        signature = signature["points"]
    run = written(model, tmp_path, format, input_signature=[signature])
    compare(model, run, FIXED)


@on_torch
@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", test_registry.one_of_each_method())
def test_a_method(name, format, tmp_path):
    if format == "onnx":
        pytest.importorskip("onnxscript")
    model = move(test_registry.build(name))
    if format == "onnx" and isinstance(model.backbone.peft, PointGST):
        with pytest.raises(ValueError, match="ONNX has no eigenvectors"):
            model.export(tmp_path / "model.onnx", format="onnx")
        assert not list(tmp_path.iterdir())
        return
    compare(model, written(model, tmp_path, format))


@on_torch
def test_errors_before_tracing(tmp_path):
    model = small_classifier()
    with pytest.raises(ValueError, match="ends in .pt2"):
        model.export(tmp_path / "model.onnx", format="torch")
    few = [keras.InputSpec(shape=(None, 4, 3), dtype="float32")]
    with pytest.raises(ValueError, match="need 8 points"):
        model.export(tmp_path / "few.pt2", format="torch", input_signature=few)
    with pytest.raises(ValueError, match=r"\['points', 'category'\]"):
        make_parts().export(
            tmp_path / "parts.pt2", format="torch", input_signature=few
        )
    # The decoder of this one chooses more points than there are patches.
    many = [{"points": few[0], "category": few[0]}]
    with pytest.raises(ValueError, match="need 32 points"):
        make_parts(models.PointBERTBackbone).export(
            tmp_path / "parts.pt2", format="torch", input_signature=many
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(BACKEND == "tensorflow", reason="its own format")
def test_a_saved_model_is_for_tensorflow(tmp_path):
    with pytest.raises(ValueError, match="Received: .*'tf_saved_model' on"):
        small_classifier().export(tmp_path / "model")


@on_tensorflow
def test_litert_needs_a_number_of_points(tmp_path):
    path = tmp_path / "model.tflite"
    with pytest.raises(ValueError, match="fixed number of points.*Received"):
        small_classifier().export(path, format="litert")
    assert not path.exists()


@on_torch
@pytest.mark.slow
def test_a_translation_that_errs_is_refused(tmp_path, monkeypatch):
    """And what was there stays."""
    pytest.importorskip("onnxscript")
    from keras_pointpeft.models.export import onnx

    path = tmp_path / "model.onnx"
    path.write_bytes(b"before")
    right = onnx.translations

    def wrong():
        table = right()
        table[torch_operator("knn")] = misled
        return table

    def misled(queries, points, k: int):
        from onnxscript import opset18 as op

        return onnx.knn(queries, op.Neg(points), k)

    monkeypatch.setattr(onnx, "translations", wrong)
    with pytest.raises(RuntimeError, match="does not give"):
        small_classifier(depth=1).export(path, format="onnx")
    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def torch_operator(name):
    import torch

    return getattr(torch.ops.keras_pointpeft, name).default
