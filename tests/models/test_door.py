"""A task looks at what comes in by each of its methods."""

import warnings

import keras
import numpy as np
import pytest

from keras_pointpeft import data
from keras_pointpeft import models
from keras_pointpeft.data.appearance import look
from keras_pointpeft.step.iou import ClassMeanIoU
from keras_pointpeft.step.iou import InstanceMeanIoU

from ..conftest import small_backbone
from ..conftest import small_classifier


@pytest.fixture(scope="module")
def model():
    model = small_classifier()
    model.compile()
    return model


@pytest.fixture(scope="module")
def parts():
    return models.PartSegmenter(
        small_backbone(),
        num_classes=np.int64(3),
        num_categories=np.int64(2),
        category_parts=((0, 1), (0, 1, 2)),
        propagation_dims=(8, 8),
        head_dims=(8,),
    )


def ways(model, points, labels):
    yield lambda: model.fit(points, labels, verbose=0)
    yield lambda: model.fit(
        points[:2] * 0, labels[:2] * 0, validation_data=(points, labels)
    )
    yield lambda: model.evaluate(points, labels, verbose=0)
    yield lambda: model.train_on_batch(points, labels)
    yield lambda: model.test_on_batch(points, labels)


def test_bad_points(model, clouds):
    points, labels = clouds
    bad = points.copy()
    bad[2, 0, 0] = np.inf
    calls = [
        *ways(model, bad, labels),
        lambda: model.predict(bad, verbose=0),
        lambda: model.predict_on_batch(bad),
        lambda: model.backbone.extract(bad),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="clouds number 2"):
            call()
    for call in (
        lambda: model.predict(points[0], verbose=0),
        lambda: model.predict_on_batch(points[0]),
        lambda: model.backbone.extract(points[0]),
        lambda: model(points[0]),
        lambda: keras.Sequential([model])(points[0]),
    ):
        with pytest.raises(ValueError, match=r"\(64, 3\)") as error:
            call()
        assert len(str(error.value)) < 300


def test_bad_labels(model, clouds):
    points, labels = clouds
    weights = model.get_weights()
    for wrong, message in (
        (labels + 1, "subtract 1"),
        (labels - 1, "between 0 and 2"),
        (np.eye(3)[labels], "one-hot"),
    ):
        for call in ways(model, points, wrong):
            with pytest.raises(ValueError, match=message):
                call()
    for before, after in zip(weights, model.get_weights()):
        np.testing.assert_array_equal(before, after)


@pytest.mark.once
def test_another_loss_takes_one_hot(clouds):
    points, labels = clouds
    model = small_classifier(num_classes=np.uint8(3))
    model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    model.fit(points, np.eye(3)[labels], verbose=0)
    assert model.get_config()["num_classes"] == 3


def test_clouds_in_a_list(model, clouds):
    points, _ = clouds
    found = model.predict([cloud.astype("float64") for cloud in points])
    np.testing.assert_allclose(found, model.predict(points), atol=1e-5)


def test_points_without_a_label_change_nothing(parts, clouds):
    points, categories = clouds[0], clouds[1] % 2
    labels = np.random.default_rng(0).integers(0, 2, points.shape[:2])
    labels[:, 40:] = -1
    x = {"points": points, "category": categories}
    parts.compile()
    known = parts.evaluate(x, labels, return_dict=True, verbose=0)
    labels[:, 40:] = 255
    other = parts.evaluate(x, labels.astype("uint8"), return_dict=True)
    assert known == other
    # By hand.
    log = parts.predict(x, verbose=0)[:, :40]
    picked = np.take_along_axis(log, labels[:, :40, None].astype(int), -1)
    np.testing.assert_allclose(known["loss"], -picked.mean(), rtol=1e-4)
    with pytest.raises(ValueError, match="between 0 and 1"):
        parts.predict_parts(points, categories + 1)


@pytest.mark.once
def test_metrics_know_the_categories(parts, clouds):
    """A cloud of the larger category without its third part."""
    points = clouds[0][:2]
    labels = np.zeros(points.shape[:2], int)
    x = {"points": points, "category": np.array([1, 1])}
    parts.compile(metrics=[InstanceMeanIoU(parts.category_parts)])
    found = parts.evaluate(x, labels, return_dict=True, verbose=0)
    scores = parts.predict(x, verbose=0)
    metric = InstanceMeanIoU(parts.category_parts)
    metric.update_state(labels, scores, category=np.array([1, 1]))
    expected = float(metric.result())
    np.testing.assert_allclose(found["instance_miou"], expected, rtol=1e-5)


