"""Fine-tunes a preset and measures it on the test split.

    python scripts/train.py --preset=dapt_pointmae_scanobjectnn \
        --data=/data/ScanObjectNN

Own clouds, in folders by class or in ScanObjectNN's h5 layout:

    python scripts/train.py --preset=dapt_pointmae_scanobjectnn \
        --dataset=folder --data=my_clouds --epochs=50

Presets of segmentation train on parts or scenes:

    python scripts/train.py --preset=dapt_pointmae_shapenetpart \
        --data=/data/ShapeNetPart
    python scripts/train.py --preset=dapt_act_s3dis --data=/data/S3DIS

Several GPUs, or machines (docs/guides/multi_gpu.md):

    torchrun --nproc-per-node=4 scripts/train.py \
        --preset=dapt_pointmae_scanobjectnn --data=/data/ScanObjectNN

Writes into the output folder: `adapter/`, what was trained (and `model/`,
with --save_model); `result.json`; `log.csv`, one line per epoch; `state.npz`,
from which the same command goes on, exactly, if it was interrupted;
`report.html` and `figures/`, to look at, with the extra `viz`.
"""

import dataclasses
import json
import pathlib
import time

from absl import app
from absl import flags
from absl import logging

PRESET = flags.DEFINE_string(
    "preset", None, "A preset, such as dapt_pointmae_scanobjectnn."
)
METHOD = flags.DEFINE_string(
    "method", None, "Another method on the preset's backbone and data set."
)
DATA = flags.DEFINE_string("data", None, "Folder of the data set's files.")
DATASET = flags.DEFINE_string(
    "dataset",
    None,
    "Another data set than the preset's; own clouds: 'folder' or 'h5'.",
)
OUTPUT = flags.DEFINE_string(
    "output", None, "Folder to write to. By default runs/PRESET_seedSEED."
)
WEIGHTS = flags.DEFINE_enum(
    "weights", "backbone", ["backbone", "random"], "What to start from."
)
BACKBONE = flags.DEFINE_string(
    "backbone", None, "Preset directory of a backbone to start from."
)
EPOCHS = flags.DEFINE_integer("epochs", None, "Epochs.", lower_bound=1)
BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "Clouds in a batch.")
LEARNING_RATE = flags.DEFINE_float("learning_rate", None, "Peak rate.")
WEIGHT_DECAY = flags.DEFINE_float("weight_decay", None, "Of matrices.")
ACCUMULATION = flags.DEFINE_integer(
    "gradient_accumulation", None, "Batches that make one update."
)
AUGMENTATION = flags.DEFINE_string(
    "augmentation", None, "none, scale_translate, rotate, scale_rotate ..."
)
SAMPLING = flags.DEFINE_string(
    "sampling", None, "How points are chosen in training."
)
NUM_POINTS = flags.DEFINE_integer("num_points", None, "Points of a cloud.")
SELECTION = flags.DEFINE_enum(
    "selection",
    None,
    ["held_out", "last", "best_on_test"],
    "Which epoch is kept. best_on_test is what most papers report.",
)
VOTES = flags.DEFINE_integer(
    "votes", None, "Augmented passes averaged in the final evaluation."
)
DOUBLE_STEP = flags.DEFINE_bool(
    "double_step",
    None,
    "Two steps per batch, the first without clipping, as published "
    "segmentation does.",
)
COLUMN_SIZE = flags.DEFINE_float(
    "column_size", None, "Width in metres of the columns of a scene."
)
TEST_AREA = flags.DEFINE_string(
    "test_area", None, "Area of a scene data set to test on."
)
NUM_CLASSES = flags.DEFINE_integer(
    "num_classes", None, "Classes of own scenes. The preset's by default."
)
ON_BAD = flags.DEFINE_enum(
    "on_bad",
    None,
    ["raise", "skip"],
    "Whether clouds that cannot be used stop everything, or are left out with "
    "a warning that names them.",
)
SEED = flags.DEFINE_integer("seed", None, "Seed of everything.")
PRECISION = flags.DEFINE_enum(
    "precision",
    None,
    ["float32", "mixed_bfloat16", "mixed_float16"],
    "The model's dtype policy.",
)
REMAT = flags.DEFINE_enum(
    "remat",
    None,
    ["none", "elementwise", "block"],
    "What backward computes again instead of keeping it.",
)
LIMIT = flags.DEFINE_integer(
    "limit", None, "At most so many clouds of each split.", lower_bound=1
)
RESUME = flags.DEFINE_bool(
    "resume", True, "Go on from an interrupted run in the output folder."
)
TENSORBOARD = flags.DEFINE_bool(
    "tensorboard", False, "Write TensorBoard event files."
)
CACHE = flags.DEFINE_string(
    "cache",
    None,
    "'memory' or a folder: what training does not change of a cloud is "
    "computed once. Needs --augmentation=none and --sampling=fps or first.",
)
SAVE_MODEL = flags.DEFINE_bool(
    "save_model", False, "Also write the whole model, a preset directory."
)
REPORT = flags.DEFINE_bool(
    "report", True, "Write report.html and figures/, see scripts/report.py."
)
RESULTS = flags.DEFINE_string(
    "results", None, "CSV file of measured results to add a row to."
)
ALL_DEVICES = flags.DEFINE_bool(
    "all_devices",
    False,
    "Share each batch among all devices. On torch, use torchrun instead.",
)
flags.mark_flag_as_required("preset")


