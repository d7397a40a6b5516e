import math
import pathlib

import keras
import numpy as np
import pytest

from keras_pointpeft.step.optimizer import make_optimizer
from keras_pointpeft.training import CosineOfUpdates
from keras_pointpeft.training import CosineWithWarmup
from keras_pointpeft.training import Recipe
from keras_pointpeft.training import cosine_with_warmup
from keras_pointpeft.verification.cases_point_mae import verify_lr_schedule

CASE = pathlib.Path(__file__).parents[1] / "golden" / "ops_lr_schedule"


@pytest.mark.once
def test_published_schedules():
    results = verify_lr_schedule(CASE)
    assert len(results) == 5
    for what, difference, tolerance in results:
        assert difference <= tolerance, what


@pytest.mark.once
def test_first_two_epochs_train_at_the_warmup_rate():
    rates = [cosine_with_warmup(e, 5e-4, 300) for e in range(3)]
    assert rates[0] == rates[1] == 1e-6
    assert rates[2] == pytest.approx(1e-6 + (5e-4 - 1e-6) / 10)


@pytest.mark.once
def test_without_warmup_it_starts_at_the_peak():
    assert cosine_with_warmup(0, 1e-3, 20, warmup_epochs=0) == 1e-3
    middle = cosine_with_warmup(11, 1e-3, 20, 0, min_learning_rate=0.0)
    assert middle == pytest.approx(1e-3 * (1 + math.cos(math.pi / 2)) / 2)
    assert cosine_with_warmup(50, 1e-3, 20, 0) == 1e-6


@pytest.mark.once
@pytest.mark.parametrize("epoch, epochs, warmup", [(-1, 9, 1), (0, 0, 1)])
def test_bad_arguments(epoch, epochs, warmup):
    with pytest.raises(ValueError, match="Received"):
        cosine_with_warmup(epoch, 1e-3, epochs, warmup)


def test_callback_sets_and_logs_the_rate():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("adam", loss="mse")
    x = np.ones((4, 2), "float32")
    schedule = CosineWithWarmup(1e-2, 6, warmup_epochs=2)
    history = model.fit(
        x, x[:, :1], epochs=6, verbose=0, callbacks=[schedule]
    ).history
    expected = [cosine_with_warmup(e, 1e-2, 6, 2) for e in range(6)]
    np.testing.assert_allclose(history["learning_rate"], expected, rtol=1e-6)


def rates_of(schedule, count):
    return [
        float(keras.ops.convert_to_numpy(schedule(keras.ops.cast(i, "int32"))))
        for i in range(count)
    ]


def curve(step, peak, steps, warmup, low=1e-6, start=1e-6):
    """Its closed form, in Python's own numbers."""
    if step < warmup:
        return start + (peak - start) * step / warmup
    turn = math.pi * min(step / steps, 1)
    return low + (peak - low) * (1 + math.cos(turn)) / 2


@pytest.mark.parametrize("warmup", [0, 3])
def test_every_update_has_its_own_rate(warmup):
    schedule = CosineOfUpdates(4e-3, 12, warmup)
    expected = [curve(step, 4e-3, 12, warmup) for step in range(15)]
    np.testing.assert_allclose(rates_of(schedule, 15), expected, rtol=2e-6)
    assert expected[12] == 1e-6


@pytest.mark.once
def test_it_is_the_curve_of_epochs():
    """An epoch of one step has the rate that timm means for that epoch."""
    found = rates_of(CosineOfUpdates(5e-4, 30, 5), 29)
    expected = [cosine_with_warmup(e, 5e-4, 30, 5) for e in range(1, 30)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.once
@pytest.mark.parametrize("steps, warmup", [(0, 0), (5, -1)])
def test_bad_numbers_of_steps(steps, warmup):
    with pytest.raises(ValueError, match="Received"):
        CosineOfUpdates(1e-3, steps, warmup)


@pytest.mark.parametrize(
    "options, steps",
    [
        ({}, 6),
        ({"gradient_accumulation": 2}, 6),
        ({"double_step": True}, 12),
    ],
    ids=["plain", "accumulated", "twice"],
)
def test_the_optimizer_counts(options, steps):
    """Each step is as long as its rate; kept steps of torch move it as well."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    schedule = CosineOfUpdates(1e-2, steps, min_learning_rate=0.0)
    model.compile(
        # With a constant gradient each step of Adam is as long as the rate.
        make_optimizer(model, schedule, None, None, epsilon=1e-12, **options),
        loss=lambda y, p: keras.ops.sum(p) * keras.ops.ones((1,)),
    )
    before = float(model.layers[0].bias.numpy()[0])
    ones = np.ones((6, 1), "float32")
    model.fit(ones, ones, batch_size=1, epochs=1, verbose=0, shuffle=False)
    moved = before - float(model.layers[0].bias.numpy()[0])
    rates = [curve(step, 1e-2, steps, 0, 0.0) for step in range(steps)]
    every = options.get("gradient_accumulation", 1)
    assert moved == pytest.approx(sum(rates[every - 1 :: every]), rel=1e-4)


def test_a_compiled_model_is_saved_with_it(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    schedule = CosineOfUpdates(1e-2, 4, 2)
    model.compile(make_optimizer(model, schedule), loss="mse")
    ones = np.ones((3, 1), "float32")
    model.fit(ones, ones, batch_size=1, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    rate = float(keras.ops.convert_to_numpy(loaded.optimizer.learning_rate))
    assert rate == pytest.approx(curve(3, 1e-2, 4, 2))


@pytest.mark.once
def test_short_runs_move_by_update():
    assert Recipe(epochs=4).moves_by == "update"
    assert Recipe(epochs=14).moves_by == "update"
    assert Recipe(epochs=15).moves_by == "epoch"
    assert Recipe().moves_by == "epoch"
    assert Recipe(epochs=4, schedule="epoch").moves_by == "epoch"
    assert Recipe(epochs=300, schedule="update").moves_by == "update"
    assert Recipe().with_epochs(5).moves_by == "update"
    with pytest.raises(ValueError, match="schedule"):
        Recipe(schedule="batch")
