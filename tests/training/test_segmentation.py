import dataclasses

import keras
import numpy as np
import pytest

from keras_pointpeft import models
from keras_pointpeft.data import Room
from keras_pointpeft.data import Split
from keras_pointpeft.experiments.runs import part_arguments
from keras_pointpeft.step.optimizer import TwiceAdamW
from keras_pointpeft.step.optimizer import make_optimizer
from keras_pointpeft.training import Recipe
from keras_pointpeft.training import class_weights
from keras_pointpeft.training import objective_of
from keras_pointpeft.training import train

pytestmark = pytest.mark.long

PARTS = ((0, 1), (2, 3))
RECIPE = Recipe(
    epochs=4,
    batch_size=8,
    learning_rate=1e-2,
    warmup_epochs=0,
    num_points=48,
    augmentation="none",
    sampling="first",
    evaluation_sampling="first",
    selection="last",
)


def make_backbone():
    return models.PointMAEBackbone(
        8, 8, 24, 3, 3, (8, 12, 16), use_class_token=False
    )


def part_split(clouds=24, seed=0, name="bars"):
    """Upper and lower halves of long and of round things."""
    rng = np.random.default_rng(seed)
    category = np.arange(clouds) % 2
    points = rng.uniform(-1, 1, (clouds, 48, 3)).astype("float32")
    points[category == 1, :, 0] *= 0.2
    labels = 2 * category[:, None] + (points[..., 2] > 0)
    return Split(
        points, category, ("long", "round"), name=name, part_labels=labels
    )


