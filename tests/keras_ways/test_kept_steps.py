"""What is changed between two batches, when the step is replayed by then."""

import keras
import numpy as np
import pytest

import keras_pointpeft
from keras_pointpeft import ops as point_ops
from tests.keras_ways.promise import BACKEND
from tests.keras_ways.promise import Case
from tests.keras_ways.promise import clouds
from tests.keras_ways.promise import fit
from tests.keras_ways.promise import make_task
from tests.keras_ways.promise import refuses
from tests.keras_ways.promise import values

pytestmark = pytest.mark.skipif(
    BACKEND != "torch", reason="steps are kept on torch alone"
)


def rate(model, folder):
    model.optimizer.learning_rate = 0.1


def weights_file(model, folder):
    model.load_weights(folder / "start.weights.h5")


def listed(model, folder):
    pairs = zip(model.weights, model.get_weights(), strict=True)
    model.set_weights([x / 2 if v.trainable else x for v, x in pairs])


def one_variable(model, folder):
    model.head.trainable_weights[0].assign_add(
        np.ones(model.head.trainable_weights[0].shape, "float32")
    )


def an_adapter(model, folder):
    model.load_adapter(folder / "start")


def a_look(model, folder):
    model.predict(clouds()[0], verbose=0)
    model.evaluate(*clouds(), batch_size=2, verbose=0)
    with model.disable_adapters():
        pass


WAYS = (rate, weights_file, listed, one_variable, an_adapter, a_look)


def trained(case, way):
    """A run of eight batches, after the sixth of which a way is gone."""
    model, folder = case.model, case.folder
    model.save_weights(folder / "start.weights.h5")
    model.save_adapter(folder / "start")
    ran = []

    def act(epoch, logs):
        if epoch == 2:
            found = keras_pointpeft.step_report(model)
            ran.append([row["runs"] for rows in found.values() for row in rows])
            way(model, folder)

    callback = keras.callbacks.LambdaCallback(on_epoch_end=act)
    fit(model, epochs=4, shuffle=False, callbacks=[callback])
    case.check(model)
    return values(model.weights), ran[0]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_kept_step_follows(tmp_path, way):
    (tmp_path / "kept").mkdir()
    kept, ran = trained(Case(make_task(), tmp_path / "kept"), way)
    assert "recorded" in ran or "graph" in ran
    (tmp_path / "eager").mkdir()
    with point_ops.disable_accelerators("cudagraph", "recording"):
        eager, ran = trained(Case(make_task(), tmp_path / "eager"), way)
    assert set(ran) == {"eager"}
    for path, value in eager.items():
        if "seed" not in path:
            np.testing.assert_array_equal(kept[path], value, err_msg=path)


def test_what_is_unfrozen_after_a_step_was_kept(case):
    model = case.model

    def unfreeze(epoch, logs):
        if epoch == 2:
            model.backbone.get_layer("block_0").qkv.kernel.trainable = True

    callback = keras.callbacks.LambdaCallback(on_epoch_end=unfreeze)
    with refuses("Unknown variable.*block_0/qkv/kernel"):
        fit(model, epochs=4, callbacks=[callback])
    model.trainable = False
    model.trainable = True
    case.check(model)


def test_a_twin_of_a_model_whose_step_is_kept(case):
    fit(case.model, epochs=4)
    twin = case.model.clone()
    before = values(twin.weights)
    case.model.fit(*clouds(), batch_size=2, verbose=0)
    found = values(twin.weights)
    assert all((found[path] == x).all() for path, x in before.items())
    case.check(twin)
    case.check(case.model)
