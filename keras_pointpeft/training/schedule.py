"""The learning-rate schedule of the published recipes, and of short runs."""

import math

import keras
from keras import ops

from keras_pointpeft.serialization import serializable


def cosine_with_warmup(
    epoch: int,
    learning_rate: float,
    epochs: int,
    warmup_epochs: int = 10,
    warmup_learning_rate: float = 1e-6,
    min_learning_rate: float = 1e-6,
) -> float:
    """Returns the learning rate in force during one epoch.

    A linear warm-up followed by half a cosine, one value per epoch, as timm's
    `CosineLRScheduler` gives it in the published training loops. Two habits of
    those loops are kept:

    * they step the scheduler at the *end* of an epoch, so epochs 0 and 1 both
      train at the first rate;
    * the cosine is not shifted by the warm-up, so it starts a little below
      `learning_rate`.

    Args:
        epoch: int. The epoch, counted from 0.
        learning_rate: float. The peak rate.
        epochs: int. Where the cosine reaches `min_learning_rate`. Training may
            go on after it, at that rate.
        warmup_epochs: int. Length of the linear warm-up, 0 for none.
        warmup_learning_rate: float. Where the warm-up starts.
        min_learning_rate: float. Where the cosine ends.

    Returns:
        A float.

    Raises:
        ValueError: if a number of epochs is negative, or `epochs` is 0.

    Example:

    >>> cosine_with_warmup(0, 5e-4, epochs=300)
    1e-06
    """
    if epoch < 0 or warmup_epochs < 0 or epochs < 1:
        raise ValueError(
            "`epoch` and `warmup_epochs` must be at least 0 and `epochs` at "
            f"least 1. Received: epoch={epoch}, "
            f"warmup_epochs={warmup_epochs}, epochs={epochs}"
        )
    step = max(epoch - 1, 0)
    if step < warmup_epochs:
        rise = (learning_rate - warmup_learning_rate) / warmup_epochs
        return warmup_learning_rate + step * rise
    if step < epochs:
        fall = 0.5 * (1.0 + math.cos(math.pi * step / epochs))
        return min_learning_rate + (learning_rate - min_learning_rate) * fall
    return min_learning_rate


class CosineWithWarmup(keras.callbacks.LearningRateScheduler):
    """Sets the optimizer's learning rate at the start of every epoch.

    Args:
        learning_rate: float. The peak rate.
        epochs: int. Where the cosine reaches `min_learning_rate`.
        warmup_epochs: int. Length of the linear warm-up.
        warmup_learning_rate: float. Where the warm-up starts.
        min_learning_rate: float. Where the cosine ends.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    rate = training.CosineWithWarmup(5e-4, epochs=300)
    model.fit(points, labels, epochs=300, callbacks=[rate])
    ```
    """

    def __init__(
        self,
        learning_rate,
        epochs,
        warmup_epochs=10,
        warmup_learning_rate=1e-6,
        min_learning_rate=1e-6,
    ):
        super().__init__(
            lambda epoch, _: cosine_with_warmup(
                epoch,
                learning_rate,
                epochs,
                warmup_epochs,
                warmup_learning_rate,
                min_learning_rate,
            )
        )


@serializable
class CosineOfUpdates(keras.optimizers.schedules.LearningRateSchedule):
    """Warm-up and cosine by steps of the optimizer, for short runs.

    A linear warm-up from `warmup_learning_rate`, which the first step has, and
    a cosine down to `min_learning_rate`, which the step after the last one
    would have: the curve of `cosine_with_warmup`, where the cosine is not
    shifted by the warm-up either. Where gradients of several batches make one
    update, each batch counts.

    It is a function of the optimizer's own count of steps, so that a run that
    goes on from a saved state goes on at its rate.

    Args:
        learning_rate: float. The peak rate.
        steps: int. Where the cosine reaches `min_learning_rate`. Training may
            go on after it, at that rate.
        warmup_steps: int. Length of the linear warm-up, 0 for none.
        warmup_learning_rate: float. Where the warm-up starts.
        min_learning_rate: float. Where the cosine ends.

    Raises:
        ValueError: if a number of steps is negative, or `steps` is 0.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    rate = training.CosineOfUpdates(4e-3, steps=100)
    model.compile(training.make_optimizer(model, rate), loss="auto")
    ```
    """

    def __init__(
        self,
        learning_rate,
        steps,
        warmup_steps=0,
        warmup_learning_rate=1e-6,
        min_learning_rate=1e-6,
    ):
        super().__init__()
        if warmup_steps < 0 or steps < 1:
            raise ValueError(
                "`warmup_steps` must be at least 0 and `steps` at least 1. "
                f"Received: warmup_steps={warmup_steps}, steps={steps}"
            )
        self.learning_rate = learning_rate
        self.steps = steps
        self.warmup_steps = warmup_steps
        self.warmup_learning_rate = warmup_learning_rate
        self.min_learning_rate = min_learning_rate

    def __call__(self, step):
        step = ops.cast(step, "float32")
        turn = ops.minimum(step / self.steps, 1.0) * math.pi
        rate = self.min_learning_rate + (
            (self.learning_rate - self.min_learning_rate)
            * 0.5
            * (1.0 + ops.cos(turn))
        )
        if not self.warmup_steps:
            return rate
        rise = self.learning_rate - self.warmup_learning_rate
        warmup = self.warmup_learning_rate + step * (rise / self.warmup_steps)
        return ops.where(step < self.warmup_steps, warmup, rate)

    def get_config(self):
        names = (
            "learning_rate",
            "steps",
            "warmup_steps",
            "warmup_learning_rate",
            "min_learning_rate",
        )
        return {name: getattr(self, name) for name in names}


class RateLog(keras.callbacks.Callback):
    """Logs as `"learning_rate"` the rate that an epoch ended with.

    For optimizers whose rate is a schedule, such as `CosineOfUpdates`.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    rate = training.CosineOfUpdates(4e-3, steps=100)
    model.compile(training.make_optimizer(model, rate), loss="auto")
    model.fit(points, labels, callbacks=[training.RateLog()])
    ```
    """

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = float(
            ops.convert_to_numpy(self.model.optimizer.learning_rate)
        )