def rooms(count=3, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        points = rng.uniform(0, (3, 3, 2), (2000, 3)).astype("float32")
        labels = (points[:, 2] > 1).astype("int32")
        made.append(Room(points, labels, f"room_{number}"))
    return made


def part_model():
    keras.utils.set_random_seed(0)
    return models.PartSegmenter(
        make_backbone(), 4, 2, PARTS, propagation_dims=(24, 16), head_dims=(16,)
    )


@pytest.mark.eager
def test_parts_are_learned_selected_and_measured(tmp_path):
    recipe = dataclasses.replace(
        RECIPE, selection="best_on_test", epochs=6, votes=2
    )
    recipe = dataclasses.replace(recipe, augmentation="scale_translate")
    model, test = part_model(), part_split(seed=1)
    result = train(model, part_split(), test, recipe, log_dir=tmp_path)
    assert result.figures["instance_miou"] > 0.6
    assert set(result.figures) == {
        "instance_miou",
        "class_miou",
        "accuracy",
        "mean_class_accuracy",
    }
    assert result.best_accuracy == result.figures["accuracy"]
    scores = [row["val_instance_miou"] for row in result.history]
    assert result.best_epoch == int(np.argmax(scores))
    # Measured once more without votes, by Keras and by the objective.
    plain = dataclasses.replace(recipe, votes=1)
    found = objective_of(model).measure(test, plain)
    batches = objective_of(model).fixed_batches(test, plain)
    theirs = model.evaluate(batches, verbose=0, return_dict=True)
    assert found["instance_miou"] == pytest.approx(
        theirs["instance_miou"], abs=1e-5
    )
    parts = model.predict_parts(test.points, test.labels)
    assert found["accuracy"] == pytest.approx(
        (parts == test.part_labels).mean()
    )


@pytest.mark.once
def test_a_killed_run_of_parts_goes_on(tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=2)
    split, test = part_split(), part_split(seed=1)
    whole = train(part_model(), split, test, recipe)

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                raise KeyboardInterrupt

    # After the state is written: callbacks of the caller come before it.
    first = dataclasses.replace(recipe, cosine_epochs=2)
    with pytest.raises(KeyboardInterrupt):
        train(
            part_model(), split, test, first, tmp_path / "a", callbacks=[Stop()]
        )
    again = train(part_model(), split, test, first, tmp_path / "b")
    assert again.figures == pytest.approx(whole.figures)


@pytest.mark.once
def test_nothing_is_trained_that_could_not_be_measured():
    split, test = part_split(), part_split(seed=1)
    bare = np.full_like(split.part_labels, -1)
    turned = test.class_names[::-1]
    for changes, message in (
        ({"part_labels": bare}, "no point with a label in bars"),
        ({"class_names": turned}, "same classes.*with_classes"),
        ({"part_names": tuple("abcd")}, "same parts.*with_classes"),
    ):
        other = dataclasses.replace(test, **changes)
        with pytest.raises(ValueError, match=message):
            train(part_model(), split, other, RECIPE)
    # Matched by their names, labels mean the same.
    other = dataclasses.replace(
        test, class_names=turned, labels=1 - test.labels
    )
    found = other.with_classes(split.class_names, split.part_names)
    np.testing.assert_array_equal(found.labels, test.labels)
    objective_of(part_model()).check(split, found)
    (room,) = rooms(1)
    blank = dataclasses.replace(room, labels=np.full_like(room.labels, -1))
    scenes = objective_of(
        models.SemanticSegmenter(
            make_backbone(), 2, propagation_dims=(24, 16), head_dims=(16,)
        )
    )
    scenes.check([room, blank], [blank, room])
    for pair in (([room], [blank]), ([blank], [room])):
        with pytest.raises(ValueError, match="no point with a label in room_0"):
            scenes.check(*pair)


@pytest.mark.once
def test_scenes():
    recipe = dataclasses.replace(
        RECIPE,
        epochs=3,
        column_size=1.5,
        column_min_points=48,
        selection="held_out",
        held_out_fraction=0.3,
    )
    keras.utils.set_random_seed(0)
    model = models.SemanticSegmenter(
        make_backbone(), 2, propagation_dims=(24, 16), head_dims=(16,)
    )
    result = train(model, rooms(), rooms(1, seed=1), recipe)
    assert set(result.figures) == {"miou", "accuracy", "mean_class_accuracy"}
    assert result.figures["miou"] > 0.5
    assert result.train_clouds == 2 and result.test_clouds == 1
    assert "val_miou" in result.history[0]


@pytest.mark.once
def test_splits_that_do_not_fit_are_refused():
    model = part_model()
    without = dataclasses.replace(part_split(), part_labels=None)
    with pytest.raises(ValueError, match="part labels.*Received: bars"):
        train(model, without, part_split(), RECIPE)
    wrong = part_split()
    wrong.part_labels[0, 0] = 4
    with pytest.raises(ValueError, match="4 parts. Received: bars with part 4"):
        train(model, wrong, part_split(), RECIPE)


@pytest.mark.once
def test_arguments_of_own_parts():
    found = part_arguments(part_split(), part_split(seed=1))
    assert found == {
        "num_classes": 4,
        "num_categories": 2,
        "category_parts": PARTS,
    }
    assert class_weights(part_split().part_labels, 4)


def test_two_steps_per_batch():
    """The first step without clipping, the second with it."""
    start, gradient = np.array([1.0, -2.0]), np.array([3.0, 4.0])

    def run(optimizers):
        variable = keras.Variable(start, name="kernel", dtype="float32")
        for optimizer in optimizers(variable):
            optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")])
        return keras.ops.convert_to_numpy(variable)

    def twice(variable):
        optimizer = TwiceAdamW(0.1, weight_decay=0.0, global_clipnorm=1.0)
        optimizer.build([variable])
        return [optimizer]

    found = run(twice)
    # Adam by hand: moments of the raw, then of the clipped gradient.
    m = v = 0.0
    value = start.copy()
    for step, g in enumerate((gradient, gradient / 5), start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        rise = (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-7)
        value -= 0.1 * rise
    np.testing.assert_allclose(found, value, rtol=1e-4)
    optimizer = make_optimizer(part_model(), double_step=True)
    assert isinstance(optimizer, TwiceAdamW)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again, TwiceAdamW)
