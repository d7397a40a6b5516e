import csv
import dataclasses

import keras
import numpy as np
import pytest

from keras_pointpeft.data import make_shapes
from keras_pointpeft.experiments import comparison
from keras_pointpeft.experiments import runs
from keras_pointpeft.experiments.comparison import Entrant
from keras_pointpeft.presets import results
from keras_pointpeft.training import trainer

pytestmark = [pytest.mark.long, pytest.mark.once]


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_variant_stands_beside_its_method(run_script, tmp_path):
    arguments = (
        "compare.py",
        "--methods=linear,pointpeft:prior=False:adapter_rank=4",
        "--weights=random",
        "--limit=40",
        "--epochs=1",
        "--batch_size=20",
        "--name=worth",
        "--output=results",
    )
    shown = run_script(*arguments, "--seeds=0")
    file = tmp_path / "results" / "worth.csv"
    linear, variant = read(file)
    assert linear["preset"] == "linear_pointmaetiny_shapes"
    assert linear["changes"] == ""
    assert variant["changes"] == "prior=False, adapter_rank=4"
    assert variant["epochs"] == "1" and variant["train_clouds"] == "36"
    protocol = "scale_translate, rate by update, batch size 20, of 40 clouds"
    assert variant["protocol"] == protocol
    assert "pointpeft (prior=False," in shown.stdout.replace("\n", " ")
    before = file.read_text()
    # What is known is not run again.
    run_script(*arguments, "--seeds=0")
    assert file.read_text() == before


def test_parts_are_compared_by_their_miou(tmp_path):
    entrant = Entrant.from_text("linear", "pointmaetiny", "shapesparts")
    preset = entrant.preset
    split = runs.load_split(preset, "test", limit=16)
    recipe = runs.recipe_for(preset, epochs=1, batch_size=8, selection="last")
    row = comparison.run(entrant, recipe, split, split, "parts", "random")
    path, columns = tmp_path / "parts.csv", comparison.columns_for(preset)
    results.append_row(path, row, columns)
    results.append_row(path, {**row, "seed": 1}, columns)
    rows = results.read(path, columns)
    assert comparison.known(rows, entrant, recipe, "parts", "random")
    assert not comparison.known(rows, entrant, recipe, "others", "random")
    for changed in (
        {"selection": "held_out"},
        {"batch_size": 4},
        {"learning_rate": 0.1},
    ):
        other = dataclasses.replace(recipe, **changed)
        assert not comparison.known(rows, entrant, other, "parts", "random")
    limited = (rows, entrant, recipe, "parts", "random", 16)
    assert not comparison.known(*limited)
    figure = comparison.FIGURES[preset.task_class]
    (entry,) = comparison.summary(rows, figure)
    assert entry["mean"] == row["instance_miou"] > 0
    assert entry["std"] == 0 and entry["last_mean"] is None
    assert comparison.table([entry], "parts").row_count == 1
    assert comparison.figure_entries([entry])[0]["mean"] == entry["mean"]


def test_an_interrupted_run_goes_on(monkeypatch, tmp_path):
    entrant = Entrant.from_text("linear", "pointmaetiny", "shapes")
    preset = entrant.preset
    split = runs.load_split(preset, "test", limit=20)
    recipe = runs.recipe_for(preset, epochs=2, batch_size=10, selection="last")
    arguments = (entrant, recipe, split, split, "shapes", "random")

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def stopped(*given, **options):
        return train(*given, callbacks=(Stop(),), **options)

    train = trainer.train
    monkeypatch.setattr(trainer, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        comparison.run(*arguments, log_dir=tmp_path)
    assert len(read(tmp_path / "log.csv")) == 1
    monkeypatch.undo()
    row = comparison.run(*arguments, log_dir=tmp_path)
    log = read(tmp_path / "log.csv")
    assert len(log) == 2
    seconds = sum(float(epoch["seconds"]) for epoch in log)
    assert row["seconds"] == pytest.approx(seconds, abs=0.06)
    whole = comparison.run(*arguments)
    for name in ("last_accuracy", "best_accuracy", "trained_parameters"):
        assert row[name] == whole[name]


def test_an_entrant_is_read():
    entrant = Entrant.from_text(
        "pointpeft:bank_size=64:adapter_start=xavier", "pointmaetiny", "shapes"
    )
    assert entrant.changes == {"bank_size": 64, "adapter_start": "xavier"}
    assert entrant.changes_text == "bank_size=64, adapter_start=xavier"
    assert entrant.method().bank_size == 64


@pytest.mark.parametrize(
    "text, error, message",
    [
        ("nothing", ValueError, "There is no built-in preset"),
        ("pointpeft:prior", ValueError, "'pointpeft:prior'"),
        ("pointpeft:no_such=1", TypeError, "no_such"),
    ],
)
def test_wrong_entrants(text, error, message):
    with pytest.raises(error, match=message):
        Entrant.from_text(text, "pointmaetiny", "shapes")


def test_a_folder_is_read_with_the_points_of_the_recipe(run_script, tmp_path):
    """Scans of 600 points are enough for a recipe that takes 512."""
    made = make_shapes(
        12, "scan", num_points=600, categories=("mug", "chair")
    )
    for number, (cloud, label) in enumerate(zip(made.points, made.labels)):
        split = "train" if number // 2 % 3 else "test"
        folder = tmp_path / "scans" / split / made.class_names[label]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{number}.npy", cloud)
    run_script(
        "compare.py",
        "--methods=linear",
        "--weights=random",
        "--data=scans",
        "--loader=folder",
        "--epochs=1",
        "--batch_size=4",
        "--selection=last",
        "--seeds=0",
        "--name=folder",
        "--output=results",
    )
    (row,) = read(tmp_path / "results" / "folder.csv")
    assert row["dataset"] == "scans"
    assert row["train_clouds"] == "8" and row["test_clouds"] == "4"


def test_rates_are_chosen_before_methods_are_compared(run_script, tmp_path):
    arguments = (
        "compare.py",
        "--methods=linear",
        "--weights=random",
        "--limit=40",
        "--epochs=1",
        "--batch_size=20",
        "--rate_factors=0.5,1",
        "--name=rates",
        "--output=results",
        "--seeds=3",
    )
    run_script(*arguments)
    tried = read(tmp_path / "results" / "rates_rates.csv")
    assert [row["learning_rate"] for row in tried] == ["0.002", "0.004"]
    assert {row["seed"] for row in tried} == {"3"}
    best = max(tried, key=lambda row: (float(row["held_out"]), row["factor"]))
    (row,) = read(tmp_path / "results" / "rates.csv")
    lower = "learning rate 0.002" in row["protocol"]
    assert lower == (best["factor"] == "0.5")
    wrong = run_script(*arguments[:-4], "--rate_factors=0", check=False)
    assert wrong.returncode != 0
    assert "must be positive numbers" in wrong.stderr + wrong.stdout
