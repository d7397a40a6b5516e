"""Fine-tunes a preset and measures it on the test split.

Your own clouds, in folders by class (my_clouds/train/CLASS/FILE and
my_clouds/test/CLASS/FILE) or in ScanObjectNN's h5 layout:

    keras-pointpeft train --preset=dapt_pointmaetiny_shapes \\
        --dataset=folder --data=my_clouds --num_points=512

The same with what points have beside their place, --channels=colors,intensity.

The data set of the preset's name:

    keras-pointpeft train --preset=dapt_pointmae_scanobjectnn \\
        --data=/data/ScanObjectNN

Presets of segmentation train on parts or scenes:

    keras-pointpeft train --preset=dapt_pointmae_shapenetpart \\
        --data=/data/ShapeNetPart
    keras-pointpeft train --preset=dapt_act_s3dis --data=/data/S3DIS

Own scenes, files Area_1_NAME.las and the like with a class for each point:

    keras-pointpeft train --preset=dapt_pointmaetiny_rooms --dataset=s3dis \\
        --data=my_plots --test_area=2 --class_names=ground,tree,other

Several GPUs, or machines (docs/guides/multi_gpu.md):

    torchrun --nproc-per-node=4 scripts/train.py \\
        --preset=dapt_pointmae_scanobjectnn --data=/data/ScanObjectNN

Writes into the output folder: `adapter/`, what was trained (and `model/`,
with --save_model); `result.json`; `log.csv`, one line per epoch; `state.npz`,
from which the same command goes on, exactly, if it was interrupted, and from
which a finished run is extended by more --epochs or --updates; `report.html`
and `figures/`, to look at, with the extra `viz`.
"""

import dataclasses
import json
import pathlib
import time
from contextlib import nullcontext

from absl import app
from absl import flags
from absl import logging

from keras_pointpeft import experiments
from keras_pointpeft import presets
from keras_pointpeft import reports
from keras_pointpeft import training
from keras_pointpeft.commands import shared
from keras_pointpeft.files.progress import silent
from keras_pointpeft.files.whole import whole_file

FLAGS = flags.FlagValues()
define = shared.definer(FLAGS)
PRESET = define(
    "preset",
    "string",
    "A preset, such as dapt_pointmae_scanobjectnn.",
    required=True,
)
METHOD = define(
    "method", "string", "Another method on the preset's backbone and data set."
)
shared.data_flags(FLAGS)
shared.channels_flag(FLAGS)
shared.start_flags(FLAGS)
shared.recipe_flags(FLAGS)
NUM_CLASSES = define(
    "num_classes", "integer", "Classes of own scenes. The preset's by default."
)
CLASS_NAMES = define(
    "class_names",
    "list",
    "Names of the classes of own scenes, or of the folders of own clouds, in "
    "the order of their numbers.",
)
OUTPUT = define(
    "output", "string", "Folder to write to, runs/PRESET_seedSEED if left out."
)
RESUME = define(
    "resume",
    "bool",
    "Go on from an interrupted run in the output folder.",
    default=True,
)
TENSORBOARD = define(
    "tensorboard", "bool", "Write TensorBoard event files.", default=False
)
CACHE = define(
    "cache",
    "string",
    "'memory' or a folder: what training does not change of a cloud is "
    "computed once. Needs --augmentation=none and --sampling=fps or first.",
)
SAVE_MODEL = define(
    "save_model",
    "bool",
    "Also write the whole model, a preset directory.",
    default=False,
)
REPORT = define(
    "report", "bool", "Write report.html and figures/.", default=True
)
RESULTS = define(
    "results", "string", "CSV file of measured results to add a row to."
)
ALL_DEVICES = define(
    "all_devices",
    "bool",
    "Share each batch among all devices. On torch, use torchrun instead.",
    default=False,
)

USAGE = "--preset=PRESET [--dataset=folder] [--data=DIR] [flags]"
GROUPS = {
    "What to train": ["preset", "method", "weights", "backbone"],
    "On which clouds": ["dataset", "data", "class_names", *shared.CLOUDS],
    "Scenes": ["test_area", "column_size", "num_classes"],
    "How long, and how": [
        "updates",
        "epochs",
        "batch_size",
        "gradient_accumulation",
        "learning_rate",
        "schedule",
        "weight_decay",
        "augmentation",
        "sampling",
        "class_weights",
        "balanced_sampling",
        "double_step",
        "seed",
    ],
    "Which epoch, and how it is measured": ["selection", "votes"],
    "Time and memory": ["cache", "dtype", "remat", "all_devices"],
    "What to write": [
        "output",
        "resume",
        "save_model",
        "report",
        "results",
        "tensorboard",
    ],
}


def main(_):
    with training.parallel.start(ALL_DEVICES.value):
        # Of several processes, one speaks.
        with nullcontext() if training.parallel.writes() else silent():
            fine_tune()
    training.parallel.finish()


