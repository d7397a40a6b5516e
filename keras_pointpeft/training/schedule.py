"""The learning-rate schedule of the published fine-tuning recipes."""

import math

import keras


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
        def schedule(epoch):
            return cosine_with_warmup(
                epoch,
                learning_rate,
                epochs,
                warmup_epochs,
                warmup_learning_rate,
                min_learning_rate,
            )

        super().__init__(lambda epoch, _: schedule(epoch))
