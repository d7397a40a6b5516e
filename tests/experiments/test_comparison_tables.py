import pytest

from keras_pointpeft.experiments import comparison_tables
from keras_pointpeft.presets import cards
from keras_pointpeft.presets import results

pytestmark = pytest.mark.once


def test_compared_methods_stand_best_first(tmp_path, monkeypatch):
    folder = tmp_path / "results" / "compared"
    folder.mkdir(parents=True)
    monkeypatch.setattr(cards, "zoo_directory", lambda: tmp_path)
    assert "No runs" in comparison_tables.compared()
    for seed in (0, 1):
        for changes, accuracy in (("", 80.0), ("prior=False", 90.0)):
            row = {
                "preset": "pointpeft_p_d",
                "changes": changes,
                "dataset": "d",
                "seed": seed,
                "epochs": 15,
                "last_accuracy": accuracy + 2 * seed,
                "protocol": "rotate",
                "trained_parameters": 12345,
                "adapter_bytes": 5600,
                "train_clouds": 100,
                "memory_bytes": 7e6,
            }
            results.append_row(folder / "p_d.csv", row, results.COMPARED)
    heading, *lines = comparison_tables.compared().splitlines()
    assert "15 epochs of 100 clouds, rotate" in heading
    assert [line.partition("|")[2] for line in lines[3:]] == [
        " pointpeft (prior=False) | 91.00 ± 1.41 | - | 2 | 12,345 | 6 | 7 |",
        " pointpeft | 81.00 ± 1.41 | - | 2 | 12,345 | 6 | 7 |",
    ]


def test_rates_that_were_tried_stand_by_themselves(tmp_path, monkeypatch):
    folder = tmp_path / "results" / "compared"
    folder.mkdir(parents=True)
    monkeypatch.setattr(cards, "zoo_directory", lambda: tmp_path)
    assert "No runs" in comparison_tables.rates()
    row = {"dataset": "d", "seed": 0, "epochs": 15, "protocol": "rotate"}
    for method, rate, held_out in (
        ("linear", 0.01, 50.0),
        ("linear", 0.001, 40.0),
        ("ppt", 0.001, 60.0),
        ("ppt", 0.01, 30.0),
    ):
        tried = {"learning_rate": rate, "held_out": held_out}
        results.append_row(
            folder / "p_d_rates.csv",
            {**row, **tried, "preset": f"{method}_p_d"},
            results.RATES,
        )
    assert comparison_tables.rates().splitlines()[2:] == [
        "| p_d | linear | 15 | 0.001: 40.0, 0.01: 50.0 | 0.01 |",
        "| p_d | ppt | 15 | 0.001: 60.0, 0.01: 30.0 | 0.001 |",
    ]
    for method, protocol in (
        ("linear", "rotate, learning rate 0.01"),
        ("ppt", "rotate"),
    ):
        shown = {
            "preset": f"{method}_p_d",
            "last_accuracy": 50.0,
            "protocol": protocol,
            "trained_parameters": 1,
            "adapter_bytes": 1000,
            "train_clouds": 100,
            "memory_bytes": 7e6,
        }
        results.append_row(
            folder / "p_d.csv", {**row, **shown}, results.COMPARED
        )
    heading, *lines = comparison_tables.compared().splitlines()
    assert heading.endswith("15 epochs of 100 clouds, rotate")
    assert "| linear (learning rate 0.01) | 50.00 |" in "".join(lines)
    assert "| ppt | 50.00 |" in "".join(lines)


def test_updates_at_test_time_stand_in_a_table(tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(cards, "zoo_directory", lambda: tmp_path)
    assert "No runs" in comparison_tables.updates_at_test_time()
    row = dict.fromkeys(results.TEST_TIME, "x")
    row |= {"preset": "lott_p_d", "without": 50.0, "with_updates": 51.5}
    path = tmp_path / "results" / "test_time.csv"
    results.append_row(path, row, results.TEST_TIME)
    expected = "| lott | x | x x | x | x | x | 50.0 | 51.5 | x | x |"
    assert expected in comparison_tables.updates_at_test_time()


def test_methods_are_told_by_their_distance_from_linear_probing():
    table = comparison_tables.against_linear()
    assert "| linear |" not in table
    # Last epochs of zoo/results/compared: 67.00 and 61.00; 55.87.
    assert "| lora | 67.00 ± 0.66 | +6.00 |" in table
    assert "| gaprompt | 55.87 ± 1.38 | -5.13 |" in table


def test_equal_seconds_stand_in_a_table(tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(cards, "zoo_directory", lambda: tmp_path)
    assert "No runs" in comparison_tables.seconds()
    row = {"dataset": "d", "seed": 0, "protocol": "none", "train_clouds": 9}
    for method, epochs, accuracy in (("full", 2, 30.0), ("linear", 6, 50.0)):
        own = {"epochs": epochs, "last_accuracy": accuracy}
        results.append_row(
            tmp_path / "results" / "methods_seconds.csv",
            {**row, **own, "preset": f"{method}_p_d"},
            results.COMPARED,
        )
    about, *lines = comparison_tables.seconds().splitlines()
    assert about == "9 clouds, none"
    assert lines[3:] == [
        "| linear | 50.00 | 1 | 6 |",
        "| full | 30.00 | 1 | 2 |",
    ]