def main(_):
    logging.set_verbosity(logging.INFO)
    from keras_pointpeft.training import parallel

    with parallel.start(ALL_DEVICES.value):
        fine_tune()
    parallel.finish()


def fine_tune():
    from keras_pointpeft import presets
    from keras_pointpeft import training
    from keras_pointpeft.experiments import runs
    from keras_pointpeft.presets import results
    from keras_pointpeft.training import parallel

    preset = presets.resolve(preset_name())
    if preset.method is None:
        raise app.UsageError(
            "--preset must name a method and a data set too, as "
            f"dapt_{preset.name.rsplit('_', 1)[0]}_scanobjectnn does. "
            f"Received: --preset={preset.name}"
        )
    recipe = runs.recipe_for(
        preset,
        epochs=EPOCHS.value,
        batch_size=BATCH_SIZE.value,
        learning_rate=LEARNING_RATE.value,
        weight_decay=WEIGHT_DECAY.value,
        gradient_accumulation=ACCUMULATION.value,
        augmentation=AUGMENTATION.value,
        sampling=SAMPLING.value,
        num_points=NUM_POINTS.value,
        selection=SELECTION.value,
        votes=VOTES.value,
        double_step=DOUBLE_STEP.value,
        column_size=COLUMN_SIZE.value,
        seed=SEED.value,
        dtype=PRECISION.value,
        remat=REMAT.value,
    )
    if recipe.selection == "best_on_test":
        logging.warning(
            "best_on_test picks the epoch by the test split: the figure "
            "overstates accuracy, as most published ones do."
        )
    train_split, test_split = (load(runs, preset, s) for s in ("train", "test"))
    told = runs.task_arguments(
        preset, train_split, test_split, NUM_CLASSES.value
    )
    model = runs.build_model(
        preset,
        recipe,
        weights=WEIGHTS.value,
        backbone_dir=BACKBONE.value,
        **told,
    )
    runs.prepare(model, train_split, recipe)
    if parallel.writes():
        model.peft_summary()
    output = pathlib.Path(
        OUTPUT.value or f"runs/{preset.name}_seed{recipe.seed}"
    )
    begin = time.perf_counter()
    result = training.train(
        model,
        train_split,
        test_split,
        recipe,
        log_dir=output,
        resume=RESUME.value,
        tensorboard=TENSORBOARD.value,
        cache=CACHE.value,
    )
    if not parallel.writes():
        return
    seconds = time.perf_counter() - begin
    adapter_bytes = model.save_adapter(output / "adapter")
    if SAVE_MODEL.value:
        model.save_to_preset(output / "model")
    report = {**dataclasses.asdict(result), "recipe": recipe.to_dict()}
    report.update(preset=preset.name, adapter_bytes=adapter_bytes)
    report.update(arguments=arguments())
    text = json.dumps(report, indent=2)
    (output / "result.json").write_text(text + "\n", encoding="utf-8")
    print_result(preset, recipe, result, output)
    if RESULTS.value is not None:
        row = runs.result_row(
            preset,
            recipe,
            result,
            runs.dataset_name(
                DATASET.value or preset.dataset, TEST_AREA.value
            ),
            adapter_bytes,
            seconds,
            BACKBONE.value or WEIGHTS.value,
            LIMIT.value,
        )
        columns = runs.result_columns(preset)
        results.append_row(RESULTS.value, row, columns)
    if REPORT.value:
        write_report(output, train_split, test_split)


