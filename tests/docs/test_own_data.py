"""Runs the guide on own data as its reader would."""

import numpy as np
import pytest

from keras_pointpeft.data import make_shapes
from tests.docs import pages

pytestmark = pytest.mark.once

KINDS = ("mug", "chair", "lamp")


def write_scans(root, count=40):
    made = make_shapes(200, "scan", num_points=600, seed=3)
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
    first, again, shown, kept, features = pages.python_blocks(
        "docs/guides/own_data.md"
    )
    # The statements that the guide promises, imports left out.
    parts = (" ", ")", "import", "from")
    lines = first.text.splitlines()
    lines = [line for line in lines if line and not line.startswith(parts)]
    assert len(lines) <= 10
    names = {}
    pages.run(first, names)
    assert set(names["names"]) <= set(KINDS)
    assert len(names["names"]) == len(names["test"])
    assert 0 <= names["result"].best_accuracy <= 1
    names["names_of_classes"] = names["train"].class_names
    pages.run(again, names)
    found = names["model"].predict(names["test"].points, verbose=0)
    assert (found.argmax(axis=-1) == names["labels"]).all()
    pages.run(shown, names)
    page = (tmp_path / "my_report" / "report.html").read_text()
    assert all(kind in page for kind in KINDS)
    assert (tmp_path / "my_report" / "figures").is_dir()
    pages.run(kept, names)
    pages.run(features, names)
    count = len(names["test"])
    assert names["features"]["pooled"].shape[0] == count
    assert names["features"]["patch_tokens"].shape[:2] == (count, 32)
    assert names["features"]["centers"].shape == (count, 32, 3)
    assert "block_2" in names["features"]
