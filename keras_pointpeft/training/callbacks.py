"""Callbacks of the training loop: seeds, time, NaN, the best epoch, logs."""

import csv
import math
import os
import random
import time

import keras
import numpy as np

from keras_pointpeft.files.whole import whole_file


def snapshot(variables) -> list[np.ndarray]:
    """Copies the values of variables."""
    values = []
    for variable in variables:
        value = np.array(keras.ops.convert_to_numpy(variable))
        if value.dtype.kind == "V" or value.dtype.name == "bfloat16":
            value = value.astype("float32")  # exact, and numpy can store it
        values.append(value)
    return values


def assign(variables, values):
    """Sets variables to what `snapshot` returned."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


class EpochSeed(keras.callbacks.Callback):
    """Seeds the random generators at the start of each epoch.

    Those are Python's, numpy's and, but for tensorflow, the backend's and
    Keras' global ones. On tensorflow the global seed is left alone, because
    setting it drops all compiled kernels. Layers draw from seed generators of
    their own, which are variables of the model. What an epoch draws then
    depends on `(seed, epoch)` and the model's state alone, so that a run which
    was interrupted goes on as it would have.

    Args:
        seed: int.
        process: int. Its number in data-parallel training; each
            draws its own.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    model.fit(points, labels, epochs=10, callbacks=[training.EpochSeed(7)])
    ```
    """

    def __init__(self, seed, process=0):
        super().__init__()
        self.seed = seed
        self.process = (process,) if process else ()

    def on_epoch_begin(self, epoch, logs=None):
        sequence = np.random.SeedSequence((self.seed, epoch, *self.process))
        seed = int(sequence.generate_state(1)[0])
        if keras.backend.backend() == "tensorflow":
            random.seed(seed)
            np.random.seed(seed)
        else:
            keras.utils.set_random_seed(seed)


class EpochTimer(keras.callbacks.Callback):
    """Logs as `"seconds"` how long an epoch trained, without validation.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    history = model.fit(points, labels, callbacks=[training.EpochTimer()])
    seconds = history.history["seconds"]
    ```
    """

    def on_epoch_begin(self, epoch, logs=None):
        self._begin = time.perf_counter()
        self._end = None

    def on_test_begin(self, logs=None):
        self._end = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        end = self._end or time.perf_counter()
        logs["seconds"] = round(end - self._begin, 4)


class NotANumber(FloatingPointError):
    """The training loss is NaN or infinite.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    try:
        model.fit(points, labels, callbacks=[training.StopOnNaN()])
    except training.NotANumber as error:
        print(error)
    ```
    """


class StopOnNaN(keras.callbacks.Callback):
    """Stops training with an error when an epoch's loss is not finite.

    The loss of an epoch is the mean of its batches, so one NaN is enough.

    Args:
        checkpoint: path of the last good state, for the message; or None.

    Raises:
        NotANumber: says what to try.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    model.fit(points, labels, callbacks=[training.StopOnNaN()])
    ```
    """

    def __init__(self, checkpoint=None):
        super().__init__()
        self.checkpoint = checkpoint

    def on_epoch_end(self, epoch, logs=None):
        loss = float(logs["loss"])
        if math.isfinite(loss):
            return
        rate = float(self.model.optimizer.learning_rate)
        kept = ""
        if self.checkpoint is not None and os.path.exists(self.checkpoint):
            kept = f" The state before this epoch is in {self.checkpoint}."
        raise NotANumber(
            f"The loss of epoch {epoch + 1} is not finite. What to try: a "
            f"lower learning rate than {rate:g}, clip_norm=10, float32 in "
            "place of a float16 policy, a larger batch, and a look at the "
            f"points for NaN or clouds of one point.{kept} "
            f"Received: loss={loss}"
        )


class BestEpoch(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the best validation figure.

    Equal figures are decided by the lower validation loss, then by the
    earlier epoch.

    Args:
        figure: string, the metric whose largest value is the best.

    Attributes:
        epoch: int or None, the best epoch so far, counted from 0.
        score: tuple of its figure and negative loss.
        values: list of arrays, the model's variables after that epoch.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    best = training.BestEpoch()
    model.fit(
        points, labels, validation_data=(points, labels), callbacks=[best]
    )
    for variable, value in zip(model.variables, best.values):
        variable.assign(value)
    ```
    """

    def __init__(self, figure="accuracy"):
        super().__init__()
        self.figure = figure
        self.epoch, self.score, self.values = None, None, None

    def on_epoch_end(self, epoch, logs=None):
        score = (float(logs[f"val_{self.figure}"]), -float(logs["val_loss"]))
        if self.score is None or score > self.score:
            self.epoch, self.score = epoch, score
            self.values = snapshot(self.model.variables)


class EpochLog(keras.callbacks.Callback):
    """Writes one line per epoch to a CSV file.

    The file is written anew from a list that outlives interruptions: it never
    has an epoch twice.

    Args:
        path: path of the file.
        history: list of dicts, one per epoch, that somebody else fills.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    history = []
    model.fit(
        points,
        labels,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: history.append(dict(logs))
            ),
            training.EpochLog("log.csv", history),
        ],
    )
    ```
    """

    def __init__(self, path, history):
        super().__init__()
        self.path = path
        self.history = history

    def on_epoch_end(self, epoch, logs=None):
        columns = list(dict.fromkeys(k for row in self.history for k in row))
        with whole_file(self.path) as place:
            with open(place, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, columns, lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.history)


class TensorBoardLog(keras.callbacks.Callback):
    """Writes each epoch's figures for TensorBoard, without TensorFlow.

    `keras.callbacks.TensorBoard` needs TensorFlow on every backend; this
    needs the package `tensorboard` alone.

    Args:
        log_dir: directory of the event files.

    Raises:
        ImportError: if `tensorboard` is not installed.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    model.fit(points, labels, callbacks=[training.TensorBoardLog("logs")])
    ```
    """

    def __init__(self, log_dir):
        super().__init__()
        try:
            from tensorboard.summary import Writer
        except ImportError as error:
            raise ImportError(
                "TensorBoard logs need the package tensorboard: "
                "`pip install tensorboard`, or train without them. "
                f"Received: log_dir={str(log_dir)!r}"
            ) from error
        self.log_dir = str(log_dir)
        self._make_writer = Writer
        self._writer = None

    def on_train_begin(self, logs=None):
        self._writer = self._make_writer(self.log_dir)

    def on_epoch_end(self, epoch, logs=None):
        for name, value in logs.items():
            self._writer.add_scalar(f"epoch_{name}", float(value), epoch)
        self._writer.flush()

    def on_train_end(self, logs=None):
        self._writer.close()
