"""Pre-trains a backbone without labels: Point-MAE on clouds of any kind.

    python scripts/pretrain.py --backbone=pointmaetiny --data=shapes \
        --epochs=40 --output=runs/pointmaetiny_shapes

Writes into the output folder: `backbone/`, a preset directory that
`keras_pointpeft.from_preset` and `scripts/train.py` take; `log.csv`, the loss
of every epoch; `config.json`, the flags; `state.npz`, from which the same
command goes on, exactly, if it was interrupted.
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
    "'shapes', the procedural clouds, or a folder with .npy files, one per "
    "cloud, of shape (points, 3 or more).",
)
OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.")
NUM_CLOUDS = flags.DEFINE_integer("num_clouds", None, "At most so many clouds.")
NUM_POINTS = flags.DEFINE_integer(
    "num_points", None, "Points per cloud and step. 16 per group by default."
)
STORED_POINTS = flags.DEFINE_integer(
    "stored_points",
    None,
    "Points per cloud in memory, of which every step draws its own.",
)
EPOCHS = flags.DEFINE_integer("epochs", 300, "Epochs.", lower_bound=1)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Clouds per step.")
LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Peak rate.")
WEIGHT_DECAY = flags.DEFINE_float("weight_decay", 0.05, "Of matrices.")
WARMUP = flags.DEFINE_integer("warmup", 10, "Epochs of linear warm-up.")
MASK_RATIO = flags.DEFINE_float("mask_ratio", 0.6, "Share of hidden patches.")
MASK_TYPE = flags.DEFINE_enum(
    "mask_type", "random", ["random", "block"], "Which patches to hide."
)
LOSS = flags.DEFINE_enum(
    "loss", "chamfer_l2", ["chamfer_l2", "chamfer_l1"], "Loss."
)
DECODER_DEPTH = flags.DEFINE_integer("decoder_depth", 4, "Decoder blocks.")
DROP_PATH = flags.DEFINE_float(
    "drop_path_rate", None, "Of encoder and decoder. The card's by default."
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of everything.")
JIT = flags.DEFINE_bool(
    "jit", None, "Whether to compile the step. The backend's default if unset."
)
RESUME = flags.DEFINE_bool(
    "resume", True, "Go on where a run into the same folder was interrupted."
)
flags.mark_flags_as_required(["backbone", "output"])


def main(_):
    import keras

    from keras_pointpeft.data import FollowEpoch
    from keras_pointpeft.data import PointCloudDataset
    from keras_pointpeft.training.callbacks import EpochLog
    from keras_pointpeft.training.callbacks import EpochSeed
    from keras_pointpeft.training.callbacks import EpochTimer
    from keras_pointpeft.training.callbacks import StopOnNaN
    from keras_pointpeft.training.checkpoint import TrainingCheckpoint
    from keras_pointpeft.training.optimizer import make_optimizer
    from keras_pointpeft.training.schedule import CosineWithWarmup

    keras.utils.set_random_seed(SEED.value)
    output = pathlib.Path(OUTPUT.value)
    output.mkdir(parents=True, exist_ok=True)

    model = make_model()
    clouds = read_clouds()
    dataset = PointCloudDataset(
        clouds,
        batch_size=BATCH_SIZE.value,
        num_points=NUM_POINTS.value or 16 * model.backbone.num_groups,
        sampling="random",
        augmentation="scale_translate",
        shuffle=True,
        drop_last=True,
        seed=SEED.value,
    )
    model.compile(
        make_optimizer(
            model, LEARNING_RATE.value, WEIGHT_DECAY.value, clip_norm=None
        ),
        jit_compile="auto" if JIT.value is None else JIT.value,
    )
    state = TrainingCheckpoint(
        output / "state.npz", run_identity(model, clouds)
    )
    if not RESUME.value:
        pathlib.Path(state.path).unlink(missing_ok=True)
    start = state.restore(model)
    logging.info(
        "%d parameters, %d clouds, %d steps per epoch, from epoch %d",
        sum(math.prod(v.shape) for v in model.trainable_variables),
        len(clouds),
        len(dataset),
        start + 1,
    )
    model.fit(
        dataset,
        initial_epoch=start,
        epochs=EPOCHS.value,
        shuffle=False,
        verbose=2,
        callbacks=[
            FollowEpoch(dataset),
            EpochSeed(SEED.value),
            CosineWithWarmup(LEARNING_RATE.value, EPOCHS.value, WARMUP.value),
            EpochTimer(),
            StopOnNaN(state.path),
            state,
            EpochLog(output / "log.csv", state.history),
        ],
    )
    model.backbone.save_to_preset(output / "backbone")
    settings = json.dumps(state.identity, indent=2, sort_keys=True)
    (output / "config.json").write_text(settings + "\n")
    logging.info("Written: %s", output / "backbone")


def run_identity(model, clouds):
    """What must be the same for an interrupted run to go on."""
    variables = [f"{v.path}{tuple(v.shape)}" for v in model.variables]
    digest = zlib.crc32(np.ascontiguousarray(clouds))
    own = flags.FLAGS.get_key_flags_for_module(sys.argv[0])
    ignored = ("output", "resume")
    return {
        "model": f"{len(variables)} variables, "
        f"{zlib.crc32(' '.join(variables).encode()):08x}",
        "clouds": f"{len(clouds)} clouds, {digest:08x}",
        **{f.name: f.value for f in own if f.name not in ignored},
    }


def make_model():
    """The autoencoder around the card's backbone, freshly initialised."""
    from keras_pointpeft import models
    from keras_pointpeft import zoo_data

    cards = zoo_data.read_cards("backbones")
    if BACKBONE.value not in cards:
        raise app.UsageError(
            f"--backbone must be one of {', '.join(cards)}. "
            f"Received: {BACKBONE.value}"
        )
    card = cards[BACKBONE.value]
    config = {**card["config"]}
    config.update(card.get("by_num_points", {}).get(str(NUM_POINTS.value), {}))
    if DROP_PATH.value is not None:
        config["drop_path_rate"] = DROP_PATH.value
    backbone = getattr(models, card["class"])(**config)
    model = models.MaskedAutoencoder(
        backbone,
        decoder_depth=DECODER_DEPTH.value,
        decoder_num_heads=backbone.num_heads,
        mask_ratio=MASK_RATIO.value,
        mask_type=MASK_TYPE.value,
        decoder_drop_path_rate=backbone.drop_path_rate,
        loss=LOSS.value,
        seed=SEED.value,
    )
    model.initialize_backbone(SEED.value)
    return model


def read_clouds():
    """Clouds `(clouds, points, 3)` in the unit sphere."""
    from keras_pointpeft import data

    if DATA.value == "shapes":
        clouds = data.load(
            "shapes",
            split="pretrain",
            num_clouds=NUM_CLOUDS.value,
            num_points=STORED_POINTS.value,
        )
        return data.unit_sphere(clouds.points)
    paths = sorted(pathlib.Path(DATA.value).rglob("*.npy"))
    if not paths:
        raise app.UsageError(
            "--data must be 'shapes' or a folder with .npy files. "
            f"Received: {DATA.value}"
        )
    rng = np.random.default_rng(SEED.value)
    clouds = []
    for path in paths[: NUM_CLOUDS.value]:
        cloud = np.load(path, allow_pickle=False)[:, :3]
        count = STORED_POINTS.value or len(cloud)
        clouds.append(cloud[rng.permutation(len(cloud))[:count]])
    return data.unit_sphere(np.stack(clouds))


if __name__ == "__main__":
    app.run(main)
