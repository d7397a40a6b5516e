import csv
import dataclasses
import random

import keras
import numpy as np
import pytest

from keras_pointpeft.data import train_validation_split
from keras_pointpeft.training import EpochSeed
from keras_pointpeft.training import NotANumber
from keras_pointpeft.training import Recipe
from keras_pointpeft.training import evaluate
from keras_pointpeft.training import train

RECIPE = Recipe(
    epochs=3,
    batch_size=8,
    learning_rate=2e-2,
    warmup_epochs=0,
    num_points=16,
    selection="held_out",
    held_out_fraction=0.25,
)


def test_it_learns_and_reports(make_model, make_split, tmp_path):
    model, test = make_model(dropout=0.0), make_split(seed=1)
    recipe = dataclasses.replace(RECIPE, epochs=8)
    result = train(
        model,
        make_split(clouds=96),
        test,
        recipe,
        log_dir=tmp_path,
        tensorboard=True,
    )
    assert result.best_accuracy > 0.75
    assert result.train_clouds == 72 and result.test_clouds == 48
    assert result.trained_parameters == model.count_params() - 2 * 16
    assert result.seconds_per_epoch > 0
    assert len(result.history) == 8
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(8))
    for name in ("loss", "accuracy", "val_accuracy", "learning_rate"):
        assert float(rows[-1][name]) == result.history[-1][name]
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_the_best_held_out_epoch_is_kept(make_model, make_split):
    """The chosen weights are those that score best on the held-out part."""
    split, test = make_split(), make_split(seed=1)
    # A rate that destroys what was learned makes the last epoch bad.
    model = make_model()

    class Destroy(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                self.model.optimizer.learning_rate = 10.0

    recipe = dataclasses.replace(RECIPE, schedule="epoch")
    result = train(model, split, test, recipe, callbacks=[Destroy()])
    scores = [row["val_accuracy"] for row in result.history]
    assert scores[result.best_epoch] == max(scores) and result.best_epoch < 2
    assert result.held_out_accuracy == max(scores)
    _, held_out = train_validation_split(split, 0.25, RECIPE.seed)
    found = evaluate(model, held_out, num_points=16).accuracy
    assert found == pytest.approx(max(scores))
    found = evaluate(model, test, num_points=16).accuracy
    assert found == pytest.approx(result.best_accuracy)


@pytest.mark.once
def test_best_on_test_reports_the_best_epoch_on_the_test_split(
    make_model, make_split
):
    # By update, its averages are estimated anew before it is measured.
    recipe = dataclasses.replace(
        RECIPE, selection="best_on_test", schedule="epoch"
    )
    result = train(make_model(), make_split(), make_split(seed=1), recipe)
    scores = [row["val_accuracy"] for row in result.history]
    assert result.best_accuracy == pytest.approx(max(scores))
    assert result.last_accuracy == pytest.approx(scores[-1])
    assert result.train_clouds == 48
    assert result.held_out_accuracy is None


@pytest.mark.once
def test_last_never_looks_at_the_test_split(make_model, make_split):
    recipe = dataclasses.replace(RECIPE, selection="last")
    result = train(make_model(), make_split(), make_split(seed=1), recipe)
    assert "val_accuracy" not in result.history[0]
    assert result.best_accuracy == result.last_accuracy
    assert result.best_epoch == 2


@pytest.mark.once
def test_votes(make_model, make_split):
    recipe = dataclasses.replace(RECIPE, epochs=1, votes=2)
    model, test = make_model(), make_split(seed=1)
    result = train(model, make_split(), test, recipe)
    assert result.votes == 2
    found = evaluate(model, test, 2, batch_size=8, num_points=16).accuracy
    assert result.best_accuracy == pytest.approx(found)


@pytest.mark.once
def test_callbacks_that_set_the_rate_need_a_schedule_by_epoch(
    make_model, make_split
):
    halved = keras.callbacks.LearningRateScheduler(lambda epoch: 1e-2)
    arguments = make_model(), make_split(), make_split(seed=1)
    with pytest.raises(ValueError, match="schedule='epoch'"):
        train(*arguments, RECIPE, callbacks=[halved])
    recipe = dataclasses.replace(RECIPE, epochs=2, schedule="epoch")
    result = train(*arguments, recipe, callbacks=[halved])
    rates = [row["learning_rate"] for row in result.history]
    assert rates == pytest.approx([1e-2, 1e-2])


def test_the_rate_of_a_short_run_falls_within_its_epochs(
    make_model, make_split
):
    recipe = dataclasses.replace(RECIPE, epochs=2, selection="last")
    result = train(make_model(), make_split(), make_split(seed=1), recipe)
    rates = [row["learning_rate"] for row in result.history]
    assert rates == pytest.approx([1e-2, 1e-6], rel=1e-4)


def test_nan_stops_with_advice(make_model, make_split, tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=4, selection="last")

    class Poison(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                kernel = self.model.trainable_variables[0]
                kernel.assign(keras.ops.full(kernel.shape, np.nan))

    split, test = make_split(), make_split(seed=1)
    with pytest.raises(NotANumber, match="epoch 3 .*lower learning rate"):
        train(
            make_model(),
            split,
            test,
            recipe,
            log_dir=tmp_path,
            callbacks=[Poison()],
        )
    # The state that was kept is the one before, and training can go on.
    result = train(make_model(), split, test, recipe, log_dir=tmp_path)
    assert len(result.history) == 4
    assert all(np.isfinite(row["loss"]) for row in result.history)


def test_mixed_precision(make_model, make_split):
    recipe = dataclasses.replace(RECIPE, epochs=1, dtype="mixed_bfloat16")

    model = make_model(dtype="mixed_bfloat16")
    result = train(model, make_split(), make_split(seed=1), recipe)
    assert np.isfinite(result.history[0]["loss"])
    assert all(v.dtype == "float32" for v in model.trainable_variables)


@pytest.mark.once
def test_errors(make_model, make_split):
    split, test = make_split(), make_split(seed=1)
    with pytest.raises(ValueError, match="dtype='mixed_bfloat16'"):
        other = dataclasses.replace(RECIPE, dtype="mixed_bfloat16")
        train(make_model(), split, test, other)
    with pytest.raises(ValueError, match="num_classes=3"):
        train(make_model(classes=4), split, test, RECIPE)
    with pytest.raises(ValueError, match="log_dir=None"):
        train(make_model(), split, test, RECIPE, tensorboard=True)
    renamed = dataclasses.replace(test, class_names=("x", "z", "y"))
    with pytest.raises(ValueError, match="same classes"):
        train(make_model(), split, renamed, RECIPE)
    with pytest.raises(ValueError, match="too small to hold"):
        train(make_model(), split.take([0, 1, 2]), test, RECIPE)


def test_what_an_epoch_draws_depends_on_seed_and_epoch():
    def drawn(seed, epoch, rank=0):
        EpochSeed(seed, rank).on_epoch_begin(epoch)
        return np.random.random(), random.random()

    first = drawn(3, 1)
    assert drawn(3, 2) != first != drawn(4, 1)
    assert drawn(3, 1, rank=1) != first == drawn(3, 1)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="what tensorflow keeps"
)
def test_a_new_epoch_keeps_the_kernels(monkeypatch):
    import tensorflow as tf

    def dropped(seed):
        raise AssertionError("tf.random.set_seed drops all kernels")

    monkeypatch.setattr(tf.random, "set_seed", dropped)
    EpochSeed(0).on_epoch_begin(1)
