"""Accuracy figures from labels and predictions, in numpy."""

import numpy as np


def confusion_matrix(labels, predictions, num_classes: int) -> np.ndarray:
    """Counts clouds by true and predicted class.

    Args:
        labels: integer array `(clouds,)`. What has no label, -1, is not
            counted.
        predictions: integer array `(clouds,)`.
        num_classes: int.

    Returns:
        int64 array `(num_classes, num_classes)`, rows are true classes.

    Raises:
        ValueError: if the arrays differ in shape or leave the classes.

    Example:
    ```python
    from keras_pointpeft import training

    matrix = training.confusion_matrix([0, 1, 1], [0, 1, 0], num_classes=2)
    matrix.tolist()  # [[1, 0], [1, 1]]
    ```
    """
    labels = np.asarray(labels)
    predictions = np.asarray(predictions)
    if labels.shape != predictions.shape or labels.ndim != 1:
        raise ValueError(
            "`labels` and `predictions` must have one shape (clouds,). "
            f"Received: {labels.shape} and {predictions.shape}"
        )
    labels, predictions = labels[labels != -1], predictions[labels != -1]
    for name, values in (("labels", labels), ("predictions", predictions)):
        if values.size and not 0 <= values.min() <= values.max() < num_classes:
            raise ValueError(
                f"`{name}` must lie in 0..{num_classes - 1}. "
                f"Received: {values.min()}..{values.max()}"
            )
    cells = labels.astype("int64") * num_classes + predictions
    counts = np.bincount(cells, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def overall_accuracy(confusion: np.ndarray) -> float:
    """The part of all clouds that is predicted right ("OA").

    Raises:
        ValueError: if there are no clouds.

    Example:
    ```python
    from keras_pointpeft import training

    matrix = training.confusion_matrix([0, 1, 1], [0, 1, 0], num_classes=2)
    training.overall_accuracy(matrix)  # 2 / 3
    ```
    """
    total = confusion.sum()
    if total == 0:
        raise ValueError(
            "Accuracy needs at least one cloud. Received: no clouds"
        )
    return float(np.trace(confusion) / total)


def mean_class_accuracy(confusion: np.ndarray) -> float:
    """The mean over classes of each class's accuracy ("mAcc").

    Classes without clouds are left out.

    Raises:
        ValueError: if there are no clouds.

    Example:
    ```python
    from keras_pointpeft import training

    matrix = training.confusion_matrix([0, 1, 1], [0, 1, 0], num_classes=2)
    training.mean_class_accuracy(matrix)  # 0.75
    ```
    """
    sizes = confusion.sum(axis=1)
    present = sizes > 0
    if not present.any():
        raise ValueError(
            "Accuracy needs at least one cloud. Received: no clouds"
        )
    return float(np.mean(np.diag(confusion)[present] / sizes[present]))


def mean_iou(confusion: np.ndarray) -> float:
    """The mean over classes of intersection over union ("mIoU").

    Classes that are neither there nor predicted are left out.

    Raises:
        ValueError: if there are no points.

    Example:
    ```python
    from keras_pointpeft import training

    matrix = training.confusion_matrix([0, 1, 1], [0, 1, 0], num_classes=2)
    training.mean_iou(matrix)  # 0.5
    ```
    """
    both = np.diag(confusion)
    either = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    found = either > 0
    if not found.any():
        raise ValueError("IoU needs at least one point. Received: no points")
    return float(np.mean(both[found] / either[found]))
