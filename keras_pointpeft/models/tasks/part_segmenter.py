import keras
import numpy as np

from keras_pointpeft.files.progress import telling
from keras_pointpeft.models.tasks.segmenter import PointSegmenter
from keras_pointpeft.serialization import positive_integer
from keras_pointpeft.serialization import serializable

# Category by category, the parts of ShapeNetPart.
SHAPENET_PARTS = (
    (0, 1, 2, 3),
    (4, 5),
    (6, 7),
    (8, 9, 10, 11),
    (12, 13, 14, 15),
    (16, 17, 18),
    (19, 20, 21),
    (22, 23),
    (24, 25, 26, 27),
    (28, 29),
    (30, 31, 32, 33, 34, 35),
    (36, 37),
    (38, 39, 40),
    (41, 42, 43),
    (44, 45, 46),
    (47, 48, 49),
)


@serializable
class PartSegmenter(PointSegmenter):
    """Gives the log-probabilities of the parts for each point.

    The model of the ShapeNetPart benchmark, for objects whose category is
    known: which parts are possible is left to the evaluation, which looks at
    those of the cloud's category alone.

    Args:
        backbone: a `keras_pointpeft.models.PointBackbone`.
        num_classes: int. Number of parts, of all categories together.
        num_categories: int. Number of categories.
        category_parts: optional sequence that names, for each category, its
            parts. By default those of ShapeNetPart, if the numbers are its
            50 and 16; else all parts are possible for all categories.
        blocks: optional tuple of ints. The blocks that are read, by default
            `backbone.dense_blocks`.
        propagation_dims: optional tuple of ints. Widths of the decoder, as
            published by default.
        head_dims: optional tuple of ints. Widths of the head's hidden layers,
            as published by default.
        dropout: float. Dropout rate in the head.
        head_dtype: optional dtype of decoder and head. The backbone's by
            default.

    Input shape:
        dict of `"points"` `(batch, points, 3)` and `"category"` `(batch,)`,
        integers.

    Output shape:
        `(batch, points, num_classes)`, logarithms of probabilities.

    Raises:
        ValueError: if `num_classes` is no positive integer, or
            `category_parts` does not name some of the parts for each category.

    Example:
    ```python
    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapesparts")
    clouds = np.random.rand(4, 1024, 3).astype("float32")
    categories = np.array([0, 1, 2, 3])
    scores = model.predict({"points": clouds, "category": categories})
    parts = model.predict_parts(clouds, categories)  # (4, 1024)
    ```
    """

    config_names = (
        *PointSegmenter.config_names,
        "num_categories",
        "category_parts",
    )

    def __init__(
        self,
        backbone,
        num_classes=50,
        num_categories=16,
        category_parts=None,
        blocks=None,
        propagation_dims=None,
        head_dims=None,
        dropout=0.5,
        head_dtype=None,
        **kwargs,
    ):
        num_classes = positive_integer("num_classes", num_classes)
        num_categories = positive_integer("num_categories", num_categories)
        if category_parts is None:
            category_parts = (tuple(range(num_classes)),) * num_categories
            if (num_classes, num_categories) == (50, 16):
                category_parts = SHAPENET_PARTS
        category_parts = tuple(tuple(parts) for parts in category_parts)
        known = range(num_classes)
        if len(category_parts) != num_categories or any(
            not parts or not set(parts) <= set(known)
            for parts in category_parts
        ):
            raise ValueError(
                f"`category_parts` must name, for each of {num_categories} "
                f"categories, some of the parts 0 to {num_classes - 1}. "
                f"Received: category_parts={category_parts!r}"
            )
        # The base class compiles, which asks for loss and metrics.
        self.category_parts = category_parts
        super().__init__(
            backbone,
            num_classes,
            num_categories,
            blocks,
            propagation_dims,
            head_dims,
            dropout,
            head_dtype,
            **kwargs,
        )

    def default_loss(self):
        return keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=-1
        )

    def default_metrics(self):
        from keras_pointpeft.step.iou import ClassMeanIoU
        from keras_pointpeft.step.iou import InstanceMeanIoU

        return [
            ClassMeanIoU(self.category_parts),
            InstanceMeanIoU(self.category_parts),
        ]

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        from keras_pointpeft.step.iou import categories

        with categories(x["category"]):
            return super().compute_metrics(x, y, y_pred, sample_weight)

    @telling("predicting parts")
    def predict_parts(self, points, category, batch_size=32):
        """The parts of points, among those that the category has.

        Args:
            points: array `(batch, points, 3)`.
            category: int array `(batch,)`.
            batch_size: int.

        Returns:
            int32 array `(batch, points)`.
        """
        category = np.asarray(category).astype("int32")
        scores = self.predict(
            {"points": points, "category": category},
            batch_size=batch_size,
            verbose=0,
        )
        return self.best_parts(scores, category)

    def best_parts(self, scores, category):
        """The best part of each point, among those that the category has.

        Args:
            scores: array `(batch, points, num_classes)`.
            category: int array `(batch,)`.

        Returns:
            int32 array `(batch, points)`.
        """
        possible = np.zeros((self.num_categories, self.num_classes), bool)
        for row, parts in zip(possible, self.category_parts):
            row[list(parts)] = True
        scores = np.where(possible[category][:, None], scores, -np.inf)
        return scores.argmax(axis=-1).astype("int32")
