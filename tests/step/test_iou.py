import keras
import numpy as np
import pytest

from keras_pointpeft.step.iou import MeanIoU


@pytest.mark.parametrize("ignored", (None, 1))
def test_as_counted_in_a_loop(ignored):
    rng = np.random.default_rng(0)
    metric = MeanIoU(4, ignore_class=ignored)
    both, either = np.zeros(4), np.zeros(4)
    for _ in range(3):
        labels = rng.integers(-1, 5, (2, 30)).astype("int32")
        scores = rng.random((2, 30, 4)).astype("float32")
        weights = rng.integers(0, 3, (2, 30)).astype("int32")
        metric.update_state(labels, scores, weights)
        found = scores.argmax(-1)
        for true, guess, weight in zip(
            labels.ravel(), found.ravel(), weights.ravel()
        ):
            if not 0 <= true < 4 or true == ignored:
                continue
            both[true] += weight * (true == guess)
            either[true] += weight
            either[guess] += weight * (true != guess)
    seen = either > 0
    expected = np.mean(both[seen] / either[seen])
    result = float(keras.ops.convert_to_numpy(metric.result()))
    assert abs(result - expected) < 1e-6
