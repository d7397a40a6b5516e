"""Callbacks that say how far training, measuring and prediction are."""

import contextlib
import time

import keras

from keras_pointpeft.files import progress


@contextlib.contextmanager
def telling_epochs(epochs, steps):
    """A context with a callback of `fit` that says how far training is.

    Args:
        epochs: int, the number of the last epoch.
        steps: int, the batches of all epochs that are to come.

    Example:

    ```python
    from keras_pointpeft.data import PointCloudDataset
    from keras_pointpeft.data import Split
    from keras_pointpeft.training import telling_epochs

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    split = Split(points, labels, ("a", "b"))
    batches = PointCloudDataset(split, batch_size=4)
    with telling_epochs(epochs=10, steps=10 * len(batches)) as callback:
        model.fit(batches, epochs=10, verbose=0, callbacks=[callback])
    ```
    """
    with progress.Progress("training", steps) as told:
        yield TellEpochs(told, epochs)


class TellEpochs(keras.callbacks.Callback):
    """A line for each epoch, or for each second of quick ones.

    It says the figures of the epoch and the time that is left. Epochs that
    take longer have lines in between, from `progress`.

    Args:
        told: `keras_pointpeft.files.progress.Progress`, of the batches of all
            epochs.
        epochs: int, the number of the last one.
    """

    def __init__(self, told, epochs):
        super().__init__()
        self.told = told
        self.epochs = epochs
        self._spoken = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.told.what = f"training, epoch {epoch + 1} of {self.epochs}, batch"

    def on_train_batch_end(self, batch, logs=None):
        self.told.advance()

    def on_epoch_end(self, epoch, logs=None):
        now = time.monotonic()
        last = epoch + 1 == self.epochs
        if now - self._spoken < 1 and not last:
            return
        self._spoken = now
        figures = ", ".join(
            f"{name.replace('_', ' ')} {float(value):.4f}"
            for name, value in (logs or {}).items()
            if name != "seconds" and not name.startswith("live_block")
        )
        left = "" if last else f"; {self.told.left()}"
        progress.tell(f"epoch {epoch + 1}/{self.epochs}: {figures}{left}")


class TellBatches(keras.callbacks.Callback):
    """Counts the batches of `predict` and `evaluate`.

    Args:
        told: `keras_pointpeft.files.progress.Progress`, of these batches.
    """

    def __init__(self, told):
        super().__init__()
        self.told = told

    def on_predict_batch_end(self, batch, logs=None):
        self.told.advance()

    def on_test_batch_end(self, batch, logs=None):
        self.told.advance()
