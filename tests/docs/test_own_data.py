"""Runs the guide on own data as its reader would."""

import pathlib
import re

import numpy as np

from keras_pointpeft.data import make_shapes

GUIDE = pathlib.Path(__file__).parents[2] / "docs/guides/own_data.md"
KINDS = ("mug", "chair", "lamp")


def blocks():
    return re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)


def write_scans(root, count=40):
    made = make_shapes(num_clouds=200, num_points=600, domain="scan", seed=3)
    wanted = [made.class_names.index(kind) for kind in KINDS]
    written = 0
    for number, (cloud, label) in enumerate(zip(made.points, made.labels)):
        if label not in wanted or written == count:
            continue
        split = "test" if number % 3 == 0 else "train"
        folder = root / "my_scans" / split / made.class_names[label]
        folder.mkdir(parents=True, exist_ok=True)
        if number % 2:
            np.save(folder / f"{number}.npy", cloud)
        else:
            np.savetxt(folder / f"{number}.xyz", cloud, fmt="%.5f")
        written += 1


def test_ten_lines(tmp_path, monkeypatch):
    write_scans(tmp_path)
    monkeypatch.chdir(tmp_path)
    first, again, features = blocks()
    # The statements that the guide promises, imports left out.
    lines = [line for line in first.splitlines() if line and line[0] != ")"]
    lines = [
        line for line in lines if not line.startswith((" ", "import", "from"))
    ]
    assert len(lines) <= 10
    names = {}
    exec(first.replace("epochs=10", "epochs=1"), names)
    assert set(names["names"]) <= set(KINDS)
    assert len(names["names"]) == len(names["test"])
    assert 0 <= names["result"].best_accuracy <= 1
    names["names_of_classes"] = names["train"].class_names
    exec(again, names)
    found = names["model"].predict(names["test"].points, verbose=0)
    assert (found.argmax(axis=-1) == names["labels"]).all()
    exec(features, names)
    count = len(names["test"])
    assert names["features"]["pooled"].shape[0] == count
    assert names["features"]["patch_tokens"].shape[:2] == (count, 32)
    assert names["features"]["centers"].shape == (count, 32, 3)
    assert "block_2" in names["features"]
