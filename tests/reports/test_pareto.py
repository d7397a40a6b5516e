import pytest

from keras_pointpeft.reports import pareto

pytestmark = pytest.mark.once

ENTRIES = [
    {"name": "few", "trained_parameters": 10, "mean": 60.0, "std": 1.0},
    {"name": "beaten", "trained_parameters": 20, "mean": 59.0, "std": None},
    {"name": "many", "trained_parameters": 90, "mean": 70.0, "std": 2.0},
]


def test_front():
    points = [(e["trained_parameters"], e["mean"]) for e in ENTRIES]
    assert pareto.front(points) == [0, 2]
    # Of two of one size, the better; of two alike, one.
    assert pareto.front([(1, 2.0), (1, 3.0), (1, 3.0)]) == [1]
    assert pareto.front([]) == []


def test_files(tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("plotly")
    pareto.write_png(tmp_path / "a.png", ENTRIES, "A title")
    pareto.write_html(tmp_path / "a.html", ENTRIES, "A title")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "a.html").read_text()
    assert "A title" in page and "beaten" in page


def test_costs_are_drawn_each_with_its_front(tmp_path):
    pytest.importorskip("matplotlib")
    costs = {name: 1.0 for name in pareto.COSTS}
    entries = [
        {"name": "a", "mean": 60.0, "std": 1.0, **costs},
        {"name": "b", "mean": 70.0, "std": None, **costs, "kept_bytes": 9.0},
    ]
    pareto.write_costs_png(tmp_path / "a.png", entries, "A title")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
