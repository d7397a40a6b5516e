import pytest

from keras_pointpeft.training import Recipe

pytestmark = pytest.mark.once


def test_defaults_are_the_published_recipe():
    recipe = Recipe()
    assert (recipe.epochs, recipe.batch_size) == (300, 32)
    assert (recipe.learning_rate, recipe.weight_decay) == (5e-4, 0.05)
    assert (recipe.warmup_epochs, recipe.clip_norm) == (10, 10.0)


def test_round_trip():
    recipe = Recipe(epochs=7, augmentation=["scale_rotate", "jitter"])
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert Recipe.from_dict(recipe.to_dict(), epochs=8).epochs == 8


def test_unknown_names_are_refused_with_a_hint():
    with pytest.raises(ValueError, match="mean learning_rate.*learning_rat'"):
        Recipe.from_dict({"learning_rat": 1e-3})


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0},
        {"votes": 0},
        {"learning_rate": 0.0},
        {"weight_decay": -1.0},
        {"selection": "best"},
        {"held_out_fraction": 1.0},
        {"label_smoothing": 1.0},
        {"num_points": 0},
        {"clip_norm": 0.0},
        {"warmup_epochs": 300},
    ],
)
def test_values_out_of_range(values):
    with pytest.raises(ValueError, match=f"Received: {list(values)[0]}="):
        Recipe(**values)


def test_with_epochs_shortens_the_warmup():
    short = Recipe(cosine_epochs=400).with_epochs(30)
    assert (short.epochs, short.warmup_epochs) == (30, 1)
    assert short.cosine_epochs == 40
    assert Recipe(warmup_epochs=0).with_epochs(5).warmup_epochs == 0


@pytest.mark.parametrize(
    "epochs, warmup", [(1, 0), (2, 0), (3, 0), (4, 1), (10, 1), (60, 2)]
)
def test_short_trainings_reach_the_peak(epochs, warmup):
    assert Recipe(epochs=epochs).warmup_epochs == warmup
    assert Recipe().with_epochs(epochs).warmup_epochs == warmup


def test_other_epochs_take_the_warmup_along():
    card = {"epochs": 60, "warmup_epochs": 10, "cosine_epochs": 120}
    short = Recipe.from_dict(card, epochs=6)
    assert (short.epochs, short.warmup_epochs) == (6, 1)
    assert short.cosine_epochs == 12
    assert Recipe.from_dict(card, epochs=1).warmup_epochs == 0
    own = Recipe.from_dict(card, epochs=6, warmup_epochs=3)
    assert (own.warmup_epochs, own.cosine_epochs) == (3, 120)
