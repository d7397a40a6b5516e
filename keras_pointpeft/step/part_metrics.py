"""Intersection over union of parts, as the benchmarks define it."""

import keras
import numpy as np
from keras import ops

from keras_pointpeft.ops.arithmetic import one_hot
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


class PartIoU(Configurable, keras.metrics.Metric):
    """Base of the part metrics: sums over clouds, by category.

    The category of a cloud is that of its first label, and only its parts
    are candidates for the prediction. The value of a cloud is the mean over
    these parts; a part that is neither there nor predicted counts 1.

    Args:
        category_parts: sequence that names, for each category, its parts. A
            part of several categories counts for the first of them.
        name: optional string.
        dtype: optional dtype.
    """

    config_names = ("category_parts",)

    def __init__(self, category_parts, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.category_parts = tuple(tuple(parts) for parts in category_parts)
        count = 1 + max(max(parts) for parts in self.category_parts)
        self._possible = np.zeros((len(self.category_parts), count), "float32")
        for row, parts in zip(self._possible, self.category_parts):
            row[list(parts)] = 1.0
        # argmax finds the first.
        self._category_of = self._possible.argmax(axis=0).astype("int32")
        shape = (len(self.category_parts),)
        self.total = self.add_variable(shape, "zeros", name="total")
        self.clouds = self.add_variable(shape, "zeros", name="clouds")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds the clouds of a batch.

        Args:
            y_true: integers `(batch, points)`.
            y_pred: scores `(batch, points, parts)`.
            sample_weight: optional `(batch,)`.
        """
        values, category = self._values(y_true, y_pred)
        hot = one_hot(category, len(self.category_parts))
        if sample_weight is not None:
            weight = ops.cast(sample_weight, "float32")
            hot = hot * ops.reshape(weight, (-1, 1))
        self.total.assign_add(ops.sum(hot * values[:, None], axis=0))
        self.clouds.assign_add(ops.sum(hot, axis=0))

    def _values(self, y_true, y_pred):
        """The clouds' values `(batch,)` and their categories."""
        y_true = ops.cast(y_true, "int32")
        category = ops.take(self._category_of, y_true[:, 0], axis=0)
        possible = ops.take(self._possible, category, axis=0)
        count = self._possible.shape[1]
        scores = ops.cast(y_pred[..., :count], "float32")
        scores = ops.where(possible[:, None] > 0, scores, -float("inf"))
        true = one_hot(y_true, count)
        found = ops.argmax(scores, axis=-1)
        found = one_hot(found, count)
        both = ops.sum(true * found, axis=1)
        either = ops.sum(true, axis=1) + ops.sum(found, axis=1) - both
        iou = ops.where(either > 0, both / ops.maximum(either, 1.0), 1.0)
        mean = ops.sum(iou * possible, axis=-1) / ops.sum(possible, axis=-1)
        return mean, category


@serializable
class InstanceMeanIoU(PartIoU):
    """Mean over clouds of their mean IoU of parts: "instance mIoU".

    Args:
        category_parts: sequence that names, for each category, its parts.
        name: string.
        dtype: optional dtype.

    Example:
    ```python
    metric = InstanceMeanIoU(((0, 1), (2, 3)))
    metric.update_state(labels, scores)
    ```
    """

    def __init__(self, category_parts, name="instance_miou", dtype=None):
        super().__init__(category_parts, name, dtype)

    def result(self):
        clouds = ops.maximum(ops.sum(self.clouds), 1.0)
        return ops.sum(self.total) / clouds


@serializable
class ClassMeanIoU(PartIoU):
    """Mean over categories of the clouds' mean IoU of parts: "class mIoU".

    Categories without clouds are left out.

    Args:
        category_parts: sequence that names, for each category, its parts.
        name: string.
        dtype: optional dtype.
    """

    def __init__(self, category_parts, name="class_miou", dtype=None):
        super().__init__(category_parts, name, dtype)

    def result(self):
        means = self.total / ops.maximum(self.clouds, 1.0)
        present = ops.cast(self.clouds > 0, "float32")
        present = ops.maximum(ops.sum(present), 1.0)
        return ops.sum(means) / present
