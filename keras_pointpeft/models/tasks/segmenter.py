import keras
from keras import ops

from keras_pointpeft.layers import PointHead
from keras_pointpeft.models.tasks.decoders import DECODERS
from keras_pointpeft.models.tasks.task import PointTask
from keras_pointpeft.serialization import positive_integer
from keras_pointpeft.serialization import positive_integers


class PointSegmenter(PointTask):
    """Base of the tasks that give log-probabilities for each point.

    A backbone, a decoder that carries the tokens of some of its blocks back
    to the points, and a head. The decoder is the one of the backbone's
    published segmentation model. With `num_categories`, the model is also
    told which of so many categories a cloud is of.
    """

    labels_per_point = True
    config_names = (
        "num_classes",
        "blocks",
        "propagation_dims",
        "head_dims",
        "dropout",
    )

    def __init__(
        self,
        backbone,
        num_classes,
        num_categories=None,
        blocks=None,
        propagation_dims=None,
        head_dims=None,
        dropout=0.5,
        head_dtype=None,
        preprocessor=None,
        **kwargs,
    ):
        num_classes = positive_integer("num_classes", num_classes)
        way = DECODERS[backbone.segmentation_decoder]
        blocks = backbone.dense_blocks if blocks is None else tuple(blocks)
        if not blocks or not set(blocks) <= set(range(backbone.depth)):
            raise ValueError(
                "`blocks` must name some of the backbone's blocks 0 to "
                f"{backbone.depth - 1}. Received: blocks={blocks}"
            )
        if propagation_dims is None:
            propagation_dims = way.propagation_dims(backbone.dim)
        propagation_dims = positive_integers(
            "propagation_dims", propagation_dims
        )
        head_dims = way.head_dims if head_dims is None else head_dims
        head_dims = positive_integers("head_dims", head_dims)
        head_dtype = keras.dtype_policies.get(
            head_dtype or backbone.dtype_policy
        )

        # === Layers ===
        # Keras must not track the whole backbone: the task's variables are
        # those of the part that segmentation reads.
        object.__setattr__(self, "_whole", backbone)
        self.preprocessor = preprocessor
        self.dense = backbone.dense(blocks)
        self.head = PointHead(
            num_classes,
            head_dims,
            dropout,
            way.context_first,
            way.head_norm,
            dtype=head_dtype,
            name="head",
        )

        # === Functional Model ===
        if num_categories is not None:
            num_categories = positive_integer("num_categories", num_categories)
        points = backbone.input
        inputs, category = points, None
        if num_categories is not None:
            number = keras.Input((), dtype="int32", name="category")
            inputs = {"points": points, "category": number}
            if way.category is not None:
                category = way.category(
                    num_categories, dtype=head_dtype, name="category_feature"
                )(number)
            else:
                category = ops.one_hot(number, num_categories)
        features, context = way.decode(
            # Their places, without further channels.
            points[..., :3] if points.shape[-1] > 3 else points,
            category,
            self.dense(points),
            dims=propagation_dims,
            policy=head_dtype,
            skip_origin=backbone.skip_origin,
        )
        logits = ops.cast(self.head(features, context), "float32")
        outputs = ops.log_softmax(logits, axis=-1)
        self.num_classes = num_classes  # for the metrics
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)

        # === Config ===
        self.num_categories = num_categories
        self.blocks = blocks
        self.propagation_dims = propagation_dims
        self.head_dims = head_dims
        self.dropout = dropout
        self.head_dtype = head_dtype

    @property
    def fewest_points(self):
        backbone = self.backbone
        upsampling = DECODERS[backbone.segmentation_decoder].upsampling
        groups = backbone.num_groups
        first = groups[0] if isinstance(groups, tuple) else groups
        return max(backbone.fewest_points, upsampling * first)

    @property
    def backbone(self):
        return self._whole

    # What the base class calls it.
    _backbone = backbone

    def check_class_weight(self, class_weight):
        if class_weight is not None:
            raise ValueError(
                "Keras weighs clouds by `class_weight`, and takes labels per "
                "point for something else. Compile with "
                "`loss=keras_pointpeft.step.losses.WeightedCrossentropy("
                "weights)`. Received: class_weight="
                f"{class_weight!r}"
            )
