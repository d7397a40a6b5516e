import keras
import numpy as np
import pytest

from keras_pointpeft.training import ClassMeanIoU
from keras_pointpeft.training import InstanceMeanIoU
from keras_pointpeft.training import WeightedCrossentropy
from keras_pointpeft.training import class_weights
from keras_pointpeft.training import mean_iou

PARTS = ((0, 1), (2, 3, 4), (5,))


def published(labels, scores):
    """The benchmark's loop, cloud by cloud and part by part."""
    by_category = {number: [] for number in range(len(PARTS))}
    for true, score in zip(labels, scores):
        category = next(c for c, own in enumerate(PARTS) if true[0] in own)
        own = PARTS[category]
        predicted = np.array(own)[score[:, list(own)].argmax(axis=-1)]
        ious = []
        for part in own:
            there, found = true == part, predicted == part
            if not there.any() and not found.any():
                ious.append(1.0)
            else:
                ious.append((there & found).sum() / (there | found).sum())
        by_category[category].append(np.mean(ious))
    every = [value for values in by_category.values() for value in values]
    means = [np.mean(values) for values in by_category.values() if values]
    return np.mean(every), np.mean(means)


def make_batch(seed, clouds=6, points=40):
    rng = np.random.default_rng(seed)
    labels = []
    for number in range(clouds):
        own = PARTS[number % 2]  # no cloud of the third
        # The last part of the second is never there.
        labels.append(rng.choice(own[:2], points))
    scores = rng.normal(size=(clouds, points, 6)).astype("float32")
    return np.array(labels), scores


@pytest.mark.parametrize("kind", [0, 1])
def test_as_published(kind):
    metric = (InstanceMeanIoU, ClassMeanIoU)[kind](PARTS)
    batches = [make_batch(seed) for seed in range(3)]
    for batch in batches:
        metric.update_state(*batch)
    labels, scores = (np.concatenate(part) for part in zip(*batches))
    expected = published(labels, scores)[kind]
    assert float(metric.result()) == pytest.approx(expected, abs=1e-5)
    metric.reset_state()
    assert float(metric.result()) == 0.0


def test_metric_configs():
    metric = InstanceMeanIoU(PARTS)
    config = keras.saving.serialize_keras_object(metric)
    again = keras.saving.deserialize_keras_object(config)
    assert again.category_parts == PARTS and again.name == "instance_miou"


def test_weighted_crossentropy():
    labels, scores = make_batch(0)
    weights = (1.0, 2.0, 1.0, 3.0, 1.0, 1.0)
    shifted = scores - scores.max(axis=-1, keepdims=True)
    log = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    own = np.take_along_axis(log, labels[..., None], -1)[..., 0]
    weight = np.array(weights)[labels]
    expected = -(weight * own).sum() / weight.sum()
    loss = WeightedCrossentropy(weights)
    assert float(loss(labels, scores)) == pytest.approx(expected, rel=1e-5)
    plain = WeightedCrossentropy()
    assert float(plain(labels, scores)) == pytest.approx(-own.mean(), rel=1e-5)
    again = WeightedCrossentropy.from_config(loss.get_config())
    assert again.class_weights == weights


def test_class_weights_are_cube_roots():
    labels = [np.repeat([0, 1], [8, 1]), np.array([2] * 8)]
    found = class_weights(labels, 4)
    np.testing.assert_allclose(found, (1.0, 2.0, 1.0, 2.0), rtol=1e-6)
    with pytest.raises(ValueError, match="below `num_classes`.*Received: 2"):
        class_weights(labels, 2)


def test_mean_iou_leaves_absent_classes_out():
    confusion = np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]])
    assert mean_iou(confusion) == pytest.approx((3 / 4 + 2 / 3) / 2)
    with pytest.raises(ValueError, match="at least one point"):
        mean_iou(np.zeros((2, 2), int))
