"""Intersection over union of classes and of parts, as in the benchmarks."""

import contextlib
import contextvars

import keras
import numpy as np
from keras import ops

from keras_pointpeft.ops.arithmetic import one_hot
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class MeanIoU(keras.metrics.MeanIoU):
    """`keras.metrics.MeanIoU` of class scores, counted by one product.

    On torch, Keras goes through the points one by one in Python.

    Args:
        num_classes: int. Labels outside of `0 ... num_classes - 1` do not
            count.
        name: string.
        **kwargs: further arguments of `keras.metrics.MeanIoU`.

    Example:
    ```python
    metric = MeanIoU(13)
    metric.update_state(labels, scores)
    ```
    """

    def __init__(self, num_classes, name="miou", **kwargs):
        kwargs.setdefault("sparse_y_pred", False)
        super().__init__(num_classes, name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds the points of a batch.

        Args:
            y_true: integers `(batch, ...)`.
            y_pred: scores `(batch, ..., classes)`.
            sample_weight: optional, of the shape of `y_true`; integers.
        """
        if not self.sparse_y_true:
            y_true = ops.argmax(y_true, axis=self.axis)
        if not self.sparse_y_pred:
            y_pred = ops.argmax(y_pred, axis=self.axis)
        true = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        found = ops.reshape(ops.cast(y_pred, "int32"), (-1,))
        rows = one_hot(true, self.num_classes)
        if self.ignore_class is not None:
            seen = ops.cast(true != self.ignore_class, "float32")
            rows = rows * seen[:, None]
        if sample_weight is not None:
            weight = ops.broadcast_to(sample_weight, ops.shape(y_true))
            weight = ops.cast(ops.reshape(weight, (-1,)), "float32")
            rows = rows * weight[:, None]
        # Sums of a batch are below 2**24, and so exact.
        columns = one_hot(found, self.num_classes)
        counts = ops.matmul(ops.transpose(rows), columns)
        self.total_cm.assign_add(ops.cast(counts, self.total_cm.dtype))


# What a `PartSegmenter` is told of the clouds, see `categories`.
_CATEGORIES = contextvars.ContextVar("categories", default=None)


class PartIoU(Configurable, keras.metrics.Metric):
    """Base of the part metrics: sums over clouds, by category.

    Only the parts of a cloud's category are candidates for the prediction.
    The value of a cloud is the mean over these parts; a part that is neither
    there nor predicted counts 1. Points with the label -1 do not count.

    Args:
        category_parts: sequence that names, for each category, its parts.
            Categories may share some.
        name: optional string.
        dtype: optional dtype.
    """

    def __init__(self, category_parts, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.category_parts = tuple(tuple(parts) for parts in category_parts)
        count = 1 + max(max(parts) for parts in self.category_parts)
        self._possible = np.zeros((len(self.category_parts), count), "float32")
        for row, parts in zip(self._possible, self.category_parts):
            row[list(parts)] = 1.0
        shape = (len(self.category_parts),)
        self.total = self.add_variable(shape, "zeros", name="total")
        self.clouds = self.add_variable(shape, "zeros", name="clouds")

    def update_state(
        self, y_true, y_pred, sample_weight=None, category=None
    ):
        """Adds the clouds of a batch.

        Args:
            y_true: integers `(batch, points)`.
            y_pred: scores `(batch, points, parts)`.
            sample_weight: optional `(batch,)`.
            category: optional integers `(batch,)`, what the clouds are.
                Defaults to None: of the categories that have all parts of a
                cloud, the one with the fewest.
        """
        y_true = ops.cast(y_true, "int32")
        if category is None:
            category = _CATEGORIES.get()
        if category is None:
            category = self._guess(y_true)
        category = ops.reshape(ops.cast(category, "int32"), (-1,))
        values = self._values(y_true, y_pred, category)
        hot = one_hot(category, len(self.category_parts))
        if sample_weight is not None:
            weight = ops.cast(sample_weight, "float32")
            hot = hot * ops.reshape(weight, (-1, 1))
        self.total.assign_add(ops.sum(hot * values[:, None], axis=0))
        self.clouds.assign_add(ops.sum(hot, axis=0))

    def _guess(self, y_true):
        """The smallest category that has all parts of a cloud."""
        count = self._possible.shape[1]
        there = ops.max(one_hot(y_true, count), axis=1)
        missing = ops.matmul(there, 1.0 - self._possible.T)
        size = self._possible.sum(axis=1)
        # Of equally large ones the first.
        return ops.argmin(missing * (count + 1) + size, axis=-1)

    def _values(self, y_true, y_pred, category):
        """The clouds' values `(batch,)`."""
        possible = ops.take(self._possible, category, axis=0)
        count = self._possible.shape[1]
        scores = ops.cast(y_pred[..., :count], "float32")
        scores = ops.where(possible[:, None] > 0, scores, -float("inf"))
        known = ops.cast(y_true >= 0, "float32")[..., None]
        true = one_hot(y_true, count)
        found = ops.argmax(scores, axis=-1)
        found = known * one_hot(found, count)
        both = ops.sum(true * found, axis=1)
        either = ops.sum(true, axis=1) + ops.sum(found, axis=1) - both
        iou = ops.where(either > 0, both / ops.maximum(either, 1.0), 1.0)
        return ops.sum(iou * possible, axis=-1) / ops.sum(possible, axis=-1)


@contextlib.contextmanager
def categories(category):
    """Within it, part metrics know the categories of a batch's clouds.

    Keras gives metrics labels and scores alone, and makes some of what it
    compiles only when a first batch comes: so no metric is told itself.

    Args:
        category: integers `(batch,)`.
    """
    token = _CATEGORIES.set(category)
    try:
        yield
    finally:
        _CATEGORIES.reset(token)


@serializable
class InstanceMeanIoU(PartIoU):
    """Mean over clouds of their mean IoU of parts: "instance mIoU".

    Args:
        category_parts: sequence that names, for each category, its parts.
        name: string.
        dtype: optional dtype.

    Example:
    ```python
    from keras_pointpeft import training

    metric = training.InstanceMeanIoU(((0, 1), (2, 3)))
    parts = np.array([[0, 1, 1], [2, 2, 3]])
    metric.update_state(parts, np.eye(4)[parts])
    float(metric.result())  # 1.0
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

    Example:
    ```python
    from keras_pointpeft import training

    metric = training.ClassMeanIoU(((0, 1), (2, 3)))
    parts = np.array([[0, 1, 1], [2, 2, 3]])
    metric.update_state(parts, np.eye(4)[parts])
    float(metric.result())  # 1.0
    ```
    """

    def __init__(self, category_parts, name="class_miou", dtype=None):
        super().__init__(category_parts, name, dtype)

    def result(self):
        means = self.total / ops.maximum(self.clouds, 1.0)
        present = ops.cast(self.clouds > 0, "float32")
        present = ops.maximum(ops.sum(present), 1.0)
        return ops.sum(means) / present
