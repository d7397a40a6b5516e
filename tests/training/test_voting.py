import keras
import numpy as np
import pytest

from keras_pointpeft.data import Contract
from keras_pointpeft.data import PointCloudDataset
from keras_pointpeft.data import Split
from keras_pointpeft.training import evaluate
from keras_pointpeft.training import vote_logits
from tests.conftest import small_classifier


def predict(model, points):
    return keras.ops.convert_to_numpy(
        model(keras.ops.convert_to_tensor(points), training=False)
    )


def test_votes_are_the_mean_over_augmented_passes(make_model, make_split):
    model, split = make_model(), make_split(clouds=10)
    found = vote_logits(model, split, votes=3, batch_size=4, num_points=12)
    passes = PointCloudDataset(
        split,
        batch_size=4,
        num_points=12,
        sampling="fps_then_random",
        augmentation="scale_translate",
    )
    expected = []
    for vote in range(3):
        passes.epoch = vote
        expected.append(predict(model, passes.as_arrays()[0]))
    assert np.abs(expected[0] - expected[1]).max() > 1e-3  # redrawn
    np.testing.assert_allclose(found, np.mean(expected, 0), atol=1e-5)


def test_evaluate_without_votes_changes_no_cloud(make_model, make_split):
    model, split = make_model(), make_split(clouds=10)
    right = predict(model, split.points).argmax(1) == split.labels
    evaluation = evaluate(model, split, batch_size=4)
    assert evaluation.accuracy == pytest.approx(right.mean())
    assert evaluation.confusion.sum() == 10
    assert evaluation.votes == 1


@pytest.mark.once
def test_classes_are_those_that_the_model_knows_by_name():
    model = small_classifier()
    model.contract = Contract(class_names=("a", "b", "c"))
    points = np.random.default_rng(0).normal(size=(9, 64, 3))
    labels = np.arange(9) % 3
    points = points.astype("float32")
    known = evaluate(model, Split(points, labels, ("a", "b", "c")))
    other = evaluate(model, Split(points, 2 - labels, ("c", "b", "a")))
    np.testing.assert_array_equal(other.confusion, known.confusion)
    with pytest.raises(ValueError, match="'a', 'b', 'c'.*Received: 'd'"):
        evaluate(model, Split(points, labels, ("a", "b", "d")))


@pytest.mark.once
def test_votes_repeat_with_their_seed(make_model, make_split):
    model, split = make_model(), make_split(clouds=6)
    same = [vote_logits(model, split, votes=2, seed=5) for _ in range(2)]
    np.testing.assert_array_equal(*same)


@pytest.mark.once
def test_errors(make_model, make_split):
    split = make_split(clouds=6)
    with pytest.raises(ValueError, match="votes=0"):
        vote_logits(make_model(), split, votes=0)
    with pytest.raises(ValueError, match="2 classes, fewer than the 3"):
        evaluate(make_model(classes=2), split)
    split.points[4] = np.nan
    with pytest.raises(ValueError, match="1 clouds are not finite.*first at 4"):
        evaluate(make_model(), split)
