"""Few-shot classification: mean and deviation over episodes.

    python scripts/few_shot.py --preset=dapt_pointmae_modelnet40 \
        --data=/data/ModelNetFewshot
    python scripts/few_shot.py --preset=dapt_pointmaetiny_shapes --epochs=30

Episodes of one's own clouds, in folders by class or in ScanObjectNN's layout:

    python scripts/few_shot.py --preset=dapt_pointmaetiny_shapes \
        --dataset=folder --data=my_clouds --ways=3 --shots=5 --queries=5

With --data alone, the official episodes of ModelNet40 are read; without it,
episodes are drawn from the preset's training split, and their queries from
its test split. Every episode starts anew from the pre-trained backbone.
Papers report the best epoch on the queries (--selection=best_on_test). With
--results, what the file has already is not run again.
"""

import pathlib
import statistics
import tempfile
import time

from absl import app
from absl import flags
from absl import logging
from rich.console import Console
from rich.table import Table

from keras_pointpeft.commands import shared

PRESET = flags.DEFINE_string(
    "preset", None, "A preset of classification, such as dapt_pointmae_..."
)
DATA = flags.DEFINE_string(
    "data", None, "Folder of the official episodes, or of --dataset's files."
)
DATASET = flags.DEFINE_string(
    "dataset", None, "Own clouds to draw episodes from: 'folder' or 'h5'."
)
NUM_POINTS = flags.DEFINE_integer(
    "num_points", None, "Points of a cloud. The preset's by default."
)
WAYS = flags.DEFINE_list("ways", ["5", "10"], "Classes of an episode.")
SHOTS = flags.DEFINE_list("shots", ["10", "20"], "Clouds to learn from, each.")
QUERIES = flags.DEFINE_integer(
    "queries", 20, "Clouds of each class to test on, in episodes of one's own."
)
LIMIT = flags.DEFINE_integer(
    "limit", None, "At most so many clouds of each split to draw from."
)
EPISODES = flags.DEFINE_integer(
    "episodes", 10, "How many of each kind.", lower_bound=1
)
EPOCHS = flags.DEFINE_integer("epochs", 150, "Epochs.", lower_bound=1)
LEARNING_RATE = flags.DEFINE_float("learning_rate", None, "Peak rate.")
SELECTION = flags.DEFINE_enum(
    "selection",
    "last",
    ["last", "best_on_test"],
    "Which epoch is reported. best_on_test is what papers report.",
)
shared.start_flags(flags.FLAGS)
SEED = flags.DEFINE_integer("seed", 0, "Of episodes of one's own, and heads.")
RESULTS = flags.DEFINE_string(
    "results", None, "CSV file of few-shot results to add rows to."
)
flags.mark_flag_as_required("preset")


def main(_):
    from keras_pointpeft import presets
    from keras_pointpeft.presets import results

    preset = presets.resolve(PRESET.value)
    if preset.task_class != "PointCloudClassifier":
        raise app.UsageError(
            "--preset must name a method and a data set for classification. "
            f"Received: --preset={PRESET.value}"
        )
    official = DATA.value is not None and DATASET.value is None
    splits = None if official else load_splits(preset)
    rows = (
        results.read(RESULTS.value, results.FEW_SHOT) if RESULTS.value else []
    )
    table = Table("ways", "shots", "accuracy %", title=preset.name)
    for ways in map(int, WAYS.value):
        for shots in map(int, SHOTS.value):
            row = results.find(rows, identity(preset, ways, shots))
            if row is None:
                row = measure(preset, ways, shots, splits)
                if RESULTS.value is not None:
                    results.append_row(RESULTS.value, row, results.FEW_SHOT)
            table.add_row(
                str(ways), str(shots), f"{row['mean']} ± {row['deviation']}"
            )
    Console().print(table)


