import keras

from keras_pointpeft.layers import ClassificationHead
from keras_pointpeft.layers import TokenPooling
from keras_pointpeft.models.tasks.task import PointTask
from keras_pointpeft.serialization import positive_integer
from keras_pointpeft.serialization import serializable


@serializable
class PointCloudClassifier(PointTask):
    """Gives the logits of the classes for each cloud.

    A backbone, token pooling and a head.

    `fit`, `evaluate` and `predict` take arrays, `keras.utils.PyDataset`,
    generators, torch `DataLoader` and `tf.data.Dataset` on every backend.

    Args:
        backbone: a `keras_pointpeft.models.PointBackbone`.
        num_classes: int. Number of classes.
        pooling: optional dict of `class_token`, `prompt_token` and
            `patch_token`, see `keras_pointpeft.layers.TokenPooling`. By
            default what suits backbone and method.
        head_dims: tuple of ints. Widths of the head's hidden layers; an
            empty tuple makes it one linear layer. By default those of the
            backbone's published head.
        head_norm: optional bool. Whether BatchNorms follow the hidden layers.
            By default as in the backbone's published head.
        dropout: float. Dropout rate in the head.
        head_activation: `"relu"` or `"gelu"`, behind the hidden layers.
        head_dtype: optional dtype of the head. The backbone's by default.

    Input shape:
        `(batch, points, 3)`.

    Output shape:
        `(batch, num_classes)`, logits.

    Raises:
        ValueError: if `num_classes` is no positive integer, or the head is to
            read tokens that the backbone does not have.

    Example:
    ```python
    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    model.fit(points, labels, epochs=10)
    model.save_adapter("my_task")
    ```
    """

    config_names = (
        "num_classes",
        "pooling",
        "head_dims",
        "head_norm",
        "dropout",
        "head_activation",
    )

    def __init__(
        self,
        backbone,
        num_classes,
        pooling=None,
        head_dims=None,
        head_norm=None,
        dropout=0.5,
        head_activation="relu",
        head_dtype=None,
        preprocessor=None,
        **kwargs,
    ):
        num_classes = positive_integer("num_classes", num_classes)
        pooling = backbone.head_inputs if pooling is None else dict(pooling)
        head_dims = backbone.head_dims if head_dims is None else head_dims
        head_dims = tuple(positive_integer("head_dims", x) for x in head_dims)
        head_norm = backbone.head_norm if head_norm is None else head_norm
        head_dtype = keras.dtype_policies.get(
            head_dtype or backbone.dtype_policy
        )

        # === Layers ===
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.token_pooling = TokenPooling(
            **pooling, dtype=head_dtype, name="token_pooling"
        )
        self.head = ClassificationHead(
            num_classes,
            head_dims,
            dropout,
            head_norm,
            head_activation,
            dtype=head_dtype,
            name="head",
        )

        # === Functional Model ===
        points = backbone.input
        logits = self.head(self.token_pooling(backbone(points)))
        super().__init__(inputs=points, outputs=logits, **kwargs)

        # === Config ===
        self.num_classes = num_classes
        self.pooling = pooling
        self.head_dims = head_dims
        self.head_norm = head_norm
        self.dropout = dropout
        self.head_activation = head_activation
        self.head_dtype = head_dtype

    @property
    def compares_clouds(self):
        return bool(self.head_norm and self.head_dims)

    def default_loss(self):
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def default_metrics(self):
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
