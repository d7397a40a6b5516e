import math
import pathlib

import keras
import numpy as np
import pytest

from keras_pointpeft.training import CosineWithWarmup
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
