"""Runs the guide on own data as its reader would."""

import csv
import pathlib

import numpy as np
import pytest

from keras_pointpeft.data import make_shapes
from tests.docs import pages

pytestmark = pytest.mark.once

KINDS = ("mug", "chair", "lamp")


PLACE = np.array([4e5, 5.4e6, 352.0])


def write_scans(root, count=40):
    """Scans of three kinds, in three formats, at map coordinates in metres."""
    made = make_shapes(count, "scan", num_points=600, seed=3, categories=KINDS)
    for number, (cloud, label) in enumerate(zip(made.points, made.labels)):
        # Of each kind, every third is tested on.
        split = "test" if number // 3 % 3 == 0 else "train"
        folder = root / "my_scans" / split / made.class_names[label]
        folder.mkdir(parents=True, exist_ok=True)
        write(folder, number, cloud + PLACE)


def write(folder, number, cloud):
    if number % 2:
        np.save(folder / f"{number}.npy", cloud)
    elif number % 4:
        np.savetxt(folder / f"{number}.xyz", cloud, fmt="%.5f")
    else:
        laspy = pytest.importorskip("laspy")
        scan = laspy.create(point_format=0)
        scan.header.offsets, scan.header.scales = PLACE, [1e-5] * 3
        scan.x, scan.y, scan.z = cloud.T
        scan.write(folder / f"{number}.las")


def write_colored(root):
    made = make_shapes(4, "scan", num_points=600, categories=KINDS)
    for number, (cloud, label) in enumerate(zip(made.points, made.labels)):
        kind = made.class_names[label]
        folder = root / "my_coloured_scans" / "train" / kind
        folder.mkdir(parents=True, exist_ok=True)
        np.savetxt(
            folder / f"{number}.txt",
            np.c_[cloud, np.full((600, 3), 200)],
            header="x y z r g b",
        )


def test_ten_lines(tmp_path, monkeypatch):
    write_scans(tmp_path)
    monkeypatch.chdir(tmp_path)
    first, again, shown, colored, kept, features = pages.python_blocks(
        "docs/guides/own_data.md"
    )
    # The statements that the guide promises, imports left out.
    parts = (" ", ")", "import", "from")
    lines = first.text.splitlines()
    lines = [line for line in lines if line and not line.startswith(parts)]
    assert len(lines) <= 10
    names = {}
    # After one update all clouds are near a tie, which the points drawn of
    # them decide.
    pages.run(first, names, [("updates=1", "updates=40")])
    assert set(names["names"]) <= set(KINDS)
    assert len(names["names"]) == len(names["test"])
    assert 0 <= names["result"].best_accuracy <= 1
    pages.run(again, names)
    assert names["class_names"] == names["train"].class_names
    # Files and arrays are taken for the same.
    predicted = [names["class_names"][label] for label in names["labels"]]
    by_file = {row.path: row.name for row in names["found"]}
    ids = [f"my_scans/{place}" for place in names["test"].ids]
    same = [by_file[i] == name for i, name in zip(ids, predicted)]
    assert np.mean(same) > 0.9, np.mean(same)
    pages.run(shown, names)
    page = (tmp_path / "my_report" / "report.html").read_text()
    assert all(kind in page for kind in KINDS)
    assert (tmp_path / "my_report" / "figures").is_dir()
    write_colored(tmp_path)
    pages.run(colored, dict(names))
    pages.run(kept, names)
    pages.run(features, names)
    count = len(names["test"])
    assert names["features"]["pooled"].shape[0] == count
    assert names["features"]["patch_tokens"].shape[:2] == (count, 32)
    assert names["features"]["centers"].shape == (count, 32, 3)
    assert "block_2" in names["features"]


def test_figures_are_those_of_the_result_file():
    root = pathlib.Path(__file__).parents[2]
    with open(root / "zoo/results/small_sets.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    text = (root / "docs/guides/own_data.md").read_text(encoding="utf-8")
    text = " ".join(text.split())
    for name in ("dales5", "restaurant20", "psb69"):
        own = [row for row in rows if row["set"] == name]
        mean = np.mean([float(row["auto"]) for row in own])
        (clouds,) = {row["test_clouds"] for row in own}
        before = text[: text.index(f"(`{name}`)")]
        assert f"{mean:.1f} % of {clouds} " in before
    for column in ("last", "chosen", "auto"):
        mean = np.mean([float(row[column]) for row in rows])
        assert f"{mean:.1f} %" in text
