"""What a linear classifier makes of a backbone's features."""

import keras
import numpy as np
from keras import ops

from keras_pointpeft.files.progress import telling


@telling("extracting features")
def pooled_features(backbone, points, batch_size=64):
    """The features that pre-training is judged by.

    The maximum over the final tokens; of Point-M2AE and the mean. Neither
    class token nor method takes part; see `PointBackbone.frozen_pass`.

    Args:
        backbone: a `keras_pointpeft.models.PointBackbone`.
        points: array `(clouds, points, 3)`.
        batch_size: int.

    Returns:
        float32 array `(clouds, dim)`.

    Example:
    ```python
    from keras_pointpeft import training

    backbone = keras_pointpeft.from_preset("pointmaetiny_shapes")
    features = training.pooled_features(backbone, points)
    ```
    """
    model = backbone.frozen_pass()
    parts = [
        ops.convert_to_numpy(
            model.predict_on_batch(points[begin : begin + batch_size])
        )
        for begin in range(0, len(points), batch_size)
    ]
    return np.concatenate(parts).astype("float32")


@telling("fitting a linear SVM")
def svm_accuracy(train, train_labels, test, test_labels, c=0.01):
    """Accuracy of a linear support vector machine on features.

    Args:
        train, test: arrays `(clouds, dim)`.
        train_labels, test_labels: int arrays `(clouds,)`.
        c: float, the weight of the errors; published is 0.01.

    Raises:
        ImportError: if scikit-learn is not installed.

    Example:
    ```python
    from keras_pointpeft import training

    backbone = keras_pointpeft.from_preset("pointmaetiny_shapes")
    features = training.pooled_features(backbone, points)
    training.svm_accuracy(features, labels, features, labels)
    ```
    """
    try:
        from sklearn.svm import SVC
    except ImportError as error:
        raise ImportError(
            "The linear SVM needs scikit-learn: `pip install scikit-learn`. "
            f"Received: {error}"
        ) from error
    machine = SVC(C=c, kernel="linear").fit(train, train_labels)
    return float(machine.score(test, test_labels))


class LinearSVM(keras.callbacks.Callback):
    """Logs during pre-training as `"svm_accuracy"` what its features tell.

    As published with [Point-M2AE](https://arxiv.org/abs/2205.14401): a linear
    SVM is trained on the frozen features of a labelled data set, without
    augmentation, and measured on its test split.

    Args:
        train: `keras_pointpeft.data.Split`.
        test: `keras_pointpeft.data.Split` with the same classes.
        num_points: optional int. The first so many points of each cloud.
        every: int. Epochs between two measurements.
        c: float, see `svm_accuracy`.

    Raises:
        ValueError: if `every` is less than 1.

    Example:
    ```python
    from keras_pointpeft import training

    split = keras_pointpeft.data.Split(points, labels, ("a", "b"))
    backbone = keras_pointpeft.from_preset("pointmaetiny_shapes")
    model = keras_pointpeft.models.MaskedAutoencoder(
        backbone, decoder_num_heads=4
    )
    model.compile("adamw")
    svm = training.LinearSVM(split, split)
    model.fit(points, epochs=300, callbacks=[svm])
    ```
    """

    def __init__(self, train, test, num_points=None, every=1, c=0.01):
        super().__init__()
        if every < 1:
            raise ValueError(
                f"`every` must be at least 1. Received: every={every}"
            )
        self.train = train
        self.test = test
        self.num_points = num_points
        self.every = every
        self.c = c

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every:
            return
        features = [
            pooled_features(self.model.backbone, s.points[:, : self.num_points])
            for s in (self.train, self.test)
        ]
        logs["svm_accuracy"] = svm_accuracy(
            features[0],
            self.train.labels,
            features[1],
            self.test.labels,
            self.c,
        )
