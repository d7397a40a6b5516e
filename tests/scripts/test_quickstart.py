import csv

import pytest

pytestmark = pytest.mark.once


def test_one_row_per_method_and_seed(run_script, tmp_path):
    process = run_script(
        "quickstart.py",
        "--weights=random",
        "--methods=dapt,linear",
        "--seeds=0,1",
        "--limit=40",
        "--epochs=1",
        "--results=measured.csv",
    )
    with open(tmp_path / "measured.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["preset"].split("_")[0], row["seed"]) for row in rows] == [
        ("dapt", "0"),
        ("linear", "0"),
        ("dapt", "1"),
        ("linear", "1"),
    ]
    table = process.stdout[process.stdout.index("method") :]
    for method in ("dapt", "linear"):
        row = next(r for r in rows if r["preset"].startswith(method))
        assert f"{int(row['trained_parameters']):,}" in table
        assert f"{int(row['adapter_bytes']):,}" in table
    assert not (tmp_path / "runs").exists()


def test_bad_seeds(run_script):
    process = run_script("quickstart.py", "--seeds=0,x", check=False)
    assert process.returncode != 0
    assert "--seeds must be integers" in process.stdout + process.stderr
