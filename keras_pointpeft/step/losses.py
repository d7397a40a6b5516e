"""The losses of the published classifiers and segmentation models."""

import keras
import numpy as np
from keras import ops

from keras_pointpeft.ops import replicas
from keras_pointpeft.ops.arithmetic import one_hot
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
        class_weights: optional sequence of floats, one for each class, by
            which the losses of its clouds are multiplied.
        **kwargs: arguments of `keras.losses.Loss`.

    Raises:
        ValueError: if `smoothing` does not lie in [0, 1).

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    model.compile("adamw", loss=training.SmoothedCrossentropy(0.3))
    model.fit(points, labels)
    ```
    """

    # What `data.incoming` checks.
    integer_labels = True

    def __init__(
        self,
        smoothing=0.0,
        class_weights=None,
        name="smoothed_crossentropy",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if not 0 <= smoothing < 1:
            raise ValueError(
                "`smoothing` must be in [0, 1). "
                f"Received: smoothing={smoothing}"
            )
        self.smoothing = smoothing
        if class_weights is not None:
            class_weights = tuple(float(weight) for weight in class_weights)
        self.class_weights = class_weights

    def call(self, y_true, y_pred):
        classes = y_pred.shape[-1]
        log_probability = ops.log_softmax(y_pred, axis=-1)
        true = one_hot(ops.cast(y_true, "int32"), classes, y_pred.dtype)
        others = self.smoothing / max(classes - 1, 1)
        target = true * (1.0 - self.smoothing - others) + others
        losses = -ops.sum(target * log_probability, axis=-1)
        if self.class_weights is None:
            return losses
        weights = ops.convert_to_tensor(self.class_weights, losses.dtype)
        return losses * ops.sum(true * weights, axis=-1)

    def get_config(self):
        return {
            **super().get_config(),
            "smoothing": self.smoothing,
            "class_weights": self.class_weights,
        }


@serializable
class WeightedCrossentropy(keras.losses.Loss):
    """Cross-entropy of points, in which some classes weigh more.

    As published for S3DIS: the mean over all points of a batch, each weighing
    as much as its true class. Points with the label -1 have none and do not
    count.

    Args:
        class_weights: optional sequence of floats, one for each class. See
            `class_weights`.
        **kwargs: arguments of `keras.losses.Loss`.

    Example:
    ```python
    from keras_pointpeft import training

    labels = np.random.default_rng(0).integers(0, 6, (4, 1024))
    weights = training.class_weights(labels, num_classes=6)
    loss = training.WeightedCrossentropy(weights)
    loss(labels, np.zeros((4, 1024, 6)))
    ```
    """

    integer_labels = True

    def __init__(self, class_weights=None, **kwargs):
        kwargs.setdefault("name", "weighted_crossentropy")
        # `call` takes the mean itself: weights are part of the divisor.
        kwargs["reduction"] = "sum"
        super().__init__(**kwargs)
        if class_weights is not None:
            class_weights = tuple(float(weight) for weight in class_weights)
        self.class_weights = class_weights

    def call(self, y_true, y_pred):
        y_true = ops.cast(y_true, "int32")
        weights = ops.cast(y_true >= 0, "float32")
        y_true = ops.maximum(y_true, 0)
        losses = keras.losses.sparse_categorical_crossentropy(
            y_true, y_pred, from_logits=True
        )
        if self.class_weights is not None:
            classes = ops.convert_to_tensor(self.class_weights, "float32")
            weights = weights * ops.take(classes, y_true, axis=0)
        total, weight = ops.sum(weights * losses), ops.sum(weights)
        if replicas.sees_a_part():
            (weight,) = replicas.sums([weight])
        # No point of a batch may have a label.
        return total / ops.maximum(weight, 1e-12)

    def get_config(self):
        config = super().get_config()
        del config["reduction"]
        return {**config, "class_weights": self.class_weights}


@serializable
class PointAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """The part of the points that is predicted right; -1 does not count.

    Args:
        name, dtype: see `keras.metrics.Metric`.
    """

    def __init__(self, name="accuracy", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true = ops.convert_to_tensor(y_true)
        known = ops.cast(y_true >= 0, "float32")
        if sample_weight is not None:
            weight = ops.cast(sample_weight, "float32")
            while len(weight.shape) < len(known.shape):
                weight = weight[..., None]
            known = known * weight
        super().update_state(ops.maximum(y_true, 0), y_pred, known)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}


def class_weights(labels, num_classes):
    """Weights of the classes in the loss, larger for rarer ones.

    As published for S3DIS: the cube root of the largest class's share over
    the class's own.

    Args:
        labels: integer array, or a list of them, such as the labels of all
            training rooms.
        num_classes: int. A class that is not there weighs as the rarest one.

    Returns:
        tuple of floats, at least 1.

    Raises:
        ValueError: if a label is `num_classes` or more.

    Example:
    ```python
    from keras_pointpeft import training

    training.class_weights([0, 0, 0, 0, 0, 0, 0, 0, 1], 2)  # (1.0, 2.0)
    ```
    """
    arrays = labels if isinstance(labels, (list, tuple)) else [labels]
    # Without those that have no label, -1.
    arrays = [np.ravel(array) for array in arrays]
    arrays = [array[array >= 0] for array in arrays]
    most = max(int(np.max(array, initial=0)) for array in arrays)
    if most >= num_classes:
        raise ValueError(
            "Labels must lie below `num_classes`. "
            f"Received: {most} with num_classes={num_classes}"
        )
    counts = sum(
        np.bincount(array, minlength=num_classes) for array in arrays
    )
    counts = np.maximum(counts, counts[counts > 0].min())
    weights = np.cbrt(counts.max() / counts)
    return tuple(float(weight) for weight in weights)