def arguments():
    """What the run was started with and the recipe does not say."""
    return {
        "dataset": DATASET.value,
        "data": DATA.value and str(pathlib.Path(DATA.value).resolve()),
        "limit": LIMIT.value,
        **loader_options(),
        "num_classes": NUM_CLASSES.value,
        "weights": WEIGHTS.value,
        "backbone": BACKBONE.value,
    }


def write_report(output, train_split, test_split):
    from keras_pointpeft import reports

    if missing := reports.missing_packages():
        logging.info(
            "No report, for want of %s: pip install keras-pointpeft[viz], "
            "then python scripts/report.py --run=%s",
            ", ".join(missing),
            output,
        )
        return
    path = reports.write_report(output, train_split, test_split)
    print(f"To look at: {path}")


def preset_name():
    if METHOD.value is None:
        return PRESET.value
    _, _, rest = PRESET.value.partition("_")
    return f"{METHOD.value}_{rest}"


def load(runs, preset, split):
    from keras_pointpeft.data import PROCEDURAL

    made = (DATASET.value or preset.loader) in PROCEDURAL
    if DATA.value is None and not made:
        raise app.UsageError(
            f"--data=DIR is missing: the folder of {preset.dataset}. "
            "Received: no --data"
        )
    options = {k: v for k, v in loader_options().items() if v is not None}
    return runs.load_split(
        preset, split, DATA.value, DATASET.value, LIMIT.value, **options
    )


def loader_options():
    points = NUM_POINTS.value if DATASET.value == "folder" else None
    return {
        "test_area": TEST_AREA.value,
        "on_bad": ON_BAD.value,
        "num_points": points,
    }


def print_result(preset, recipe, result, output):
    selected = {
        "held_out": "best epoch on the held-out part",
        "best_on_test": "best epoch on the test split",
        "last": "last epoch",
    }
    if preset.task_class != "PointCloudClassifier":
        print_figures(preset, result, selected[recipe.selection], output)
        return
    print(
        f"{preset.name}: {100 * result.last_accuracy:.2f} % last epoch, "
        f"{100 * result.best_accuracy:.2f} % "
        f"{selected[recipe.selection]} ({result.best_epoch + 1}), "
        f"mean over classes {100 * result.mean_class_accuracy:.2f} %, "
        f"{result.test_clouds} test clouds, {result.votes} vote(s)"
    )
    print(
        f"{result.trained_parameters:,} trained parameters, "
        f"{result.seconds_per_epoch:.2f} s per epoch. Written: {output}"
    )


def print_figures(preset, result, selected, output):
    figures = ", ".join(
        f"{name} {100 * value:.2f} %" for name, value in result.figures.items()
    )
    print(
        f"{preset.name}: {figures}; {selected} ({result.best_epoch + 1}), "
        f"{result.test_clouds} test clouds or rooms"
    )
    print(
        f"{result.trained_parameters:,} trained parameters, "
        f"{result.seconds_per_epoch:.2f} s per epoch. Written: {output}"
    )


if __name__ == "__main__":
    app.run(main)
