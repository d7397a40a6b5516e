import keras
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from keras_pointpeft.training import SmoothedCrossentropy
from keras_pointpeft.training import confusion_matrix
from keras_pointpeft.training import mean_class_accuracy
from keras_pointpeft.training import overall_accuracy


@pytest.mark.once
def test_against_sklearn():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 5, (2, 200))
    confusion = confusion_matrix(labels, predictions, 5)
    np.testing.assert_array_equal(
        confusion, sklearn_metrics.confusion_matrix(labels, predictions)
    )
    assert overall_accuracy(confusion) == pytest.approx(
        sklearn_metrics.accuracy_score(labels, predictions)
    )
    assert mean_class_accuracy(confusion) == pytest.approx(
        sklearn_metrics.balanced_accuracy_score(labels, predictions)
    )


@pytest.mark.once
def test_a_class_without_clouds_is_left_out():
    confusion = confusion_matrix(np.array([0, 0, 1]), np.array([0, 2, 1]), 3)
    assert mean_class_accuracy(confusion) == pytest.approx((0.5 + 1.0) / 2)


@pytest.mark.once
@pytest.mark.parametrize(
    "labels, predictions",
    [([0, 1], [0]), ([0, 3], [0, 1]), ([0, 1], [0, -1])],
)
def test_bad_arrays(labels, predictions):
    with pytest.raises(ValueError, match="Received"):
        confusion_matrix(labels, predictions, 3)


@pytest.mark.once
def test_no_clouds():
    empty = confusion_matrix(np.zeros(0, int), np.zeros(0, int), 3)
    for measure in (overall_accuracy, mean_class_accuracy):
        with pytest.raises(ValueError, match="no clouds"):
            measure(empty)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_smoothed_crossentropy(smoothing):
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(6, 4)).astype("float32")
    labels = rng.integers(0, 4, 6)
    # Written out: 1 - eps for the class, eps / (n - 1) for the others.
    target = np.full((6, 4), smoothing / 3)
    target[np.arange(6), labels] = 1 - smoothing
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    expected = -(target * log_softmax).sum(1).mean()
    loss = SmoothedCrossentropy(smoothing)
    found = loss(labels, keras.ops.convert_to_tensor(logits))
    assert float(found) == pytest.approx(expected, rel=1e-5)
    clone = SmoothedCrossentropy.from_config(loss.get_config())
    assert clone.smoothing == smoothing


def test_class_weights_multiply_the_losses_of_their_clouds():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 3)).astype("float32")
    labels = np.array([0, 1, 2, 2, 1, 0])
    weights = (0.5, 2.0, 0.0)
    plain = SmoothedCrossentropy(0.1, reduction=None)(labels, logits)
    loss = SmoothedCrossentropy(0.1, weights, reduction=None)
    found = np.asarray(keras.ops.convert_to_numpy(loss(labels, logits)))
    plain = np.asarray(keras.ops.convert_to_numpy(plain))
    np.testing.assert_allclose(found, plain * np.array(weights)[labels], 1e-6)
    clone = SmoothedCrossentropy.from_config(loss.get_config())
    assert clone.class_weights == weights
