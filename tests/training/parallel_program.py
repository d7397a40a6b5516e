"""A small run for `test_parallel`, in one process or in several.

python -m tests.training.parallel_program FOLDER EPOCHS ACCUMULATION
"""

import json
import pathlib
import sys

import keras
import numpy as np

from keras_pointpeft.data import Split
from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.ops import replicas
from keras_pointpeft.peft import DAPT
from keras_pointpeft.training import Recipe
from keras_pointpeft.training import WeightedCrossentropy
from keras_pointpeft.training import parallel
from keras_pointpeft.training import train
from tests.conftest import small_backbone


def split(seed, count):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 32, 3)).astype("float32")
    points[:, :, 0] *= 1 + np.arange(count)[:, None] % 3
    return Split(points, np.arange(count) % 3, ("a", "b", "c"), name="blobs")


def main(folder, epochs, accumulation):
    folder = pathlib.Path(folder)
    recipe = Recipe(
        epochs=8,
        batch_size=8,
        learning_rate=5e-3,
        warmup_epochs=1,
        augmentation="none",
        sampling="first",
        selection="held_out",
        held_out_fraction=0.25,
        gradient_accumulation=accumulation,
        # Less than the gradients have, so that they are clipped.
        clip_norm=1.0,
        # Adam would make whole steps of gradients that are only rounding.
        epsilon=1e-3,
    )

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch + 1 == epochs:
                self.model.stop_training = True

    keras.utils.set_random_seed(0)
    # BatchNorms whose statistics are those of the batch, but nothing random,
    # which each process would draw for itself.
    method = DAPT(rank=4, dropout=0.0, frozen_bn="track")
    backbone = small_backbone(method, depth=1)
    model = PointCloudClassifier(backbone, 3, head_dims=(16,), dropout=0.0)
    result = train(
        model,
        split(0, 64),
        split(1, 12),
        recipe,
        log_dir=folder,
        callbacks=[Stop()],
    )
    variables = [*model.variables, *model.optimizer.variables]
    arrays = {
        str(i): np.asarray(keras.ops.convert_to_numpy(v))
        for i, v in enumerate(variables)
        if "seed" not in v.path
    }
    name = f"process{replicas.rank()}"
    np.savez(folder / f"{name}.npz", **arrays)
    text = json.dumps(
        {
            "history": result.history,
            "accuracy": result.best_accuracy,
            "weighted_loss": weighted_loss(),
        }
    )
    (folder / f"{name}.json").write_text(text)


def weighted_loss():
    """Of two clouds, the second lighter; on two devices, one on each."""
    loss = WeightedCrossentropy((1.0, 5.0))
    rng = np.random.default_rng(0)
    labels = np.array([[1, 1, 0, 1], [0, 0, -1, -1]])
    scores = rng.normal(size=(2, 4, 2)).astype("float32")
    if not replicas.sharing() > 1 or keras.config.backend() != "tensorflow":
        return float(loss(labels, scores))
    import tensorflow as tf

    strategy = tf.distribute.get_strategy()

    def part():
        i = tf.distribute.get_replica_context().replica_id_in_sync_group
        return loss(tf.gather(labels, [i]), tf.gather(scores, [i]))

    parts = strategy.experimental_local_results(strategy.run(part))
    return float(sum(parts))


def two_devices():
    """Makes one CPU look like two to tensorflow; jax reads XLA_FLAGS."""
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        (cpu,) = tf.config.list_physical_devices("CPU")
        half = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(cpu, [half, half])


if __name__ == "__main__":
    two_devices()
    with parallel.start(all_devices=True):
        main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    parallel.finish()
