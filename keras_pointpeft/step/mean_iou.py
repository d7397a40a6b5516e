"""Mean intersection over union, without a loop over points."""

import keras
from keras import ops

from keras_pointpeft.ops.arithmetic import one_hot
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
