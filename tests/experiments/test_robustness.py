"""The protocol of corrupted clouds, on a model that is known."""

import numpy as np
import pytest

from keras_pointpeft.data import CORRUPTIONS
from keras_pointpeft.data import Split
from keras_pointpeft.experiments import robustness
from keras_pointpeft.presets import results

pytestmark = pytest.mark.once

PAIRS = robustness.pairs(["dropout", "outliers"], (5, 1, 1))


def split(clouds=4, points=100):
    points = np.random.default_rng(0).normal(size=(clouds, points, 3))
    return Split(points, np.zeros(clouds), ("a",))


def test_pairs():
    assert PAIRS == [
        ("none", 0),
        *(("dropout", 1), ("dropout", 5), ("outliers", 1), ("outliers", 5)),
    ]
    assert len(robustness.pairs()) == 1 + 5 * len(CORRUPTIONS)
    for arguments in ((["fog"],), ([],), (None, (6,)), (None, ())):
        with pytest.raises(ValueError, match="Received"):
            robustness.pairs(*arguments)


def test_measure():
    """A figure that tells the share of points that there are."""
    seen = []

    def figure(clouds):
        seen.append(clouds)
        return clouds.points.shape[1] / 100

    rows = list(robustness.measure(figure, split(), PAIRS, num_points=50))
    assert [(r["corruption"], r["severity"]) for r in rows] == PAIRS
    # Of 50 points, a quarter, three quarters, and a fiftieth and a fifth more.
    left = [50, 50 - round(12.5), 50 - round(37.5), 50 + round(0.5), 60]
    assert [r["num_points"] for r in rows] == left
    assert [r["value"] for r in rows] == left
    assert all((x.labels == 0).all() for x in seen)


def test_too_few_points_are_told_at_once():
    def figure(clouds):
        raise AssertionError("measured")

    with pytest.raises(ValueError, match="dropout of severity 5 leaves 25"):
        list(robustness.measure(figure, split(), PAIRS, fewest=30))


def rows_of(preset, clean, *values):
    figures = zip(PAIRS, (clean, *values), strict=True)
    return [
        {"preset": preset, "corruption": c, "severity": s, "value": value}
        for (c, s), value in figures
    ]


def test_summary():
    rows = rows_of("base", 80, 70, 50, 60, 40)
    rows += rows_of("other", 90, 85, 75, 50, 50)
    base, other = (
        robustness.summary(rows, "base")[i] for i in (1, 0)
    )
    assert base["by"] == {"dropout": 60, "outliers": 50}
    assert base["clean"] == 80 and base["mean"] == 55 and base["drop"] == 25
    assert base["mce"] == base["rmce"] == pytest.approx(100)
    # Errors 20 and 50 over 40 and 50; losses 10 and 40 over 20 and 30.
    assert other["mean"] == 65 and other["drop"] == 25
    assert other["mce"] == pytest.approx(75)
    assert other["rmce"] == pytest.approx(100 * (10 / 20 + 40 / 30) / 2)
    assert robustness.summary(rows)[0]["mce"] is None
    # Seeds are averaged.
    twice = rows_of("base", 80, 70, 50, 60, 40) + rows_of("base", *[60] * 5)
    (entry,) = robustness.summary(twice)
    assert entry["clean"] == 70 and entry["by"]["outliers"] == 55
    with pytest.raises(ValueError, match="same corruptions.*other"):
        robustness.summary(rows[:-1])
    # Without clean clouds, and with nothing else.
    whole = rows_of("base", 80, 70, 50, 60, 40)
    for some in (whole[1:], whole[:1]):
        with pytest.raises(ValueError, match="on clean clouds.*base"):
            robustness.summary(some)
    with pytest.raises(ValueError, match="baseline"):
        robustness.summary(rows, "third")


def test_rows_are_written(tmp_path):
    for row in robustness.measure(lambda clouds: 0.5, split(), PAIRS):
        row = robustness.result_row(row, preset="p", dataset="d", seed=1)
        results.append_row(tmp_path / "r.csv", row, results.CORRUPTED)
    found = results.read(tmp_path / "r.csv", results.CORRUPTED)
    assert [r["value"] for r in found] == ["50.0"] * 5
    (entry,) = robustness.summary(found)
    assert entry["clean"] == entry["mean"] == 50


def test_a_table_for_a_page():
    rows = rows_of("linear_a_b", 80, 70, 50, 60, 40)
    rows += rows_of("dapt_a_b", 90, 85, 75, 50, 50)
    rows = [{**r, "test_clouds": 7, "protocol": "once"} for r in rows]
    text = robustness.markdown(rows)
    assert "\n7 clouds, severities 1, 5; once\n" in text
    assert "No runs" in robustness.markdown([]) and "No runs" not in text
    first, second = text.splitlines()[-2:]
    found = [cell.strip() for cell in first.strip("|").split("|")]
    assert found == [
        *("`dapt_a_b`", "90.00", "80.00", "50.00", "65.00", "25.00"),
        *("75.0", "91.7"),
    ]
    assert "100.0 | 100.0" in second
