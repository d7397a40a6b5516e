from pathlib import Path

import pytest

from keras_pointpeft import presets
from keras_pointpeft.presets import cards
from keras_pointpeft.presets import model_card
from keras_pointpeft.presets import results
from tests.conftest import load_file

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def zoo_table():
    return load_file("scripts/zoo_table.py")


def test_the_written_tables_are_up_to_date(zoo_table):
    tables = zoo_table.readme_tables()
    hint = "run python scripts/zoo_table.py"
    written = (ROOT / "zoo" / "README.md").read_text(encoding="utf-8")
    assert written == zoo_table.zoo_readme(tables), hint
    for name in zoo_table.MARKED:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert text == zoo_table.replaced(text, tables), hint


def test_the_written_cards_are_up_to_date():
    folder = ROOT / "docs" / "presets"
    backbones = cards.read_cards("backbones")
    assert {path.stem for path in folder.glob("*.md")} == set(backbones)
    for backbone in backbones:
        written = (folder / f"{backbone}.md").read_text(encoding="utf-8")
        hint = "run python scripts/zoo_table.py"
        assert written == model_card.page(backbone), hint


def test_every_preset_has_a_card():
    pages = {
        backbone: model_card.page(backbone)
        for backbone in cards.read_cards("backbones")
    }
    for name in presets.list_presets():
        preset, text = presets.resolve(name), presets.card(name)
        assert text.startswith(f"# {name}\n")
        assert f"`{name}`" in pages[preset.backbone]
        if preset.weights is not None:
            assert (preset.weights.get("licence") or "not stated") in text
        if preset.trained_parameters is not None:
            assert f"| {preset.trained_parameters:,} |" in text
    text = presets.card("full_pointmae_scanobjectnn")
    assert "85.18" in text and "Nothing has been measured" in text
    assert "66.02" in presets.card("dapt_pointmaetiny_shapes")
    with pytest.raises(ValueError, match="no built-in preset"):
        presets.card("nothing")


def test_every_preset_has_a_place(zoo_table):
    table = zoo_table.preset_table()
    for name in presets.list_presets():
        preset = presets.resolve(name)
        if preset.method is None:
            continue
        assert f"**`{preset.dataset}`: " in table
        assert f"| `{preset.method}` " in table
        assert f"| `{preset.backbone}` |" in table
        assert zoo_table.cell(preset) in table
    assert "| **1,087,771** |" in table


def test_only_what_is_marked_is_replaced(zoo_table):
    text = "a\n<!-- presets -->\nold\n<!-- /presets -->\nz\n"
    new = zoo_table.replaced(text, {"presets": "| new |\n", "results": "r"})
    assert new == "a\n<!-- presets -->\n| new |\n<!-- /presets -->\nz\n"


def test_measured_runs_are_averaged(zoo_table, tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    path = tmp_path / "results" / "measured.csv"
    for seed, accuracy in enumerate((90.0, 92.0)):
        row = {
            "preset": "p",
            "dataset": "d",
            "seed": seed,
            "epochs": 15,
            "last_accuracy": accuracy,
            "protocol": "scale_translate",
            "trained_parameters": 12345,
        }
        results.append_row(path, row)
    monkeypatch.setattr(cards, "zoo_directory", lambda: tmp_path)
    table = zoo_table.measured_table()
    assert "| `p` | d | 15 | 91.00 ± 1.41 | - | 2 | 12,345 | - | - |" in table


def test_episodes_of_all_seeds_are_averaged(zoo_table, tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(cards, "zoo_directory", lambda: tmp_path)
    assert "No runs" in zoo_table.few_shot_table()
    for seed, accuracies in enumerate(("80 82", "84 86")):
        row = {
            "preset": "p",
            "dataset": "d",
            "ways": 5,
            "shots": 10,
            "episodes": 2,
            "seed": seed,
            "epochs": 20,
            "mean": 0.0,
            "accuracies": accuracies,
            "selection": "last",
            "protocol": "scale_translate",
        }
        path = tmp_path / "results" / "few_shot.csv"
        results.append_row(path, row, results.FEW_SHOT)
    expected = "| `p` | d | 5 ways, 10 shots | 83.00 ± 2.58 | 4 | 20 | last |"
    assert expected in zoo_table.few_shot_table()
    row |= {"protocol": "scale_translate, of 60 clouds", "accuracies": "10 20"}
    results.append_row(path, row, results.FEW_SHOT)
    assert expected in zoo_table.few_shot_table()


def test_costs_are_ratios_of_one_run(zoo_table, tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(cards, "zoo_directory", lambda: tmp_path)
    assert "No runs" in zoo_table.cost_table()
    row = dict.fromkeys(results.COST, "x")
    row |= {"side": "dapt", "baseline": "plain dapt", "ratio": "0.500"}
    path = tmp_path / "results" / "benchmark.csv"
    results.append_row(path, row, results.COST)
    assert "| dapt | plain dapt | x | 0.500 |" in zoo_table.cost_table()
    for size in (2, 4):
        row |= {"benchmark": "dapt_growth_batch", "side": f"batch={size}"}
        results.append_row(path, row, results.COST)
    table = zoo_table.cost_table()
    assert "| batch=4 |" in table and "| batch=2 |" not in table


def test_the_readme_has_ten_rows_of_cost_with_a_sentence_each(zoo_table):
    lines = zoo_table.key_cost_table().splitlines()[2:]
    folder = ROOT / "zoo" / "results"
    keys = results.read(folder / "key_cost.csv", results.KEY_COST)
    assert len(lines) == len(set(lines)) == len(keys) == 10
    rows = results.read(folder / "benchmark.csv", results.COST)
    for line, key in zip(lines, keys):
        what, ratio, goal, where = line.strip("| ").split(" | ")
        assert what == key["what"] and where and float(goal) > 0
        own = [row for row in rows if row["benchmark"] == key["benchmark"]]
        assert ratio in {row["ratio"] for row in own}


def test_costs_are_told_against_linear_probing(
    zoo_table, tmp_path, monkeypatch
):
    monkeypatch.setattr(cards, "zoo_directory", lambda: tmp_path)
    (tmp_path / "results" / "compared").mkdir(parents=True)
    assert "No runs" in zoo_table.method_table()
    for name, seconds, accuracy in (("linear", 0.1, 60.0), ("x", 0.25, 70.0)):
        preset = f"{name}_b_d"
        row = {
            "preset": preset,
            "changes": "",
            "batch_size": 4,
            "num_points": 512,
            "step_seconds": seconds,
            "inference_seconds": 0.1,
            "kept_bytes": 2_000_000,
            "adapter_bytes": 3000,
            "trained_parameters": 1234,
            "clock": "cpu",
            "backend": "torch",
            "device": "cpu",
        }
        results.append_row(
            tmp_path / "results" / "methods.csv", row, results.METHODS
        )
        row = {
            "preset": preset,
            "dataset": "d",
            "seed": 0,
            "epochs": 15,
            "last_accuracy": accuracy,
            "best_accuracy": accuracy,
            "protocol": "none",
        }
        path = tmp_path / "results" / "compared" / "b_d.csv"
        results.append_row(path, row, results.COMPARED)
    table = zoo_table.method_table()
    assert "4 clouds of 512 points, torch, cpu, seconds of CPU" in table
    row = "| x | 70.00 | 250 (2.50) | 100 (1.00) | 2.0 | 3 | 1,234 |"
    assert row in table
    assert table.index("| x |") < table.index("| linear |")
