"""Keras' own callback for Orbax, which saves what Keras' files do not."""

import keras
import numpy as np
import pytest

from tests.keras_ways.promise import BACKEND
from tests.keras_ways.promise import fit
from tests.keras_ways.promise import logits
from tests.keras_ways.promise import make_task
from tests.keras_ways.promise import refuses

pytest.importorskip(
    "orbax.checkpoint", reason="orbax-checkpoint is not installed"
)


@pytest.fixture
def saved(case):
    """A trained task, and where Orbax has written each of its epochs."""
    folder = case.folder / "orbax"
    callback = keras.callbacks.OrbaxCheckpoint(
        str(folder), save_on_background=BACKEND == "jax"
    )
    fit(case.model, epochs=2, callbacks=[callback])
    return folder


def test_whole_models_and_weights(case, saved):
    expected = logits(case.model)
    case.check(case.model)
    found = keras.saving.load_model(str(saved))
    assert found.optimizer.iterations == case.model.optimizer.iterations
    # Of the same backbone, and of another one than the checkpoint's.
    twin, other = make_task(), make_task(seed=1)
    for model in (twin, other):
        model.load_weights(str(saved))
    for model in (found, twin, other):
        np.testing.assert_array_equal(logits(model), expected)
    case.check(found)
    case.check(twin)
    with refuses("peft=None.*remember_base"):
        with other.disable_adapters():
            pass


@pytest.mark.once
def test_weights_alone(case):
    folder = case.folder / "orbax"
    callback = keras.callbacks.OrbaxCheckpoint(
        str(folder), save_weights_only=True, save_freq=1, max_to_keep=None
    )
    fit(case.model, callbacks=[callback])
    assert sorted(x.name for x in folder.iterdir()) == ["1", "2"]
    twin = make_task()
    twin.load_weights(str(folder))
    np.testing.assert_array_equal(logits(twin), logits(case.model))
    case.check(twin)


@pytest.mark.once
def test_training_goes_on(case, saved):
    found = keras.saving.load_model(str(saved))
    fit(found)
    case.check(found)
    # Nothing is left of what Orbax did not write: a file holds it all.
    found.save(case.folder / "model.keras")
    case.check(keras.saving.load_model(case.folder / "model.keras"))


@pytest.mark.once
def test_inside_another(case):
    outer = keras.Sequential([keras.Input((None, 3)), case.model])
    folder = case.folder / "orbax"
    callback = keras.callbacks.OrbaxCheckpoint(str(folder))
    fit(outer, callbacks=[callback])
    found = keras.saving.load_model(str(folder))
    np.testing.assert_array_equal(logits(found), logits(outer))
    case.check(found.layers[-1])
