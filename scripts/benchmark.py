"""Measures what training costs, against other ways to do the same.

    python scripts/benchmark.py            # full batches
    python scripts/benchmark.py --quick    # small batches, few repetitions

Both sides of a ratio are measured in one run on one machine, in turns; times
are medians. Prints a table and writes rows to a CSV file (--results).
"""

import concurrent.futures
import datetime
import multiprocessing
import os
import statistics
from contextlib import nullcontext

import numpy as np
from absl import app
from absl import flags
from rich.console import Console
from rich.table import Table

NAMES = flags.DEFINE_list(
    "benchmarks", None, "Which of the benchmarks; all of them by default."
)
QUICK = flags.DEFINE_bool("quick", False, "Small batches, few repetitions.")
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", None, "Clouds in a batch. 32 by default, quick 4."
)
REPEATS = flags.DEFINE_integer(
    "repeats", None, "Timed steps of each side. 9 by default, quick 3."
)
RESULTS = flags.DEFINE_string("results", None, "CSV file to add rows to.")

# What is measured, of what, against what, and the ratio wanted. A side is a
# preset; `remat` and `without` change it, see `PointBackbone.remat` and
# `ops.disable_accelerators`. `plain` is `scripts/plain_torch.py`: the
# published arithmetic, operation by operation.
DAPT = "dapt_pointmae_scanobjectnn"
FULL = "full_pointmae_scanobjectnn"
# Short, so it is the same in quick runs.
SAMPLING = {"batch_size": 32, "repeats": 9}
BENCHMARKS = {
    "dapt_step": {
        "measure": "training_step",
        "sides": (DAPT, f"plain {DAPT}"),
        "wanted": {"seconds": 0.5, "bytes": 0.5},
    },
    "dapt_step_without_onednn": {
        "measure": "training_step",
        "sides": (f"{DAPT} without=onednn", f"plain {DAPT}"),
        "wanted": {"seconds": 0.8, "bytes": 0.5},
    },
    "dapt_step_lean": {
        "measure": "training_step",
        "sides": (f"{DAPT} remat=block", f"plain {DAPT}"),
        "wanted": {"seconds": 1.3, "bytes": 0.15},
    },
    "dapt_memory": {
        "measure": "peak_memory",
        "sides": (DAPT, FULL),
        "wanted": {"growth": 0.5},
    },
    "dapt_memory_lean": {
        "measure": "peak_memory",
        "sides": (f"{DAPT} remat=block", FULL),
        "wanted": {"growth": 0.3},
    },
    "pointpeft_step": {
        "measure": "training_step",
        "sides": ("pointpeft_pointmae_scanobjectnn", FULL),
        "wanted": {"seconds": 1.25, "bytes": 0.7},
    },
    "sampling": {
        "measure": "sampling",
        "sides": ("sampling", "plain sampling"),
        "wanted": {"seconds": 1 / 30},
        "wanted_on": {"tensorflow": 1 / 20, "jax": 1 / 25},
        **SAMPLING,
    },
    "sampling_without_numba": {
        "measure": "sampling",
        "sides": ("sampling without=numba", "plain sampling"),
        "wanted": {"seconds": 1 / 8},
        "backends": ("torch",),
        **SAMPLING,
    },
    # Four times as much of one thing is to take four times as long.
    "sampling_growth_points": {
        "measure": "sampling",
        "sides": ("sampling points=8192", "sampling points=2048"),
        "wanted": {"seconds": 4.0},
        **SAMPLING,
    },
    "sampling_growth_samples": {
        "measure": "sampling",
        "sides": ("sampling samples=512", "sampling samples=128"),
        "wanted": {"seconds": 4.0},
        **SAMPLING,
    },
    "sampling_growth_batch": {
        "measure": "sampling",
        "sides": ("sampling batch=128", "sampling batch=32"),
        "wanted": {"seconds": 4.0},
        **SAMPLING,
    },
}


