"""Colours from the command line: learnt, measured, predicted and compared."""

import csv
import os
import re

import numpy as np
import pytest

import keras_pointpeft
from keras_pointpeft import data
from keras_pointpeft.commands import console
from keras_pointpeft.experiments import runs
from keras_pointpeft.presets import resolve
from keras_pointpeft.training import Recipe
from keras_pointpeft.training import train
from tests.conftest import small_classifier

pytestmark = pytest.mark.once

COLORED = (
    "--loader=folder",
    "--data=scans",
    "--channels=colors",
    "--num_points=128",
    "--updates=40",
    "--batch_size=8",
    "--selection=last",
)


def write(root, brightest=200, training=16):
    """Two kinds of the same shape, which colour alone tells apart.

    Numbers up to `brightest` in training and, of darker scans, up to 1 in the
    test: taken for themselves, those would be fractions.
    """
    rng = np.random.default_rng(0)
    for split, count, most in (("train", training, brightest), ("test", 8, 1)):
        for number in range(count):
            kind = ("dark", "light")[number % 2]
            folder = root / "scans" / split / kind
            folder.mkdir(parents=True, exist_ok=True)
            rows = np.c_[rng.normal(size=(150, 3)), np.zeros((150, 3))]
            rows[:, 3] = most * (number % 2)
            name = folder / f"{number}.txt"
            np.savetxt(name, rows, header="x y z r g b", fmt="%.5f")


def call(capsys, verb, *words):
    console.run(verb, list(words), f"keras-pointpeft {verb}")
    return capsys.readouterr().out


def test_both_splits_are_scaled_alike(tmp_path):
    write(tmp_path)
    folder, channels = tmp_path / "scans", ("colors",)
    options = {"num_points": 128, "channels": channels}
    preset = resolve("dapt_pointmaetiny_shapes")
    found = runs.load_splits(preset, folder, "folder", **options)
    assert [x.source["color_range"] for x in found] == [255, 255]
    for split, most in zip(found, (200, 1)):
        assert split.channels.max() == pytest.approx(most / 255)
    # By themselves they are not, and training says so.
    alone = [
        data.load("folder", folder, split, **options)
        for split in ("train", "test")
    ]
    model = small_classifier(num_classes=2, extra_channels=3)
    with pytest.raises(ValueError, match="color_range 255.0 and 1.0"):
        train(model, *alone, Recipe(updates=1, selection="last"))
    told = runs.task_arguments(preset, *found)
    assert told == {"num_classes": 2, "extra_channels": 3}


def test_scenes_are_scaled_alike(tmp_path):
    rng = np.random.default_rng(0)
    for area, most in ((1, 200), (2, 1)):
        colors = np.full((500, 3), most)
        rows = np.c_[rng.uniform(0, 2, (500, 3)), colors, np.zeros(500)]
        place = tmp_path / f"Area_{area}_a.txt"
        np.savetxt(place, rows, header="x y z r g b label", fmt="%.5f")
    preset = resolve("dapt_pointmaetiny_rooms")
    options = {"test_area": 2, "channels": ("colors",)}
    pair = runs.load_splits(preset, tmp_path, "s3dis", **options)
    for (room,), most in zip(pair, (200, 1)):
        assert room.channels.max() == pytest.approx(most / 255)
    told = runs.task_arguments(preset, *pair, num_classes=2)
    assert told["extra_channels"] == 3


def test_colours_are_learnt_and_known_ever_after(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, training=80)  # ten updates an epoch
    # The same light in both.
    for name in (tmp_path / "scans" / "test" / "light").iterdir():
        text = name.read_text().replace(" 1.00000 ", " 200.00000 ")
        name.write_text(text)
    pytest.importorskip("plotly")
    shown = call(
        capsys,
        "train",
        "--preset=dapt_pointmaetiny_shapes",
        "--dataset=folder",
        "--output=run",
        *COLORED[1:],
        "--updates=160",
    )
    assert re.search(r": 100\.00 % last epoch", shown)
    assert (tmp_path / "run" / "report.html").is_file()
    shown = call(
        capsys, "evaluate", "--adapter=run/adapter", "--data=scans"
    )
    assert re.search(r"measured\D*100\.00", shown)
    found = keras_pointpeft.predict_files("run/adapter", "scans/test")
    for row in found:
        assert row.name == os.path.basename(os.path.dirname(row.path))
    # A report of the same run later reads colours too.
    call(capsys, "report", "--run=run", "--output=later")
    assert (tmp_path / "later" / "report.html").is_file()


def test_methods_are_compared_on_colours(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    call(
        capsys,
        "compare",
        "--methods=linear",
        "--seeds=0",
        "--output=out",
        *COLORED,
    )
    with open(tmp_path / "out" / "pointmaetiny_scans.csv") as file:
        (row,) = csv.DictReader(file)
    bare, wide = (
        keras_pointpeft.from_preset(
            "linear_pointmaetiny_shapes",
            load_weights=False,
            num_classes=2,
            extra_channels=extra,
        )
        for extra in (0, 3)
    )
    counts = [
        sum(int(np.prod(x.shape)) for x in model.trainable_variables)
        for model in (bare, wide)
    ]
    # A kernel of three numbers for each unit of the encoder's first layer.
    kernel = wide.backbone.get_layer("tuner_channels").kernel
    assert counts[1] - counts[0] == int(np.prod(kernel.shape)) > 0
    assert int(row["trained_parameters"]) == counts[1]