def identity(preset, ways, shots):
    """What a row of results is known by."""
    from keras_pointpeft.experiments import runs

    recipe = recipe_of(preset, episode=0)
    wanted = {
        "preset": preset.name,
        "dataset": dataset_name(preset),
        "ways": ways,
        "shots": shots,
        "episodes": EPISODES.value,
        "seed": SEED.value,
        "epochs": EPOCHS.value,
        "selection": SELECTION.value,
        "protocol": runs.protocol_of(recipe, preset, limit()),
        "weights": flags.FLAGS.backbone or flags.FLAGS.weights,
    }
    if DATA.value is None or DATASET.value is not None:
        wanted["test_clouds"] = ways * QUERIES.value
    return wanted


def dataset_name(preset):
    if DATASET.value is not None:
        return pathlib.Path(DATA.value or DATASET.value).name
    return preset.dataset if DATA.value is None else "modelnet40 few-shot"


def limit():
    # Official episodes are read as they are.
    official = DATA.value is not None and DATASET.value is None
    return None if official else LIMIT.value


def load_splits(preset):
    from keras_pointpeft.data import PROCEDURAL
    from keras_pointpeft.experiments import runs

    dataset = DATASET.value or preset.loader
    if DATA.value is None and dataset not in PROCEDURAL:
        raise app.UsageError(
            "--data=DIR is missing: the folder of the official episodes, or "
            "of own clouds with --dataset. Received: no --data"
        )
    options = {}
    if dataset == "folder":
        options["num_points"] = NUM_POINTS.value or preset.num_points
    return runs.load_splits(
        preset, DATA.value, dataset, limit(), **options
    )


def measure(preset, ways, shots, splits):
    """Runs all episodes of one kind; returns a row of results."""
    from keras_pointpeft.experiments import runs

    begin, accuracies = time.perf_counter(), []
    for episode in range(EPISODES.value):
        support, query = draw(ways, shots, episode, splits)
        result, adapter_bytes, recipe = fine_tune(
            preset, episode, support, query
        )
        accuracies.append(round(100 * result.best_accuracy, 2))
        print(
            f"{ways} ways, {shots} shots, episode {episode}: "
            f"{accuracies[-1]:.2f} %",
            flush=True,
        )
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    row = runs.result_row(
        preset,
        recipe,
        result,
        dataset_name(preset),
        adapter_bytes,
        time.perf_counter() - begin,
        flags.FLAGS.backbone or flags.FLAGS.weights,
        limit(),
    )
    del row["last_accuracy"], row["best_accuracy"]
    return {
        **row,
        "seed": SEED.value,
        "ways": ways,
        "shots": shots,
        "episodes": EPISODES.value,
        "mean": round(statistics.fmean(accuracies), 2),
        "deviation": round(spread, 2),
        "accuracies": " ".join(f"{value:.2f}" for value in accuracies),
    }


def draw(ways, shots, episode, splits):
    """What to learn from and what to test on."""
    from keras_pointpeft import data

    if splits is None:
        return data.load_few_shot(DATA.value, ways, shots, episode)
    return data.sample_episode(
        splits[0],
        ways,
        shots,
        QUERIES.value,
        seed=1000 * SEED.value + episode,
        test=splits[1],
    )


def recipe_of(preset, episode):
    from keras_pointpeft.experiments import runs

    return runs.recipe_for(
        preset,
        epochs=EPOCHS.value,
        learning_rate=LEARNING_RATE.value,
        selection=SELECTION.value,
        num_points=NUM_POINTS.value,
        seed=1000 * SEED.value + episode,
    )


def fine_tune(preset, episode, support, query):
    from keras_pointpeft import training
    from keras_pointpeft.experiments import runs

    recipe = recipe_of(preset, episode)
    model = runs.build_model(
        preset,
        recipe,
        support.num_classes,
        flags.FLAGS.weights,
        flags.FLAGS.backbone,
    )
    runs.prepare(model, support, recipe)
    result = training.train(model, support, query, recipe)
    with tempfile.TemporaryDirectory() as folder:
        return result, model.save_adapter(folder), recipe


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    app.run(main)