def main(_):
    from keras_pointpeft.training import results

    names = NAMES.value or list(BENCHMARKS)
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        raise app.UsageError(
            f"--benchmarks must be some of {sorted(BENCHMARKS)}. "
            f"Received: {unknown}"
        )
    batch_size = BATCH_SIZE.value or (4 if QUICK.value else 32)
    repeats = REPEATS.value or (3 if QUICK.value else 9)
    rows = []
    for name in names:
        benchmark = BENCHMARKS[name]
        if not _runs_here(benchmark):
            continue
        sizes = (
            benchmark.get("batch_size", batch_size),
            benchmark.get("repeats", repeats),
        )
        measured = MEASURES[benchmark["measure"]](benchmark["sides"], *sizes)
        for quantity, values in measured.items():
            row = _row(name, quantity, values, *sizes)
            rows.append(row)
            if RESULTS.value is not None:
                results.append_row(RESULTS.value, row, results.COST)
    _print(rows)


# === Measures: sides in, values by quantity and side out ===


def training_step(sides, batch_size, repeats):
    """Seconds of a step, and bytes that its forward pass leaves."""
    import keras

    from keras_pointpeft.training import cost

    made = {side: make(side, batch_size) for side in sides}
    measured = {}
    if keras.backend.backend() == "torch":
        measured["bytes"] = {s: kept() for s, (_, kept) in made.items()}
    else:
        measured["bytes"] = growth(sides, batch_size)
    steps = {side: step for side, (step, _) in made.items()}
    seconds = cost.interleaved_seconds(steps, repeats, warmup=2)
    measured["seconds"] = {
        side: statistics.median(values) for side, values in seconds.items()
    }
    return measured


def peak_memory(sides, batch_size, repeats):
    """Bytes by which a process grows while it trains."""
    return {"growth": growth(sides, batch_size)}


def growth(sides, batch_size):
    # Each in a process of its own: memory is not given back.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        1, context, max_tasks_per_child=1
    ) as pool:
        return {
            side: pool.submit(_growth, side, batch_size).result()
            for side in sides
        }


def _growth(side, batch_size):
    from keras_pointpeft.training import cost

    return cost.peak_growth(make(side, batch_size)[0])


def sampling(sides, batch_size, repeats):
    """Seconds of farthest point sampling; the indices must be the same."""
    from keras_pointpeft.training import cost

    steps = {side: make_sampling(side, batch_size) for side in sides}
    if f"plain {sides[0].split()[0]}" in sides:
        first, second = (np.asarray(step()) for step in steps.values())
        if not np.array_equal(first, second):
            raise RuntimeError(
                f"{sides[0]} and {sides[1]} choose different points. "
                f"Received: {np.sum(first != second)} different indices"
            )
    seconds = cost.interleaved_seconds(steps, repeats, warmup=2)
    return {
        "seconds": {
            side: statistics.median(values) for side, values in seconds.items()
        }
    }


MEASURES = {
    "training_step": training_step,
    "peak_memory": peak_memory,
    "sampling": sampling,
}


def make_sampling(side, batch, points=2048, samples=128):
    """A function that samples and returns the indices."""
    import keras

    from keras_pointpeft import ops

    words = side.split()
    given = dict(word.split("=") for word in words if "=" in word)
    without = given.pop("without", None)
    sizes = {"batch": batch, "points": points, "samples": samples}
    sizes |= {name: int(value) for name, value in given.items()}
    shape = (sizes["batch"], sizes["points"], 3)
    clouds = np.random.default_rng(0).uniform(-1.0, 1.0, shape)
    clouds = clouds.astype("float32")
    if words[0] == "plain":
        import plain_torch
        import torch

        clouds = torch.from_numpy(clouds)
        return lambda: plain_torch.farthest_point_sample(
            clouds, sizes["samples"]
        )
    clouds = keras.ops.convert_to_tensor(clouds)

    def step():
        off = ops.disable_accelerators(without) if without else nullcontext()
        with off:
            index = ops.farthest_point_sample(clouds, sizes["samples"])
        return keras.ops.convert_to_numpy(index)

    return step


def make(side, batch_size):
    """A step of a side, and a function of the bytes that it keeps."""
    words = side.split()
    changes = dict(word.split("=") for word in words if "=" in word)
    names = [word for word in words if "=" not in word]
    if names[0] == "plain":
        return _plain(names[1], batch_size)
    return _ours(names[0], batch_size, **changes)


