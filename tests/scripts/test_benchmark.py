"""Benchmarks at sizes of next to nothing, and what is made of their rows."""

import csv
import os
import sys

import keras
import numpy as np
import pytest

from keras_pointpeft.presets import results
from tests.conftest import load_script
from tests.scripts.conftest import ROOT

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def scripts():
    """The benchmark and its parts, which import each other by name."""
    sys.path.insert(0, str(ROOT / "scripts/benchmark"))
    try:
        benchmark, _ = load_script("scripts/benchmark/run.py")
        import figure
        import measures
        import sides

        yield benchmark, sides, measures, figure
    finally:
        sys.path.remove(str(ROOT / "scripts/benchmark"))


def test_every_benchmark_names_what_exists(scripts):
    benchmark, sides, measures, _ = scripts
    for name, one in benchmark.BENCHMARKS.items():
        assert one["measure"] in measures.MEASURES, name
        assert len(set(one["sides"])) == len(one["sides"]) >= 2, name
        assert ("wanted" in one) != ("grows" in one), name
        for side in one["sides"]:
            words, changes = sides.parse(side)
            assert words and all(changes.values()), side


def test_sizes_grow_from_the_smallest(scripts):
    benchmark, _, _, figure = scripts
    name = "dapt_growth_groups"
    values = dict(zip(benchmark.BENCHMARKS[name]["sides"], (3.0, 9.0, 2.0)))
    rows = list(benchmark._rows(name, "seconds", values, 8, 5))
    assert [row["ratio"] for row in rows] == ["1.500", "4.500"]
    # Attention: two times the groups may take four times as long.
    assert [row["wanted"] for row in rows] == [4.0, 16.0]
    (curve,) = figure.curves(rows)["groups"].values()
    assert curve == {1.0: 1.0, 2.0: 1.5, 4.0: 4.5}


def test_malloc_is_told_where_a_side_says_so(scripts, monkeypatch):
    _, _, measures, _ = scripts
    seen = []

    class Pool:
        def __init__(self, *args):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *args):
            pass

        def submit(self, function, side, batch_size):
            told = os.environ.get("MALLOC_MMAP_THRESHOLD_")
            seen.append((side, told))
            return self

        def result(self):
            return 1

    futures = measures.concurrent.futures
    monkeypatch.setattr(futures, "ProcessPoolExecutor", Pool)
    sides = ("full_x malloc=returning remat=block", "full_x")
    assert measures._growth(sides, 2) == dict.fromkeys(sides, 1)
    assert seen == [("full_x remat=block", "1048576"), ("full_x", None)]


def test_figure(scripts, tmp_path):
    benchmark, _, _, figure = scripts
    name = "pointpeft_growth_bank"
    values = dict(zip(benchmark.BENCHMARKS[name]["sides"], (3.0, 9.0, 2.0)))
    rows = list(benchmark._rows(name, "seconds", values, 8, 5))
    figure.write_png(tmp_path / "growth.png", rows)
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no rows of growth"):
        figure.write_png(tmp_path / "none.png", [{"benchmark": "dapt_step"}])


def test_other_sizes_are_those_of_both_sides(scripts):
    _, sides, _, _ = scripts
    name = "pointpeft_pointmae_scanobjectnn"
    small = {"bank": 8, "depth": 2, "dim": 24, "groups": 8, "group_size": 4}
    _, _, model = sides.build(name, sizes=small)
    backbone = model.backbone
    assert (backbone.depth, backbone.dim, backbone.num_groups) == (2, 24, 8)
    assert backbone.peft.bank_size == 8 and backbone.peft.prompt_blocks == 1
    assert sides.sizes_of(size="small", points="64")["points"] == 64


def test_input_is_another_batch_every_time(scripts):
    _, sides, _, _ = scripts
    step, _ = sides.make("input dapt_pointmae_modelnet40", 2)
    (first, _), (second, _) = step(), step()
    assert first.shape == (2, 1024, 3)
    assert not np.array_equal(first, second)


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="the other side is torch"
)
def test_a_training_step_is_measured(scripts):
    _, _, measures, _ = scripts
    side = "dapt_pointmae_scanobjectnn size=tiny depth=1"
    found = measures.training_step((side, f"plain {side}"), 2, 1)
    assert set(found) == {"bytes", "seconds"}
    for values in found.values():
        assert list(values) == [side, f"plain {side}"]
        assert min(values.values()) > 0
    assert found["bytes"][side] < found["bytes"][f"plain {side}"]


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="the other side is torch"
)
def test_patches_are_compared_before_they_are_timed(scripts, monkeypatch):
    _, _, measures, _ = scripts
    sizes = "points=256 groups=16 group_size=8"
    pair = (f"grouping {sizes}", f"plain grouping {sizes}")
    found = measures.grouping(pair, 2, 1)
    assert min(found["seconds"].values()) > 0
    import plain_torch

    def other(points, groups, size):
        centers, near = patches(points, groups, size)
        return centers.flip(1), near

    patches = plain_torch.patches
    monkeypatch.setattr(plain_torch, "patches", other)
    with pytest.raises(RuntimeError, match="different points.*Received"):
        measures.grouping(pair, 2, 1)


def test_what_is_missing_here_is_named(scripts):
    benchmark, _, _, _ = scripts
    assert benchmark._missing({}) is None
    missing = benchmark._missing({"needs": ("torch", "cuda")})
    if keras.config.backend() != "torch":
        assert missing == "torch"
    else:
        import torch

        assert missing == (None if torch.cuda.is_available() else "cuda")


@pytest.mark.slow
@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="the other side is torch"
)
def test_a_run(run_script, tmp_path):
    shown = run_script(
        "benchmark/run.py",
        "--quick",
        "--benchmarks=host_overhead,sampling_growth_batch",
        "--results=rows.csv",
        "--figure=growth.png",
    )
    last = shown.stdout.strip().splitlines()[-1]
    assert " of 2 figures reached, " in last
    with open(tmp_path / "rows.csv", newline="") as stream:
        host, growth = csv.DictReader(stream)
    assert tuple(host) == results.COST
    assert host["baseline"] == f"plain {host['side']}"
    assert float(host["value"]) > 0 and host["repeats"] == "30"
    assert growth["batch_size"] == "128"
    assert (tmp_path / "growth.png").exists()
