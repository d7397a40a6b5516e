"""Ways out of Keras, and what a model must have first."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft.peft import PointPEFT
from keras_pointpeft.peft import PriorBank
from tests.keras_ways.promise import BACKEND
from tests.keras_ways.promise import clouds
from tests.keras_ways.promise import fit
from tests.keras_ways.promise import logits
from tests.keras_ways.promise import make_task
from tests.keras_ways.promise import refuses
from tests.keras_ways.promise import rows
from tests.keras_ways.promise import values

WORKS = {
    "torch": ("onnx", "torch"),
    "tensorflow": ("tf_saved_model", "litert"),
    "jax": (),
}[BACKEND]
FORMATS = ("onnx", "torch", "tf_saved_model", "litert", "wav")


@pytest.mark.parametrize("format", [f for f in FORMATS if f not in WORKS])
def test_a_format_that_is_not_written(case, format):
    """Nothing is written, and the words say who writes it."""
    if format == "onnx" and BACKEND == "tensorflow":
        pytest.skip("Keras tries it with tf2onnx")
    path = case.folder / "model"
    with refuses(f"{format}.*KERAS_BACKEND=|format"):
        case.model.export(path, format=format, verbose=False)
    assert not path.exists()
    case.check(case.model, moved=False)


@pytest.mark.once
@pytest.mark.parametrize("format", WORKS[:1])
def test_a_trained_task(case, format):
    pytest.importorskip("onnxscript")
    fit(case.model)
    suffix = {"onnx": "onnx", "tf_saved_model": "saved"}[format]
    path = case.folder / f"model.{suffix}"
    case.model.export(path, format=format, verbose=False)
    assert path.exists()
    case.check(case.model)


def prompted():
    return PointPEFT(
        num_prompts=3,
        prompt_blocks=1,
        bank_size=4,
        prior_num_groups=None,
        prior_group_size=None,
        adapter_rank=2,
    )


def outer(model):
    return keras.Sequential([keras.Input((None, 3)), model])


EMPTY = {
    "fit": lambda m, x, y: fit(m),
    "predict": lambda m, x, y: m.predict(x, verbose=0),
    "evaluate": lambda m, x, y: m.evaluate(x, y, verbose=0),
    "train_on_batch": lambda m, x, y: m.train_on_batch(x, y),
    "a_call": lambda m, x, y: m(x),
    "a_call_of_the_backbone": lambda m, x, y: m.backbone(x),
    "fit_inside_another": lambda m, x, y: fit(outer(m)),
    "predict_inside_another": lambda m, x, y: outer(m).predict(x, verbose=0),
    "its_features": lambda m, x, y: m.backbone.features((0,))(x),
    "extract": lambda m, x, y: m.backbone.extract(x),
}


@pytest.mark.parametrize("act", rows(EMPTY, "a_call fit_inside_another"))
def test_an_empty_bank(act):
    model = make_task(prompted(), num_groups=8)
    points, labels = clouds()
    before = values(model.weights)
    with refuses("bank"):
        act(model, points, labels)
    found = values(model.weights)
    assert all((found[path] == x).all() for path, x in before.items())


@pytest.mark.once
def test_a_bank_that_was_filled(tmp_path):
    model = make_task(prompted(), num_groups=8)
    PriorBank.build(model, clouds()[0], verbose=0).attach(model)
    fit(outer(model))
    model.save(tmp_path / "model.keras")
    found = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(logits(found), logits(model))
    twin = make_task(prompted(), num_groups=8)
    twin.set_weights(model.get_weights())
    np.testing.assert_array_equal(
        ops.convert_to_numpy(outer(twin)(clouds()[0])), logits(model)
    )
