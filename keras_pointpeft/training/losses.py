"""The loss of the published classifiers."""

import keras
from keras import ops

from keras_pointpeft.serialization import serializable


@serializable
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of logits with integer labels and label smoothing.

    The smoothing of the point-cloud literature (PointNet++ and DGCNN code,
    Point-M2AE on ModelNet40): the true class keeps `1 - smoothing`, each of
    the other classes gets `smoothing / (classes - 1)`. Keras'
    `label_smoothing` would spread it over all classes.

    Args:
        smoothing: float in [0, 1).
        **kwargs: arguments of `keras.losses.Loss`.

    Example:

    ```python
    model.compile("adamw", loss=SmoothedCrossentropy(0.3))
    ```
    """

    def __init__(self, smoothing=0.0, name="smoothed_crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)
        if not 0 <= smoothing < 1:
            raise ValueError(
                "`smoothing` must be in [0, 1). "
                f"Received: smoothing={smoothing}"
            )
        self.smoothing = smoothing

    def call(self, y_true, y_pred):
        classes = y_pred.shape[-1]
        log_probability = ops.log_softmax(y_pred, axis=-1)
        true = ops.one_hot(
            ops.cast(y_true, "int32"), classes, dtype=y_pred.dtype
        )
        others = self.smoothing / max(classes - 1, 1)
        target = true * (1.0 - self.smoothing - others) + others
        return -ops.sum(target * log_probability, axis=-1)

    def get_config(self):
        return {**super().get_config(), "smoothing": self.smoothing}
