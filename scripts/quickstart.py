"""Fine-tunes one small backbone in several ways and compares them.

    python scripts/quickstart.py

Every method starts from the same pre-trained backbone, `pointmaetiny_shapes`,
and trains on the same procedural scans, which are made, not downloaded. The
table names accuracy on the test split, trained parameters, the size of the
adapter on the disk, and the time.
"""

import dataclasses
import pathlib
import tempfile
import time

from absl import app
from absl import flags
from absl import logging
from rich.console import Console
from rich.table import Table

from keras_pointpeft.commands import shared

METHODS = flags.DEFINE_list(
    "methods", ["dapt", "full", "linear"], "Methods to compare."
)
SEEDS = flags.DEFINE_list("seeds", ["0"], "One run of each method per seed.")
MODEL = flags.DEFINE_string(
    "model", "pointmaetiny_shapes", "Backbone and data set of the presets."
)
EPOCHS = flags.DEFINE_integer(
    "epochs", None, "Epochs, the presets' own by default.", lower_bound=1
)
LIMIT = flags.DEFINE_integer(
    "limit", None, "At most so many clouds of each split.", lower_bound=1
)
shared.start_flags(flags.FLAGS)
OUTPUT = flags.DEFINE_string(
    "output", None, "Folder for adapters and logs. Thrown away by default."
)
RESULTS = flags.DEFINE_string(
    "results", None, "CSV file of measured results to add rows to."
)


@dataclasses.dataclass
class Run:
    """One method and seed: its row for the file, and what trains."""

    method: str
    row: dict
    without_head: int


def main(_):
    from keras_pointpeft import presets
    from keras_pointpeft.experiments import runs
    from keras_pointpeft.presets import results

    seeds = parsed_seeds()
    described = [presets.resolve(f"{m}_{MODEL.value}") for m in METHODS.value]
    train_split, test_split = (
        runs.load_split(described[0], split, limit=LIMIT.value)
        for split in ("train", "test")
    )
    print(
        f"{train_split.name}: {len(train_split)} clouds; {test_split.name}: "
        f"{len(test_split)} clouds; {train_split.num_classes} classes",
        flush=True,
    )
    finished = []
    with tempfile.TemporaryDirectory() as temporary:
        output = pathlib.Path(OUTPUT.value or temporary)
        for seed in seeds:
            for preset in described:
                run = fine_tune(preset, seed, train_split, test_split, output)
                finished.append(run)
                if RESULTS.value is not None:
                    results.append_row(RESULTS.value, run.row)
    print_table(finished, len(seeds))


def parsed_seeds():
    try:
        return [int(seed) for seed in SEEDS.value]
    except ValueError:
        raise app.UsageError(
            "--seeds must be integers with commas between them. "
            f"Received: --seeds={','.join(SEEDS.value)}"
        ) from None


def fine_tune(preset, seed, train_split, test_split, output):
    from keras_pointpeft import training
    from keras_pointpeft.experiments import runs

    recipe = runs.recipe_for(
        preset, epochs=EPOCHS.value, seed=seed, selection="held_out"
    )
    model = runs.build_model(
        preset,
        recipe,
        train_split.num_classes,
        flags.FLAGS.weights,
        flags.FLAGS.backbone,
    )
    runs.prepare(model, train_split, recipe)
    folder = output / f"{preset.name}_seed{seed}"
    print(f"\n{preset.name}, seed {seed}", flush=True)
    begin = time.perf_counter()
    # Logs and a state to go on from only where they outlive this program.
    result = training.train(
        model,
        train_split,
        test_split,
        recipe,
        log_dir=folder if OUTPUT.value else None,
    )
    seconds = time.perf_counter() - begin
    adapter_bytes = model.save_adapter(folder / "adapter")
    row = runs.result_row(
        preset,
        recipe,
        result,
        preset.dataset,
        adapter_bytes,
        seconds,
        flags.FLAGS.backbone or flags.FLAGS.weights,
        LIMIT.value,
    )
    report = model.peft_summary(print_fn=None)
    return Run(preset.method, row, report["trainable_without_head"])


def print_table(finished, seeds):
    from keras_pointpeft.presets import results

    table = Table(
        title=f"{MODEL.value}, {seeds} seed(s), accuracy on the test split"
    )
    table.add_column("method")
    for name in (
        "last epoch %",
        "held-out choice %",
        "trained",
        "without head",
        "adapter bytes",
        "seconds",
    ):
        table.add_column(name, justify="right")
    summaries = results.summarise([run.row for run in finished])
    for summary in summaries:
        same = [r for r in finished if r.row["preset"] == summary["preset"]]
        seconds = sum(run.row["seconds"] for run in same) / len(same)
        table.add_row(
            same[0].method,
            spread(summary["last_mean"], summary["last_std"]),
            spread(summary["best_mean"], summary["best_std"]),
            f"{same[0].row['trained_parameters']:,}",
            f"{same[0].without_head:,}",
            f"{same[0].row['adapter_bytes']:,}",
            f"{seconds:.0f}",
        )
    Console(width=100).print(table)


def spread(mean, std):
    return f"{mean:.1f}" if std is None else f"{mean:.1f} +- {std:.1f}"


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    app.run(main)
