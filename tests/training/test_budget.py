"""Budgets of small sets, and by what an epoch is chosen."""

import warnings

import numpy as np
import pytest

from keras_pointpeft import data
from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.training.budget import settled
from keras_pointpeft.training.budget import suited
from keras_pointpeft.training.budget import warn_if_short
from keras_pointpeft.training.objectives import objective_of
from keras_pointpeft.training.recipe import Recipe
from tests.conftest import small_backbone
from tests.conftest import small_classifier

pytestmark = pytest.mark.once


def split_of(count, classes=2, rare=None):
    labels = np.arange(count) % classes
    if rare is not None:
        labels = (np.arange(count) < rare).astype(int)
    points = np.zeros((count, 16, 3), "float32")
    return data.Split(points, labels, [str(i) for i in range(classes)])


@pytest.mark.parametrize(
    "clouds, batch_size, updates",
    [(44, 8, 400), (71, 16, 400), (200, 32, 400), (5000, 32, None)],
)
def test_small_sets_get_small_batches_and_enough_updates(
    clouds, batch_size, updates
):
    recipe = suited(Recipe(epochs=10), clouds)
    assert (recipe.batch_size, recipe.updates) == (batch_size, updates)
    given = suited(Recipe(epochs=10), clouds, length=False, batches=False)
    assert given == Recipe(epochs=10)


@pytest.mark.parametrize(
    "count, accumulation, epochs", [(64, 1, 25), (70, 1, 20), (64, 2, 50)]
)
def test_updates_become_epochs(count, accumulation, epochs):
    recipe = Recipe(
        updates=100,
        batch_size=16,
        gradient_accumulation=accumulation,
        selection="last",
    )
    found = settled(recipe, small_classifier(), split_of(count))
    assert found.epochs == epochs
    assert found.warmup_epochs == Recipe(epochs=epochs).warmup_epochs
    assert settled(found, small_classifier(), split_of(count)) == found


def test_an_epoch_is_chosen_by_a_part_that_can_choose():
    model = small_classifier()
    for count, selection in ((994, "last"), (1000, "held_out")):
        recipe = settled(Recipe(), model, split_of(count))
        assert recipe.selection == selection
    recipe = settled(Recipe(selection="held_out"), model, split_of(40))
    assert recipe.selection == "held_out"


def test_what_cannot_be_held_out_chooses_no_epoch():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 9, (40_000, 3))
    halves = np.split(points, 2)
    one, two = (
        [data.Room(x, np.zeros(len(x), "int32"), f"plot {i}") for i, x in each]
        for each in ([(0, points)], [*enumerate(halves)])
    )
    recipe = Recipe(num_points=32)  # 1,250 columns
    for rooms, selection in ((one, "last"), (two, "held_out")):
        assert settled(recipe, None, rooms).selection == selection
    # A class keeps its last cloud: of 1,000 classes of one, none is left.
    for classes, selection in ((1000, "last"), (900, "held_out")):
        split = split_of(1000, classes)
        assert settled(Recipe(), None, split).selection == selection


def test_balanced_weights_count_every_class_alike():
    split = split_of(40, rare=10)
    recipe = settled(
        Recipe(class_weights="balanced"), small_classifier(), split
    )
    weights = np.array(recipe.class_weights)
    counts = np.bincount(split.labels)
    assert weights * counts == pytest.approx(20.0)
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1.0)
    with pytest.raises(ValueError, match="each of the 2 classes"):
        settled(Recipe(class_weights=(1, 2, 3)), small_classifier(), split)


def test_what_is_balanced_reaches_training():
    model, split = small_classifier(), split_of(40, rare=10)
    recipe = Recipe(class_weights="balanced", balanced_sampling=True)
    recipe = settled(recipe, model, split)
    objective = objective_of(model)
    assert objective.loss(recipe).class_weights == recipe.class_weights
    batches = objective.training_batches(split, recipe)
    seen = np.concatenate([np.asarray(labels) for _, labels in batches])
    assert abs(np.mean(seen) - 0.5) < 0.1  # a quarter of the clouds


def test_what_segmentation_has_of_its_own_is_refused():
    split = data.Split(
        np.zeros((4, 16, 3), "float32"),
        np.zeros(4),
        ("a",),
        part_labels=np.zeros((4, 16)),
    )
    with pytest.raises(ValueError, match="of its own"):
        settled(Recipe(balanced_sampling=True), small_classifier(), split)


def test_a_run_that_is_over_at_once_is_warned_of():
    with pytest.warns(UserWarning, match="20 updates .10 epochs of 2 batches"):
        warn_if_short(Recipe(epochs=10), 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_short(Recipe(epochs=100), 2)


@pytest.mark.parametrize("clouds, size", [(24, 1), (1, 8)])
def test_batches_of_one_are_refused_behind_a_batch_norm(clouds, size):
    compared, alone = (
        PointCloudClassifier(
            small_backbone(), 2, head_dims=(8,), head_norm=norm
        )
        for norm in (True, False)
    )
    with pytest.raises(ValueError, match="nothing is learnt"):
        compared.check_batches(clouds, size)
    alone.check_batches(clouds, size)
    compared.check_batches(24, 2)
