import dataclasses

import keras
import numpy as np
import pytest

from keras_pointpeft.layers import BatchNorm
from keras_pointpeft.peft import DAPT
from keras_pointpeft.training import Recipe
from keras_pointpeft.training import averages
from keras_pointpeft.training import train
from keras_pointpeft.training import trainer
from keras_pointpeft.training.callbacks import snapshot
from tests.conftest import small_classifier


def numbers(variable):
    return np.array(keras.ops.convert_to_numpy(variable))


class Batches(keras.utils.PyDataset):
    """Some random batches of different sizes and means."""

    def __init__(self, count=3):
        super().__init__()
        rng = np.random.default_rng(4)
        self.x = [
            rng.normal(i, 1 + i, (4 + i, 5)).astype("float32")
            for i in range(count)
        ]

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], None


@pytest.mark.parametrize(
    "norm, unbiased",
    [(BatchNorm, 1), (keras.layers.BatchNormalization, 0)],
    ids=["ours", "keras"],
)
def test_averages_are_means_over_the_batches(norm, unbiased):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(6), norm(), keras.layers.Dropout(0.5)]
    frozen = norm(trainable=False)
    model = keras.Sequential([keras.Input((5,)), *layers, frozen])
    batches = Batches()
    before = {v.path: numbers(v) for v in model.variables}
    averages.renew(model, batches)
    kernel, bias = map(numbers, layers[0].weights)
    hidden = [x @ kernel + bias for x in batches.x]
    means = np.mean([h.mean(0) for h in hidden], axis=0)
    variances = np.mean([h.var(0, ddof=unbiased) for h in hidden], axis=0)
    found = layers[1].moving_mean, layers[1].moving_variance
    np.testing.assert_allclose(numbers(found[0]), means, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(numbers(found[1]), variances, rtol=1e-4)
    # Weights, masks to come and what is frozen are as they were.
    changed = {v.path for v in found}
    for variable in model.variables:
        if variable.path not in changed:
            np.testing.assert_array_equal(
                numbers(variable), before[variable.path], variable.path
            )


@pytest.mark.once
def test_a_large_set_is_not_looked_through():
    model = keras.Sequential([keras.Input((5,)), BatchNorm()])
    batches = Batches(averages.BATCHES + 5)
    averages.renew(model, batches)
    seen = batches.x[: averages.BATCHES]
    expected = np.mean([x.mean(0) for x in seen], axis=0)
    found = numbers(model.layers[-1].moving_mean)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.once
def test_of_a_task_the_norms_of_its_head_train():
    model = small_classifier(peft=DAPT())
    names = [norm.path for norm in averages.trained_norms(model)]
    assert names and all(name.startswith("head/") for name in names)


RECIPE = Recipe(
    epochs=2,
    batch_size=8,
    learning_rate=2e-2,
    num_points=16,
    selection="last",
    augmentation="none",
    sampling="first",
)


def off(model, split):
    """How far its averages are from what its weights make of the clouds."""
    _, dense, norm, *_ = model.layers
    points = split.points[:, :16].astype("float32")
    hidden = points @ numbers(dense.kernel) + numbers(dense.bias)
    # Batches of one size: the mean of their means is the mean of all.
    means = np.maximum(hidden, 0).mean((0, 1))
    return np.abs(numbers(norm.moving_mean) - means).max()


def test_a_short_run_ends_with_them(make_model, make_split):
    model, split = make_model(), make_split()
    train(model, split, make_split(seed=1), RECIPE)
    assert off(model, split) < 1e-5


@pytest.mark.once
def test_a_run_by_epoch_ends_as_published(make_model, make_split):
    model, split = make_model(), make_split()
    recipe = dataclasses.replace(RECIPE, schedule="epoch")
    train(model, split, make_split(seed=1), recipe)
    assert off(model, split) > 1e-3


@pytest.mark.once
def test_the_selected_epoch_has_its_own(make_model, make_split, monkeypatch):
    def first(self, epoch, logs=None):
        if epoch == 0:
            self.epoch, self.score = 0, (1.0, 0.0)
            self.values = snapshot(self.model.variables)

    monkeypatch.setattr(trainer.BestEpoch, "on_epoch_end", first)
    recipe = dataclasses.replace(RECIPE, selection="best_on_test")
    model, split = make_model(), make_split()
    result = train(model, split, make_split(seed=1), recipe)
    assert result.best_epoch == 0
    assert off(model, split) < 1e-5


def test_epochs_are_chosen_by_averages_of_their_own(make_model, make_split):
    """And are trained as if nobody chose."""
    model, split, test = make_model(), make_split(), make_split(seed=1)
    validated = []

    class Look(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            validated.append(off(self.model, split))

    recipe = dataclasses.replace(RECIPE, selection="best_on_test")
    result = train(model, split, test, recipe, callbacks=[Look()])
    assert len(validated) == RECIPE.epochs and max(validated) < 1e-5
    plain = train(make_model(), split, test, RECIPE)
    for chosen, last in zip(result.history, plain.history, strict=True):
        assert chosen["loss"] == pytest.approx(last["loss"], rel=1e-6)
    # By epoch, as published, they are those that have gathered.
    validated.clear()
    recipe = dataclasses.replace(recipe, schedule="epoch")
    train(make_model(), split, test, recipe, callbacks=[Look()])
    assert len(validated) == RECIPE.epochs and min(validated) > 1e-3
