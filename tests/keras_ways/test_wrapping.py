"""Ways to put a task into another model, and to train it there."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft import adapters
from keras_pointpeft.models import PointCloudClassifier
from tests.keras_ways.promise import BACKEND
from tests.keras_ways.promise import clouds
from tests.keras_ways.promise import fit
from tests.keras_ways.promise import logits
from tests.keras_ways.promise import make_task
from tests.keras_ways.promise import refuses
from tests.keras_ways.promise import rows

pytestmark = pytest.mark.long

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def outer_of(model, *layers):
    return keras.Sequential([keras.Input((None, 3)), model, *layers])


def reload(outer, case):
    """The outer model from its file; the tasks in it are as they were."""
    outer.save(case.folder / "outer.keras")
    found = keras.saving.load_model(case.folder / "outer.keras")
    tasks = [x for x in found.layers if isinstance(x, PointCloudClassifier)]
    assert len(found.trainable_variables) == len(outer.trainable_variables)
    for task in tasks:
        case.check(task)
    return found


def softmax_behind(case):
    outer = outer_of(case.model, keras.layers.Softmax())
    fit(outer)
    found = reload(outer, case)
    np.testing.assert_array_equal(logits(found), logits(outer))


def without_an_input(case):
    fit(keras.Sequential([case.model, keras.layers.Softmax()]))


def something_in_front(case):
    points = keras.Input((None, 3))
    fit(keras.Model(points, case.model(2.0 * points)))


def behind_its_own_graph(case):
    task = case.model
    outer = keras.Model(task.input, keras.layers.Softmax()(task.output))
    fit(outer)
    found = reload(outer, case)
    np.testing.assert_array_equal(logits(found), logits(outer))


def time_distributed(case):
    frames = keras.Input((2, 16, 3))
    scores = keras.layers.TimeDistributed(case.model)(frames)
    outer = keras.Model(frames, keras.layers.GlobalAveragePooling1D()(scores))
    outer.compile(keras.optimizers.Adam(0.01), LOSS, metrics=["accuracy"])
    points, labels = clouds()
    points = np.stack((points, points), axis=1)
    fitted = outer.fit(points, labels, batch_size=2, verbose=0)
    assert set(fitted.history) == {"loss", "accuracy"}
    assert fitted.history["loss"][0] > 0.1


def trained_and_then_time_distributed(case):
    case.model.compile(keras.optimizers.Adam(0.01), LOSS, metrics=["accuracy"])
    case.model.fit(*clouds(), batch_size=2, verbose=0)
    time_distributed(case)
    own = case.model.evaluate(*clouds(), verbose=0, return_dict=True)
    assert own.keys() == {"loss", "accuracy"}
    time_distributed(case)
    own = case.model.fit(*clouds(), batch_size=2, verbose=0).history
    assert own.keys() == {"loss", "accuracy"} and own["loss"][0] > 0.0


def twice_in_one(case):
    first, second = keras.Input((None, 3)), keras.Input((None, 3))
    scores = keras.layers.Average()([case.model(first), case.model(second)])
    outer = keras.Model([first, second], scores)
    outer.compile(keras.optimizers.Adam(0.01), LOSS)
    points, labels = clouds()
    outer.fit([points, points], labels, batch_size=2, verbose=0)
    reload(outer, case)


def two_on_one_backbone(case):
    other = PointCloudClassifier(case.model.backbone, 3, head_dims=(6,))
    points = keras.Input((None, 3))
    scores = keras.layers.Average()([case.model(points), other(points)])
    fit(keras.Model(points, scores))


class Several(keras.Model):
    def __init__(self, members):
        super().__init__()
        self.members = members

    def call(self, points, training=False):
        return sum(m(points, training=training) for m in self.members)


def several(first, second):
    outer = Several([first, second])
    outer(clouds()[0])
    return outer


def in_a_list(case):
    outer = several(case.model, make_task())
    fit(outer)
    outer.save_weights(case.folder / "outer.weights.h5")
    twin = make_task(seed=1)
    again = several(twin, make_task(seed=2))
    again.load_weights(case.folder / "outer.weights.h5")
    np.testing.assert_array_equal(logits(twin), logits(case.model))
    case.check(twin)


class Penalty(keras.layers.Layer):
    def call(self, x):
        self.add_loss(ops.mean(x * x))
        return x


def with_a_loss_of_a_layer(case):
    fit(outer_of(case.model, Penalty()))


def rebuilt_by_a_tuner(case):
    """A search builds the model from its config, time and again."""
    config = case.model.get_config()
    weights = case.model.get_weights()
    for rate in (0.01, 0.02):
        keras.utils.clear_session(free_memory=False)
        model = PointCloudClassifier.from_config(config)
        model.set_weights(weights)
        adapters.remember_base(model)
        fit(model, optimizer=keras.optimizers.Adam(rate))
    case.model = model


def of_a_class_of_ones_own(case):
    @keras.saving.register_keras_serializable("tests")
    class Doubled(PointCloudClassifier):
        def compute_loss(self, *args, **kwargs):
            return 2 * super().compute_loss(*args, **kwargs)

    model = Doubled.from_config(case.model.get_config())
    model.set_weights(case.model.get_weights())
    adapters.remember_base(model)
    fit(model)
    model.save(case.folder / "model.keras")
    found = keras.saving.load_model(case.folder / "model.keras")
    assert type(found) is Doubled
    np.testing.assert_array_equal(logits(found), logits(model))
    case.check(found)
    case.model = model


WAYS = (
    *(softmax_behind, without_an_input, something_in_front),
    *(behind_its_own_graph, time_distributed, twice_in_one),
    trained_and_then_time_distributed,
    *(two_on_one_backbone, in_a_list, with_a_loss_of_a_layer),
    *(rebuilt_by_a_tuner, of_a_class_of_ones_own),
)


@pytest.mark.parametrize("way", rows(WAYS, "trained_and_then_time_distributed"))
def test_trained_inside(case, way):
    way(case)
    case.check(case.model)


@pytest.mark.eager
def test_callbacks_of_the_outer_model(case):
    """On jax, `fit` keeps the variables elsewhere between two batches."""
    model, folder = case.model, case.folder
    seen = []

    class Looks(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            assert self.model is outer  # which brings them back
            model.save_adapter(folder / f"batch_{batch}")
            with model.disable_adapters() as plain:
                case.check_base(plain)
            seen.append(batch)

        def on_epoch_end(self, epoch, logs=None):
            model.save(folder / "inner.keras")
            seen.append(model.predict(clouds()[0], verbose=0))

    outer = outer_of(model)
    fit(outer, callbacks=[Looks()])
    assert seen[:2] == [0, 1]
    expected = logits(model)
    np.testing.assert_allclose(seen[2], expected, atol=1e-5)
    for batch in range(2):
        twin = make_task()
        twin.load_adapter(folder / f"batch_{batch}")
        case.check(twin)
    np.testing.assert_array_equal(logits(twin), expected)
    found = keras.saving.load_model(folder / "inner.keras")
    np.testing.assert_array_equal(logits(found), expected)
    case.check(found)
    case.check(model)


@pytest.mark.skipif(BACKEND != "jax", reason="elsewhere they are in place")
def test_variables_that_the_outer_model_has(case):
    model, outer = case.model, outer_of(case.model)

    def after_batch(batch, logs):
        for act in (
            lambda: model.save_adapter(case.folder / "none"),
            lambda: model.predict(clouds()[0], verbose=0),
            lambda: model.save(case.folder / "none.keras"),
        ):
            with refuses("model around this task.*jax_state_sync"):
                act()

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=after_batch)
    fit(outer, callbacks=[callback])
    assert not [*case.folder.glob("none*")]
    case.check(model)


@pytest.mark.once
@pytest.mark.skipif(BACKEND != "torch", reason="others compile in seconds")
def test_a_compiled_step_around_it(case, monkeypatch):
    import torch

    # What is compiled is never run: the tracing decides.
    traced = functools.partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", traced)
    outer = outer_of(case.model)
    outer.compile("adam", LOSS, jit_compile=True)
    with pytest.raises(ValueError, match="`jit_compile=False`"):
        outer.fit(*clouds(), batch_size=2, verbose=0)
    outer.compile("adam", LOSS, jit_compile=False)
    outer.fit(*clouds(), batch_size=2, verbose=0)
    case.check(case.model)
