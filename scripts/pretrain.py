"""Pre-trains a backbone without labels, on clouds of any kind.

Point-MAE's way, or Point-M2AE's or PointGPT's for their backbones.

    python scripts/pretrain.py --backbone=pointmaetiny --data=shapes \
        --epochs=40 --warmup=2 --decoder_depth=2 \
        --output=runs/pointmaetiny_shapes

    python scripts/pretrain.py --backbone=pointmaetiny --data=programs \
        --endless --num_clouds=12800 --epochs=300 --decoder_depth=2 \
        --output=runs/pointmaetiny_programs

    python scripts/pretrain.py --backbone=pointmae --data=DIR \
        --dataset=shapenet55 --output=runs/pointmae_shapenet

Writes into the output folder: `backbone/`, a preset directory that
`keras_pointpeft.from_preset` and `scripts/train.py` take; `config.json`, the
flags; and in `masked/` (and `labelled/`, with --labelled_epochs) `log.csv`, the
loss of every epoch, and `state.npz`, from which the same command goes on,
exactly, if it was interrupted.
"""

import json
import math
import pathlib
import sys
import zlib

import numpy as np
from absl import app
from absl import flags
from absl import logging

BACKBONE = flags.DEFINE_string(
    "backbone", None, "Name of a backbone's card, such as pointmaetiny."
)
DATA = flags.DEFINE_string(
    "data",
    "shapes",
    "'shapes', the procedural clouds of 20 categories, 'programs', those of "
    "random programs, 'both', or a folder of files.",
)
DATASET = flags.DEFINE_string(
    "dataset",
    "folder",
    "How a folder is laid out: 'folder' (a folder of clouds or meshes for "
    "each class), 'shapenet55', 'modelnet40' ...",
)
OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.")
NUM_CLOUDS = flags.DEFINE_integer(
    "num_clouds", None, "At most so many clouds, of 'both' of each kind."
)
NUM_PROGRAMS = flags.DEFINE_integer(
    "num_programs",
    None,
    "So many different programs, a multiple of 64; each is then a class of "
    "--labelled_epochs. By default every cloud has a program of its own.",
)
VIEWS = flags.DEFINE_float(
    "views", 0.0, "Share of the programs' clouds that one side is seen of."
)
ENDLESS = flags.DEFINE_bool(
    "endless",
    False,
    "New programs in every batch, --num_clouds of them an epoch, which threads "
    "make while the device trains. With --data=programs.",
)
START_FROM = flags.DEFINE_string(
    "start_from",
    None,
    "A backbone's preset or directory to go on from, of the card --backbone.",
)
NUM_POINTS = flags.DEFINE_integer(
    "num_points",
    None,
    "Points per cloud and step. By default 16 per group, or 4 per group of "
    "Point-M2AE's first stage.",
)
STORED_POINTS = flags.DEFINE_integer(
    "stored_points",
    None,
    "Points per cloud in memory, of which every step draws its own.",
)
EPOCHS = flags.DEFINE_integer(
    "epochs", 300, "Masked epochs; 0 for labelled ones only.", lower_bound=0
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Clouds per step.")
LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Peak rate.")
WEIGHT_DECAY = flags.DEFINE_float("weight_decay", 0.05, "Of matrices.")
WARMUP = flags.DEFINE_integer("warmup", 10, "Epochs of linear warm-up.")
SCHEDULE = flags.DEFINE_enum(
    "schedule",
    "epoch",
    ["epoch", "update"],
    "What moves the rate: epochs, as published, or updates, for few epochs.",
)
MASK_RATIO = flags.DEFINE_float(
    "mask_ratio",
    None,
    "Share of hidden patches. As published by default: 0.6, 0.8 for "
    "Point-M2AE, 0.7 for PointGPT.",
)
MASK_TYPE = flags.DEFINE_enum(
    "mask_type",
    "random",
    ["random", "block"],
    "Which patches to hide; random ones for Point-M2AE and PointGPT.",
)
LOSS = flags.DEFINE_enum(
    "loss", "chamfer_l2", ["chamfer_l2", "chamfer_l1"], "Loss."
)
AUGMENTATION = flags.DEFINE_list(
    "augmentation", ["scale_translate"], "Of keras_pointpeft.data.augmentation."
)
CLIP_NORM = flags.DEFINE_float(
    "clip_norm", None, "Bound for the norm of all gradients. None as published."
)
INITIALIZER = flags.DEFINE_enum(
    "initializer",
    "published",
    ["published", "torch"],
    "How the backbone starts: as the published pre-training (normal, 0.02) or "
    "as PyTorch's layers do, which suits narrow backbones.",
)
LABELLED_EPOCHS = flags.DEFINE_integer(
    "labelled_epochs",
    0,
    "Epochs of supervised post-pre-training on the same clouds and their "
    "labels, with a head that is then thrown away (PointGPT, section 3.3).",
)
DECODER_DEPTH = flags.DEFINE_integer(
    "decoder_depth",
    None,
    "Decoder blocks. As published by default: 4, or 1 in each of the two "
    "stages of Point-M2AE's. Of PointGPT, blocks of the generation branch.",
)
DROP_PATH = flags.DEFINE_float(
    "drop_path_rate", None, "Of encoder and decoder. The card's by default."
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of everything.")
SVM_EVERY = flags.DEFINE_integer(
    "svm_every",
    0,
    "Every so many epochs, a linear SVM on the features of a labelled data "
    "set tells how good they are; 0 for never.",
)
SVM_DATASET = flags.DEFINE_string(
    "svm_dataset", "shapes", "That data set: 'shapes', 'modelnet40' ..."
)
SVM_DATA = flags.DEFINE_string("svm_data", None, "Folder of its files.")
SVM_CLOUDS = flags.DEFINE_integer(
    "svm_clouds", None, "At most so many clouds of each of its splits."
)
JIT = flags.DEFINE_bool(
    "jit", None, "Whether to compile the step. The backend's default if unset."
)
HALF_WEIGHTS = flags.DEFINE_string(
    "half_weights",
    None,
    "Also writes the backbone's weights to this .weights.h5 file, in float16 "
    "at half the size, as zoo/weights has them.",
)
RESUME = flags.DEFINE_bool(
    "resume", True, "Go on where a run into the same folder was interrupted."
)
flags.mark_flags_as_required(["backbone", "output"])


def main(_):
    from keras_pointpeft.commands import Progress

    with Progress("starting Keras"):
        import keras

        import keras_pointpeft

    keras.utils.set_random_seed(SEED.value)
    output = pathlib.Path(OUTPUT.value)
    output.mkdir(parents=True, exist_ok=True)

    with Progress("building the model"):
        model = make_model()
    split = read_clouds()
    if not EPOCHS.value + LABELLED_EPOCHS.value:
        raise app.UsageError(
            "There is nothing to do. Received: --epochs=0 --labelled_epochs=0"
        )
    alone = keras_pointpeft.training.alone_in
    if EPOCHS.value:
        with alone(output / "masked") as folder:
            state = fit(model, split, EPOCHS.value, folder)
    backbone = model.backbone
    if LABELLED_EPOCHS.value:
        from keras_pointpeft.models import PointCloudClassifier

        if split.labels is None or len(split.class_names) < 2:
            raise app.UsageError(
                "--labelled_epochs needs labels; those of programs are "
                f"--num_programs. Received: --data={DATA.value}, without any"
            )
        model = PointCloudClassifier(backbone, len(split.class_names))
        with alone(output / "labelled") as folder:
            state = fit(model, split, LABELLED_EPOCHS.value, folder)
    backbone.save_to_preset(output / "backbone")
    if HALF_WEIGHTS.value is not None:
        keras_pointpeft.checkpoints.write_half(backbone, HALF_WEIGHTS.value)
    settings = json.dumps(state.identity, indent=2, sort_keys=True)
    (output / "config.json").write_text(settings + "\n")
    logging.info("Written: %s", output / "backbone")


def fit(model, split, epochs, folder):
    """Trains one stage, from where it was interrupted; returns its state."""
    from keras_pointpeft.data import FollowEpoch
    from keras_pointpeft.models import PointCloudClassifier
    from keras_pointpeft.training import CosineOfUpdates
    from keras_pointpeft.training import CosineWithWarmup
    from keras_pointpeft.training import EpochLog
    from keras_pointpeft.training import EpochSeed
    from keras_pointpeft.training import EpochTimer
    from keras_pointpeft.training import RateLog
    from keras_pointpeft.training import StopOnNaN
    from keras_pointpeft.training import TrainingCheckpoint
    from keras_pointpeft.training import make_optimizer
    from keras_pointpeft.training import telling_epochs

    by_epoch = SCHEDULE.value == "epoch"
    if by_epoch and WARMUP.value and 4 * (WARMUP.value + 1) > epochs:
        logging.warning(
            "%d of %d epochs are warm-up: the first two of them train at a "
            "rate of 1e-6, as published. For few epochs use --warmup=0 or "
            "--schedule=update.",
            min(WARMUP.value + 1, epochs),
            epochs,
        )
    masked = not isinstance(model, PointCloudClassifier)
    num_points = points_per_cloud(model.backbone)
    dataset = batches(split, masked, num_points)
    rate = LEARNING_RATE.value
    pace = CosineWithWarmup(rate, epochs, WARMUP.value)
    if not by_epoch:
        steps = len(dataset)
        rate = CosineOfUpdates(rate, steps * epochs, steps * WARMUP.value)
        pace = RateLog()
    optimizer = make_optimizer(
        model,
        rate,
        WEIGHT_DECAY.value,
        clip_norm=CLIP_NORM.value,
    )
    jit = "auto" if JIT.value is None else JIT.value
    model.compile(optimizer, jit_compile=jit)
    state = TrainingCheckpoint(
        folder / "state.npz", run_identity(model, split)
    )
    if not RESUME.value:
        pathlib.Path(state.path).unlink(missing_ok=True)
    start = state.restore(model)
    logging.info(
        "%s: %d parameters, %s clouds, %d steps per epoch, from epoch %d",
        folder.name,
        sum(math.prod(v.shape) for v in model.trainable_variables),
        "endless" if ENDLESS.value else len(split.points),
        len(dataset),
        start + 1,
    )
    with telling_epochs(epochs, (epochs - start) * len(dataset)) as telling:
        model.fit(
            dataset,
            initial_epoch=start,
            epochs=epochs,
            shuffle=False,
            verbose=0,
            callbacks=[
                FollowEpoch(dataset),
                EpochSeed(SEED.value),
                pace,
                EpochTimer(),
                StopOnNaN(state.path),
                *(linear_svm(num_points) if masked else ()),
                state,
                telling,
                EpochLog(folder / "log.csv", state.history),
            ],
        )
    return state


def batches(split, masked, num_points):
    """What a stage trains on: a split's clouds, or programs without an end."""
    from keras_pointpeft.data import PointCloudDataset
    from keras_pointpeft.data import ProgramDataset

    if ENDLESS.value:
        return ProgramDataset(
            max(1, (NUM_CLOUDS.value or 10000) // BATCH_SIZE.value),
            BATCH_SIZE.value,
            num_points,
            None if masked else NUM_PROGRAMS.value,
            VIEWS.value,
            AUGMENTATION.value,
            SEED.value,
        )
    return PointCloudDataset(
        split.points,
        None if masked else split.labels,
        batch_size=BATCH_SIZE.value,
        num_points=num_points,
        sampling="random",
        augmentation=AUGMENTATION.value,
        shuffle=True,
        drop_last=True,
        seed=SEED.value,
    )


def points_per_cloud(backbone):
    groups = backbone.num_groups
    per_group = 16 if isinstance(groups, int) else 4
    return NUM_POINTS.value or per_group * int(np.max(groups))


def linear_svm(num_points):
    """The callback that judges features, if it is asked for."""
    from keras_pointpeft.experiments import runs
    from keras_pointpeft.training import LinearSVM

    if not SVM_EVERY.value:
        return []
    splits = [
        runs.load_split(
            None, name, SVM_DATA.value, SVM_DATASET.value, SVM_CLOUDS.value
        )
        for name in ("train", "test")
    ]
    return [LinearSVM(*splits, num_points, SVM_EVERY.value)]


def run_identity(model, split):
    """What must be the same for an interrupted run to go on."""
    variables = [f"{v.path}{tuple(v.shape)}" for v in model.variables]
    clouds = "endless"
    if not ENDLESS.value:
        digest = zlib.crc32(np.ascontiguousarray(split.points))
        clouds = f"{len(split.points)} clouds, {digest:08x}"
    own = flags.FLAGS.get_key_flags_for_module(sys.argv[0])
    ignored = ("output", "resume", "half_weights")
    # A run from before there was this flag goes on as it began.
    ignored += ("schedule",) if SCHEDULE.value == "epoch" else ()
    ignored += ("svm_every", "svm_dataset", "svm_data", "svm_clouds")
    return {
        "model": f"{len(variables)} variables, "
        f"{zlib.crc32(' '.join(variables).encode()):08x}",
        "clouds": clouds,
        **{f.name: f.value for f in own if f.name not in ignored},
    }


def make_model():
    """The autoencoder around the card's backbone, freshly initialised."""
    import keras_pointpeft
    from keras_pointpeft import models
    from keras_pointpeft.presets import cards

    cards = cards.read_cards("backbones")
    if BACKBONE.value not in cards:
        raise app.UsageError(
            f"--backbone must be one of {', '.join(cards)}. "
            f"Received: {BACKBONE.value}"
        )
    card = cards[BACKBONE.value]
    config = {**card["config"]}
    config.update(card.get("by_num_points", {}).get(str(NUM_POINTS.value), {}))
    if START_FROM.value is not None:
        started = keras_pointpeft.from_preset(START_FROM.value)
        if type(started).__name__ != card["class"]:
            raise app.UsageError(
                f"--start_from must be a {card['class']}, as {BACKBONE.value} "
                f"is. Received: {START_FROM.value}, a {type(started).__name__}"
            )
        own = started.get_config()
        config = {name: own[name] for name in own if name in config}
    if DROP_PATH.value is not None:
        config["drop_path_rate"] = DROP_PATH.value
    generative = card["class"] == "PointGPTBackbone"
    if generative:
        config["generator_depth"] = DECODER_DEPTH.value or 4
    backbone = getattr(models, card["class"])(**config)
    arguments = {
        "decoder_depth": DECODER_DEPTH.value,
        "decoder_num_heads": backbone.num_heads,
        "mask_ratio": MASK_RATIO.value,
        "mask_type": MASK_TYPE.value,
        "decoder_drop_path_rate": backbone.drop_path_rate,
        "loss": LOSS.value,
        "seed": SEED.value,
    }
    autoencoder = models.MaskedAutoencoder
    if generative:
        autoencoder = models.GenerativePretrainer
        arguments = {"mask_ratio": MASK_RATIO.value, "seed": SEED.value}
    if isinstance(backbone, models.PCPMAEBackbone):
        autoencoder = models.CenterPredictingAutoencoder
    if isinstance(backbone, models.PointM2AEBackbone):
        if arguments.pop("mask_type") != "random":
            raise app.UsageError(
                "Point-M2AE hides random patches. "
                f"Received: --mask_type={MASK_TYPE.value}"
            )
        autoencoder = models.HierarchicalMaskedAutoencoder
    arguments = {k: v for k, v in arguments.items() if v is not None}
    model = autoencoder(backbone, **arguments)
    if START_FROM.value is not None:
        backbone.set_weights(started.get_weights())
    elif INITIALIZER.value == "published":
        model.initialize_backbone(SEED.value)
    return model


def read_clouds():
    """A split with clouds `(clouds, points, 3)` in the unit sphere."""
    from keras_pointpeft import data

    options = {}
    if STORED_POINTS.value is not None:
        options["num_points"] = STORED_POINTS.value
    kinds = {"both": ("shapes", "programs")}.get(DATA.value, (DATA.value,))
    if set(kinds) <= {"shapes", "programs"}:
        return made_clouds(kinds, options)
    part = None if DATASET.value == "folder" else "train"
    split = data.load(DATASET.value, DATA.value, split=part, **options)
    count = NUM_CLOUDS.value
    labels = None if split.labels is None else split.labels[:count]
    points = data.unit_sphere(split.points[:count])
    return without_rest(split, points=points, labels=labels)


def made_clouds(kinds, options):
    """Procedural clouds of one kind or of both, behind each other."""
    from keras_pointpeft import data

    splits = []
    for kind in kinds:
        own = dict(options)
        if ENDLESS.value:
            if kind != "programs":
                raise app.UsageError(
                    "--endless clouds are programs: --data=programs. "
                    f"Received: --data={DATA.value}"
                )
            # They tell how many classes there are; batches make their own.
            own.update(num_programs=NUM_PROGRAMS.value, num_clouds=0)
        elif kind == "shapes":
            own.update(num_clouds=NUM_CLOUDS.value, cache=True)
        else:
            own.update(num_programs=NUM_PROGRAMS.value, views=VIEWS.value)
            own.update(num_clouds=NUM_CLOUDS.value or 10000)
        splits.append(data.load(kind, split="pretrain", **own))
    if len(splits) == 1:
        return without_rest(splits[0])
    first = len(splits[0].class_names)
    labels = np.concatenate([splits[0].labels, splits[1].labels + first])
    names = (*splits[0].class_names, *splits[1].class_names)
    points = np.concatenate([split.points for split in splits])
    return without_rest(
        splits[0], points=points, labels=labels, class_names=names
    )


def without_rest(split, **changes):
    """A split of clouds and labels only."""
    import dataclasses

    return dataclasses.replace(
        split,
        **changes,
        ids=None,
        part_labels=None,
        part_names=None,
    )


if __name__ == "__main__":
    app.run(main)
