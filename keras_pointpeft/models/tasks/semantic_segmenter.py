import warnings

from keras_pointpeft.models.tasks.segmenter import PointSegmenter
from keras_pointpeft.serialization import serializable
from keras_pointpeft.step.iou import MeanIoU


@serializable
class SemanticSegmenter(PointSegmenter):
    """Gives the log-probabilities of the classes for each point of a scene.

    The model of [ACT](https://arxiv.org/abs/2212.08320) on S3DIS: part
    segmentation without a category. It sees columns of a scene, see
    `keras_pointpeft.data.RoomDataset`.

    Args:
        backbone: a `keras_pointpeft.models.PointBackbone`.
        num_classes: int. Number of classes.
        class_weights: optional sequence of floats. Weights of the classes in
            the loss, see `keras_pointpeft.training.class_weights`.
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
        `(batch, points, 3)`.

    Output shape:
        `(batch, points, num_classes)`, logarithms of probabilities.

    Raises:
        ValueError: if `num_classes` is no positive integer, or there are not as
            many `class_weights`.

    Example:
    ```python
    model = keras_pointpeft.from_preset("dapt_pointmaetiny_rooms")
    rooms = keras_pointpeft.data.load_rooms(num_rooms=1)
    labels = model.predict_room(rooms[0], num_points=1024)
    ```
    """

    # A tower above a narrow column.
    largest_coordinate = 1000.0
    config_names = (*PointSegmenter.config_names, "class_weights")

    def __init__(
        self,
        backbone,
        num_classes=13,
        class_weights=None,
        blocks=None,
        propagation_dims=None,
        head_dims=None,
        dropout=0.5,
        head_dtype=None,
        **kwargs,
    ):
        if class_weights is not None:
            class_weights = tuple(float(weight) for weight in class_weights)
            if len(class_weights) != num_classes:
                raise ValueError(
                    f"`class_weights` must have {num_classes} entries. "
                    f"Received: {class_weights}"
                )
        # The base class compiles, which asks for loss and metrics.
        self.class_weights = class_weights
        super().__init__(
            backbone,
            num_classes,
            None,
            blocks,
            propagation_dims,
            head_dims,
            dropout,
            head_dtype,
            **kwargs,
        )

    def default_loss(self):
        from keras_pointpeft.step.losses import WeightedCrossentropy

        return WeightedCrossentropy(self.class_weights)

    def default_metrics(self):
        from keras_pointpeft.step.losses import PointAccuracy

        return [
            PointAccuracy(),
            MeanIoU(self.num_classes),
        ]

    def predict_room(self, room, num_points=None, votes=1, **kwargs):
        """Predicts a label for every point of a scene of any size.

        Args:
            room: `keras_pointpeft.data.Room`, or an array `(points, 3)` in
                metres, z up.
            num_points: optional int. Points that the model sees at once.
                Like width and step of the columns (`column_size`, `stride`),
                what it was trained with by default.
            votes: int. How often the scene is covered.
            **kwargs: further arguments of
                `keras_pointpeft.data.predict_room`.

        Returns:
            int32 array `(points,)`.

        Raises:
            ValueError: the room has not the channels that the model takes.
        """
        from keras_pointpeft.data import predict_room

        trained = self.contract
        wanted = self.backbone.input.shape[-1] - 3
        given = getattr(room, "channels", None)
        given = 0 if given is None else given.shape[1]
        if given != wanted:
            names = f" {list(trained.channels)}" if trained.channels else ""
            raise ValueError(
                f"The model takes {wanted} channels{names} beside the "
                "coordinates, as `channels` of a `keras_pointpeft.data.Room`. "
                f"Received: {given}"
            )
        size = trained.column_size
        if num_points is None:
            num_points = trained.num_points or 2048
        if size is not None:
            kwargs.setdefault("column_size", size)
            stride = (trained.column_stride or 0.5) * kwargs["column_size"]
            kwargs.setdefault("stride", stride)
        asked = {"num_points": num_points, **kwargs}
        for name in ("num_points", "column_size"):
            here, there = asked.get(name), getattr(trained, name)
            if None not in (there, here) and here != there:
                warnings.warn(
                    f"The model was trained with {name}={there}, and its "
                    f"labels may be wrong with others. Received: {here}",
                    stacklevel=2,
                )
        return predict_room(
            self.predict_on_batch,
            room,
            self.num_classes,
            num_points=num_points,
            votes=votes,
            **kwargs,
        )