def fine_tune():
    runs, writes = experiments.runs, training.parallel.writes()
    preset = presets.resolve(preset_name())
    if preset.method is None:
        raise app.UsageError(
            "--preset must name a method and a data set too, as "
            f"dapt_{preset.name.rsplit('_', 1)[0]}_scanobjectnn does. "
            f"Received: --preset={preset.name}"
        )
    changes = shared.recipe_changes(FLAGS)
    recipe = runs.recipe_for(preset, **changes)
    if recipe.selection == "best_on_test":
        logging.warning(
            "best_on_test picks the epoch by the test split: the figure "
            "overstates accuracy, as most published ones do."
        )
    train_split, test_split = load(preset)
    if FLAGS.dataset is not None:
        recipe = runs.for_own_data(recipe, train_split, changes)
    told = runs.task_arguments(preset, train_split, test_split, num_classes())
    model = runs.build_model(
        preset,
        recipe,
        weights=FLAGS.weights,
        backbone_dir=FLAGS.backbone,
        **told,
    )
    runs.prepare(model, train_split, recipe)
    recipe = training.settled(recipe, model, train_split)
    if writes:
        model.peft_summary()
    output = pathlib.Path(
        OUTPUT.value or f"runs/{preset.name}_seed{recipe.seed}"
    )
    live = training.LiveParts.of(model, train_split, recipe)
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
        callbacks=[live] if writes else [],
        about=about(preset, recipe),
    )
    if not writes:
        return
    seconds = time.perf_counter() - begin
    adapter_bytes = model.save_adapter(output / "adapter")
    if SAVE_MODEL.value:
        model.save_to_preset(output / "model")
    report = {**dataclasses.asdict(result), "recipe": recipe.to_dict()}
    report.update(preset=preset.name, adapter_bytes=adapter_bytes)
    report.update(arguments=arguments(preset))
    report.update(contract=model.contract.to_dict())
    text = json.dumps(report, indent=2)
    with whole_file(output / "result.json") as place:
        place.write_text(text + "\n", encoding="utf-8")
    print_result(preset, recipe, result, output)
    if RESULTS.value is not None:
        row = runs.result_row(
            preset,
            recipe,
            result,
            runs.dataset_name(
                FLAGS.dataset or preset.dataset,
                FLAGS.test_area,
            ),
            adapter_bytes,
            seconds,
            FLAGS.backbone or FLAGS.weights,
            FLAGS.limit,
        )
        columns = runs.result_columns(preset)
        presets.results.append_row(RESULTS.value, row, columns)
    if REPORT.value:
        write_report(output, train_split, test_split)


def about(preset, recipe):
    """What the adapter is to know of this run besides clouds and recipe."""
    limit = FLAGS.limit
    return {
        "preset": preset.name,
        "dataset": FLAGS.dataset or preset.loader,
        "backbone": FLAGS.backbone or FLAGS.weights,
        "test_area": FLAGS.test_area,
        "on_bad": FLAGS.on_bad,
        "up_axis": FLAGS.up_axis,
        "protocol": experiments.runs.protocol_of(recipe, preset, limit),
        "command": shared.command_line(),
        **names_of_points(preset),
    }


def num_classes():
    names = CLASS_NAMES.value
    if names is None or NUM_CLASSES.value is not None:
        return NUM_CLASSES.value
    return len(names)


def names_of_points(preset):
    """Names of the classes of points, where somebody knows them."""
    if preset.task_class != "SemanticSegmenter":
        return {}
    if CLASS_NAMES.value is not None:
        return {"part_names": tuple(CLASS_NAMES.value)}
    if FLAGS.dataset not in (None, preset.loader):
        return {}
    return experiments.runs.names_of_points(preset, NUM_CLASSES.value)


def arguments(preset):
    """What the run was started with and the recipe does not say."""
    data = FLAGS.data
    return {
        "dataset": FLAGS.dataset,
        "data": data and str(pathlib.Path(data).resolve()),
        "limit": FLAGS.limit,
        **dict.fromkeys((*shared.LOADER, "num_points")),
        **shared.loader_options(FLAGS, points_of(preset)),
        "num_classes": num_classes(),
        "weights": FLAGS.weights,
        "backbone": FLAGS.backbone,
    }


def write_report(output, train_split, test_split):
    if missing := reports.missing_packages():
        logging.info(
            "No report, for want of %s: pip install keras-pointpeft[viz], "
            "then keras-pointpeft report --run=%s",
            ", ".join(missing),
            output,
        )
        return
    page = reports.write_report(output, train_split, test_split)
    print(f"To look at: {page}")


def preset_name():
    if METHOD.value is None:
        return PRESET.value
    _, _, rest = PRESET.value.partition("_")
    return f"{METHOD.value}_{rest}"


def load(preset):
    shared.need_data(FLAGS, preset)
    return experiments.runs.load_splits(
        preset,
        FLAGS.data,
        FLAGS.dataset,
        FLAGS.limit,
        **shared.loader_options(FLAGS, points_of(preset)),
    )


def points_of(preset):
    """Points of a cloud that is read from a folder."""
    return FLAGS.num_points or preset.num_points


def print_result(preset, recipe, result, output):
    selected = {
        "held_out": "best epoch on the held-out part",
        "best_on_test": "best epoch on the test split",
        "last": "last epoch",
    }[result.selection]
    if preset.task_class != "PointCloudClassifier":
        figures = ", ".join(
            f"{name} {100 * value:.2f} %"
            for name, value in result.figures.items()
        )
        print(
            f"{preset.name}: {figures}; {selected} ({result.best_epoch + 1}), "
            f"{result.test_clouds} test clouds or rooms"
        )
    else:
        print(
            f"{preset.name}: {100 * result.last_accuracy:.2f} % last epoch "
            f"({len(result.history)}), {100 * result.best_accuracy:.2f} % "
            f"{selected} ({result.best_epoch + 1}), mean over classes "
            f"{100 * result.mean_class_accuracy:.2f} %, "
            f"{result.test_clouds} test clouds, {result.votes} vote(s)"
        )
    print(
        f"{result.trained_parameters:,} trained parameters, "
        f"{result.seconds_per_epoch:.2f} s per epoch. Written: {output}"
    )
