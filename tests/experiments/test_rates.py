"""Which learning rate a method gets, and by which clouds."""

import pytest

from keras_pointpeft.experiments import rates
from keras_pointpeft.experiments import runs
from keras_pointpeft.experiments.comparison import Entrant
from keras_pointpeft.presets import results

pytestmark = pytest.mark.once


@pytest.fixture
def entrant():
    return Entrant.from_text("linear", "pointmaetiny", "shapes")


@pytest.fixture
def tried(monkeypatch):
    """Figures by rate in place of training, and the rates that were tried."""
    figures, order = {}, []

    def fake(entrant, recipe, *rest):
        order.append(recipe.learning_rate)
        return {"held_out": figures[recipe.learning_rate]}

    monkeypatch.setattr(rates, "_try", fake)
    return figures, order


def choose(entrant, path, factors=(0.25, 1.0, 4.0), **options):
    recipe = runs.recipe_for(entrant.preset, **options)
    return rates.chosen(entrant, recipe, factors, None, "shapes", path)


def test_the_best_rate_is_chosen_and_kept(entrant, tried, tmp_path):
    figures, order = tried
    figures.update({0.001: 60.0, 0.004: 65.0, 0.016: 70.0})
    path = tmp_path / "rates.csv"
    assert choose(entrant, path) == 0.016
    assert order == [0.001, 0.004, 0.016]
    rows = results.read(path, results.RATES)
    assert [row["factor"] for row in rows] == ["0.25", "1.0", "4.0"]
    # What is known is not tried again; another recipe is another matter.
    assert choose(entrant, path) == 0.016
    assert len(order) == 3
    figures[0.001] = 80.0
    assert choose(entrant, path, epochs=3) == 0.001
    assert len(order) == 6


def test_equal_figures_leave_the_rate_as_it_is(entrant, tried, tmp_path):
    figures, _ = tried
    figures.update({0.001: 65.0, 0.004: 65.0, 0.016: 65.0})
    assert choose(entrant, tmp_path / "rates.csv") == 0.004


def test_held_out_clouds_decide(entrant, tmp_path):
    split = runs.load_split(entrant.preset, "train", limit=40)
    recipe = runs.recipe_for(entrant.preset, epochs=1, batch_size=12)
    path = tmp_path / "rates.csv"
    rate = rates.chosen(
        entrant, recipe, (1.0,), split, "shapes", path, "random", limit=40
    )
    assert rate == recipe.learning_rate
    (row,) = results.read(path, results.RATES)
    assert (row["train_clouds"], row["held_out_clouds"]) == ("36", "4")
    assert row["figure"] == "accuracy" and row["weights"] == "random"
    assert float(row["held_out"]) in (0, 25, 50, 75, 100)


@pytest.mark.parametrize("factors", [(), (1.0, 0.0), (-1.0,), (float("nan"),)])
def test_bad_factors(entrant, tmp_path, factors):
    with pytest.raises(ValueError, match="must be positive numbers"):
        choose(entrant, tmp_path / "rates.csv", factors)
    assert not (tmp_path / "rates.csv").exists()
