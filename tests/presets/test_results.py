import multiprocessing

import pytest

from keras_pointpeft.presets import cards
from keras_pointpeft.presets import results
from keras_pointpeft.presets.names import resolve

pytestmark = pytest.mark.once


def run(seed, last, **changes):
    row = {
        "preset": "dapt_pointmaetiny_shapes",
        "dataset": "shapes",
        "seed": seed,
        "epochs": 15,
        "last_accuracy": last,
        "best_accuracy": last + 1,
        "selection": "last",
        "protocol": "scale_translate",
    }
    return {**row, **changes}


def test_rows_come_back(tmp_path):
    path = tmp_path / "measured.csv"
    assert results.read(path) == []
    results.append_row(path, run(0, 90.0))
    results.append_row(path, run(1, 92.5, backend="torch", protocol="a, b"))
    first, second = results.read(path)
    assert list(first) == list(results.MEASURED)
    assert first["last_accuracy"] == "90.0" and first["backend"] == ""
    assert second["protocol"] == "a, b" and second["backend"] == "torch"
    assert [p.name for p in tmp_path.iterdir()] == ["measured.csv"]


def test_wrong_rows_are_refused(tmp_path):
    path = tmp_path / "measured.csv"
    with pytest.raises(ValueError, match="acuracy"):
        results.append_row(path, run(0, 90.0, acuracy=1))
    incomplete = run(0, 90.0)
    del incomplete["seed"]
    with pytest.raises(ValueError, match="missing: .'seed'"):
        results.append_row(path, incomplete)
    with pytest.raises(ValueError, match="missing: .'protocol'"):
        results.append_row(path, run(0, 90.0, protocol=""))
    assert not path.exists()
    path.write_text("other,columns\n")
    with pytest.raises(ValueError, match="other"):
        results.append_row(path, run(0, 90.0))
    with pytest.raises(ValueError, match="other"):
        results.read(path)


def test_what_a_row_must_have():
    for columns, required in results.REQUIRED.items():
        assert set(required) < set(columns)


def test_summary_of_seeds():
    rows = [run(0, 90.0), run(1, 92.0), run(2, 94.0), run(0, 50.0, epochs=1)]
    long, short = results.summarise(rows)
    assert long["seeds"] == 3
    assert long["last_mean"] == pytest.approx(92.0)
    assert long["last_std"] == pytest.approx(2.0)  # divisor n - 1
    assert long["best_mean"] == pytest.approx(93.0)
    assert short["seeds"] == 1 and short["last_std"] is None


def test_missing_best_accuracy_is_not_averaged():
    (group,) = results.summarise([run(0, 90.0), run(1, 92.0, best_accuracy="")])
    assert group["best_mean"] is None and group["last_mean"] == 91.0


def _append_ten(path, seed):
    for i in range(10):
        results.append_row(path, run(seed * 10 + i, 90.0))


def test_processes_do_not_mix_their_rows(tmp_path):
    path = tmp_path / "measured.csv"
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_append_ten, args=(path, seed))
        for seed in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seeds = sorted(int(row["seed"]) for row in results.read(path))
    assert seeds == list(range(30))


def test_published_results_are_well_formed():
    path = cards.zoo_directory() / "results" / "published.csv"
    rows = results.read(path, results.PUBLISHED)
    assert rows
    for row in rows:
        assert 0 < float(row["value"]) <= 100 and row["source"]
        name = f"{row['method']}_{row['backbone']}_{row['dataset']}"
        assert row["preset"] == name


def test_what_others_found_stands_beside():
    """DAPT and IDPT, run again with rotation: a mean, and its deviation."""
    from keras_pointpeft.commands.evaluate import published_rows

    expected = {
        "dapt_pointmae": ("87.56", "0.64"),
        "dapt_pointbert": ("88.63", "0.19"),
        "dapt_act": ("86.97", ""),
        "idpt_pointmae": ("88.27", ""),
    }
    for name, (value, deviation) in expected.items():
        rows = published_rows(resolve(f"{name}_scanobjectnn"))
        own = [row for row in rows if not row.get("measured_by")]
        (others,) = (row for row in rows if row.get("measured_by"))
        assert (others["value"], others["deviation"]) == (value, deviation)
        assert others["protocol"].startswith("rotate")
        assert own and all(row["value"] != value for row in own)
