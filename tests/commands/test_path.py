"""A user's path: own scans in, an adapter, new scans named, the same again."""

import csv
import json
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_pointpeft
from keras_pointpeft.commands import console as run
from keras_pointpeft.data import make_shapes
from tests.docs.test_own_data import KINDS
from tests.docs.test_own_data import PLACE
from tests.docs.test_own_data import write
from tests.docs.test_own_data import write_scans

pytestmark = pytest.mark.once

TRAIN = (
    "--preset=dapt_pointmaetiny_shapes",
    "--dataset=folder",
    "--data=my_scans",
    "--output=runs/my_scans",
    "--noreport",
)


def call(capsys, verb, *words):
    run.run(verb, list(words), f"keras-pointpeft {verb}")
    return capsys.readouterr().out


def new_scans(root, count):
    """Scans of things that are in no split."""
    made = make_shapes(count, "scan", num_points=700, seed=9, categories=KINDS)
    (root / "new").mkdir()
    for number, cloud in enumerate(made.points):
        write(root / "new", number, cloud + PLACE + [20.0, -7.0, 3.0])
    return [made.class_names[label] for label in made.labels]


def walk(root, capsys, updates):
    """From 71 scans to the classes of new ones; accuracies on the way."""
    write_scans(root, count=71)
    shown = call(capsys, "train", *TRAIN, *updates)
    trained = float(re.search(r"([\d.]+) % last epoch", shown)[1])
    shown = call(
        capsys,
        "evaluate",
        "--adapter=runs/my_scans/adapter",
        "--data=my_scans",
    )
    measured = float(re.search(r"measured\D*([\d.]+)", shown)[1])
    kinds = new_scans(root, 12)
    call(
        capsys,
        "predict",
        "--adapter=runs/my_scans/adapter",
        "--output=found.csv",
        "new",
    )
    with open(root / "found.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = [int(os.path.basename(r["file"]).split(".")[0]) for r in rows]
    right = [r["class"] == kinds[n] for r, n in zip(rows, numbers)]
    return trained, measured, float(np.mean(right)), rows


def test_from_scans_to_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    trained, measured, found, rows = walk(tmp_path, capsys, ["--updates=48"])
    # What training has measured, measuring finds again.
    assert measured == pytest.approx(trained, abs=0.01)
    assert found > 0.6
    assert {row["class"] for row in rows} <= set(KINDS)
    # A folder renamed is refused by name, nothing is measured wrongly.
    os.rename(
        tmp_path / "my_scans" / "test" / KINDS[0],
        tmp_path / "my_scans" / "test" / "thing",
    )
    with pytest.raises(ValueError, match=f"'{KINDS[0]}'.*'thing'"):
        call(
            capsys,
            "evaluate",
            "--adapter=runs/my_scans/adapter",
            "--data=my_scans",
        )


@pytest.mark.slow
def test_at_least_80_percent_and_elsewhere_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    trained, measured, found, rows = walk(tmp_path, capsys, [])
    assert trained >= 80 and measured == pytest.approx(trained, abs=0.01)
    assert found >= 0.8
    if keras.backend.backend() != "torch":
        return
    onnxruntime = pytest.importorskip("onnxruntime")
    model = keras_pointpeft.from_adapter("runs/my_scans/adapter")
    model.export("model.onnx", format="onnx")
    session = onnxruntime.InferenceSession("model.onnx")
    about = session.get_modelmeta().custom_metadata_map
    names = json.loads(about["keras_pointpeft"])["class_names"]
    clouds = [keras_pointpeft.data.read_cloud(row["file"]) for row in rows]
    points = model.contract.prepare(clouds)
    (logits,) = session.run(None, {"points": points})
    assert [names[i] for i in logits.argmax(-1)] == [r["class"] for r in rows]
    # A fresh process, another backend.
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    words = "--adapter=runs/my_scans/adapter --output=again.csv new"
    code = "from keras_pointpeft.commands import run; run('predict')"
    subprocess.run(
        [sys.executable, "-c", code, *words.split()],
        check=True,
        env=environment,
    )
    with open("again.csv", newline="") as file:
        again = [row["class"] for row in csv.DictReader(file)]
    assert again == [row["class"] for row in rows]