@pytest.mark.once
def test_categories_that_share_parts():
    labels = np.array([[0, 1, 2, 2], [0, 1, 0, 1]])
    scores = np.eye(3)[labels] * 10.0
    for kind in (InstanceMeanIoU, ClassMeanIoU):
        metric = kind(((0, 1), (0, 1, 2)))
        metric.update_state(labels, scores)
        assert float(metric.result()) == 1
        metric.reset_state()
        # Told another category: the third part is found nowhere.
        metric.update_state(labels[:1], scores[:1], category=np.array([0]))
        assert float(metric.result()) < 1


@pytest.mark.once
def test_scenes_with_points_without_a_label(clouds):
    model = models.SemanticSegmenter(
        small_backbone(), num_classes=3, propagation_dims=(8, 8), head_dims=(8,)
    )
    rng = np.random.default_rng(0)
    points = rng.uniform(0, (3, 2, 2), (600, 3)) + (4e5, 5.4e6, 352)
    labels = np.arange(600) % 4 - 1
    room = data.Room(points, labels, "plot")
    batches = data.RoomDataset([room], 2, 64, steps=2, column_min_points=50)
    model.fit(batches, verbose=0)
    found = model.predict_room(room, num_points=64)
    assert found.shape == (600,) and found.min() >= 0
    np.testing.assert_array_equal(
        found, model.predict_room(points - (4e5, 5.4e6, 352), num_points=64)
    )


def as_tensor(points):
    return keras.ops.convert_to_tensor(points)


def as_dataset(points):
    return data.PointCloudDataset(points, batch_size=3)


def as_generator(points):
    return (points[i : i + 3] for i in (0, 3))


# Ways to prepare a cloud that are not those of training.
OTHERWISE = {
    "scale": lambda points: points * 20,
    "place": lambda points: points + 40,
    "number of points": lambda points: np.concatenate((points, points), 1),
    "sampling": lambda points: points * (1, 1, 1e-2),
}


@pytest.mark.once
@pytest.mark.parametrize(
    "given", [np.asarray, as_tensor, as_dataset, as_generator]
)
@pytest.mark.parametrize("what", [None, *OTHERWISE])
def test_what_training_did_not_see_is_warned_of(
    clouds, monkeypatch, given, what
):
    model, points = small_classifier(), data.unit_sphere(clouds[0])
    model.contract = data.Contract(appearance=look(points))
    # What Keras would do with it is to take batch by batch.
    monkeypatch.setattr(
        keras.Model,
        "predict",
        lambda _, x: [x[0] if hasattr(x, "__getitem__") else next(x)],
    )
    if what is not None:
        points = np.asarray(OTHERWISE[what](points), "float32")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model.predict(given(points))
    said = [str(w.message) for w in seen if "not as those" in str(w.message)]
    assert len(said) == (what is not None)
    assert not said or f"the {what}" in said[0]


def nested(kind, model):
    if kind == "sequential":
        return keras.Sequential([model, keras.layers.Softmax()])
    inputs = keras.Input((64, 3))
    return keras.Model(inputs, keras.layers.Softmax()(model(inputs)))


@pytest.mark.parametrize(
    "kind", ["sequential", pytest.param("functional", marks=pytest.mark.once)]
)
def test_within_another_model(model, clouds, kind):
    points, labels = clouds
    outer = nested(kind, model)
    outer.compile(loss="sparse_categorical_crossentropy")
    bad = points.copy()
    bad[2, 0, 0] = np.nan
    for given in (bad, keras.ops.convert_to_tensor(bad)):
        with pytest.raises(ValueError, match="clouds number 2"):
            outer(given)
    far = points + np.float32(1e6)
    with pytest.raises(ValueError, match="float32"):
        outer(keras.ops.convert_to_tensor(far))
    weights = model.get_weights()
    if keras.backend.backend() == "torch":
        for call in (
            lambda: outer.fit(bad, labels, verbose=0),
            lambda: outer.evaluate(bad, labels, verbose=0),
            lambda: outer.predict(bad, verbose=0),
        ):
            # Shuffled, and so at any place of the batch.
            with pytest.raises(ValueError, match="1 of 6 clouds hold NaN"):
                call()
    else:
        # In a compiled step nothing can be looked at; it shows, though.
        assert np.isnan(outer.evaluate(bad, labels, verbose=0))
    # The door is there for what is not its own.
    for x, y in ((bad, labels), (points, labels + 1), (points, labels - 1)):
        with pytest.raises(ValueError, match="Received"):
            outer.fit(*model.door.source(x, y), verbose=0)
    for before, after in zip(weights, model.get_weights()):
        np.testing.assert_array_equal(before, after)
    outer.fit(*model.door.source(points, labels), verbose=0)