def _ours(name, batch_size, remat=None, without=None):
    from keras_pointpeft import ops
    from keras_pointpeft import presets
    from keras_pointpeft.peft import prior_bank
    from keras_pointpeft.training import cost
    from keras_pointpeft.training import runs
    from keras_pointpeft.training.trainer import compile_for

    preset = presets.resolve(name)
    recipe = runs.recipe_for(preset, remat=remat)
    model = runs.build_model(
        preset, recipe, len(preset.class_names), weights="random"
    )
    layer = prior_bank.prior_layer(model.backbone)
    if layer is not None:
        rng = np.random.default_rng(0)
        features = rng.standard_normal(tuple(layer.bank.shape))
        layer.fill(features, prior_bank.fingerprint(model.backbone))
    compile_for(model, recipe)
    batch = _batch(preset, batch_size)

    def step():
        # What it returns are the metrics, on the host: the step is done.
        if without is None:
            return model.train_on_batch(*batch)
        with ops.disable_accelerators(without):
            return model.train_on_batch(*batch)

    return step, lambda: cost.kept_for_backward(model, *batch)


def _plain(name, batch_size):
    """The same in plain PyTorch, with its own optimizer and clipping."""
    import plain_torch
    import torch

    from keras_pointpeft import presets
    from keras_pointpeft.training import cost

    preset = presets.resolve(name)
    rank = preset.method_config["rank"] if preset.method == "dapt" else None
    classes = len(preset.class_names)
    model = plain_torch.PointMAE(classes, rank).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=preset.recipe["learning_rate"])
    points, labels = map(torch.tensor, _batch(preset, batch_size))
    labels = labels.long()

    def loss():
        return torch.nn.functional.cross_entropy(model(points), labels)

    def step():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(trained, preset.recipe["clip_norm"])
        optimizer.step()
        return value.item()

    own = [*model.parameters(), *model.buffers()]
    return step, lambda: cost.bytes_kept(loss, own)


def _batch(preset, batch_size):
    rng = np.random.default_rng(0)
    shape = (batch_size, preset.num_points, 3)
    points = rng.uniform(-1.0, 1.0, shape).astype("float32")
    labels = rng.integers(len(preset.class_names), size=batch_size)
    return points, labels.astype("int32")


# === Rows ===


def _row(name, quantity, values, batch_size, repeats):
    import keras

    import keras_pointpeft
    from keras_pointpeft.training import runs

    side, baseline = values
    return {
        "benchmark": name,
        "quantity": _label(quantity),
        "side": side,
        "baseline": baseline,
        "value": f"{values[side]:.6g}",
        "baseline_value": f"{values[baseline]:.6g}",
        "ratio": f"{values[side] / values[baseline]:.3f}",
        "wanted": _wanted(name, quantity),
        "batch_size": batch_size,
        "repeats": repeats if quantity == "seconds" else 1,
        "backend": keras.backend.backend(),
        "device": runs.device_name(),
        "threads": os.environ.get("OMP_NUM_THREADS", os.cpu_count()),
        "version": keras_pointpeft.__version__,
        "date": datetime.date.today().isoformat(),
    }


def _runs_here(benchmark):
    import keras

    backend = keras.backend.backend()
    return backend in benchmark.get("backends", (backend,))


def _wanted(name, quantity):
    import keras

    benchmark = BENCHMARKS[name]
    wanted = benchmark["wanted"][quantity]
    here = benchmark.get("wanted_on", {})
    return round(here.get(keras.backend.backend(), wanted), 4)


def _label(quantity):
    import keras

    if quantity == "seconds":
        return quantity
    kept = quantity == "bytes" and keras.backend.backend() == "torch"
    return "bytes kept for backward" if kept else "bytes at the peak"


def _print(rows):
    table = Table(title="Cost of training")
    for name in ("benchmark", "quantity", "value", "baseline", "ratio"):
        table.add_column(name, justify="left" if name < "q" else "right")
    table.add_column("wanted at most", justify="right")
    for row in rows:
        table.add_row(
            row["benchmark"],
            row["quantity"],
            row["value"],
            row["baseline_value"],
            row["ratio"],
            str(row["wanted"]),
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    app.run(main)
