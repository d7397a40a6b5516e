"""Running a backbone to see what its blocks do with some clouds."""

import keras
from keras import ops

from keras_pointpeft.layers import TransformerBlock


class BlockReader:
    """Runs a backbone in inference and looks into each of its blocks.

    Weights are those of the moment of a call: one reader serves a whole
    training.

    Args:
        backbone: a `keras_pointpeft.models.PointBackbone`.

    Attributes:
        blocks: dict from names to `TransformerBlock`, in order.

    Example:
    ```python
    from keras_pointpeft.models.watching import BlockReader

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    centers, blocks = BlockReader(model.backbone)(points)
    blocks["block_0"]["token_scale"]  # (clouds, tokens, 1)
    ```
    """

    def __init__(self, backbone):
        calls = {}

        def call(layer, *args, **kwargs):
            if isinstance(layer, TransformerBlock):
                calls[layer.name] = (layer, _tensors(args, kwargs))
            return layer(*args, **kwargs)

        # A second graph of the same layers, in which `call` sees every call.
        copy = keras.models.clone_model(
            backbone, clone_function=lambda layer: layer, call_function=call
        )
        self.blocks = {name: layer for name, (layer, _) in calls.items()}
        outputs = {
            "centers": copy.output["centers"],
            "inputs": {name: tensors for name, (_, tensors) in calls.items()},
        }
        self._reader = keras.Model(copy.input, outputs)

    def __call__(self, points):
        """Looks at some clouds.

        Args:
            points: array `(clouds, points, 3)`. A few: the attention of all
                heads is computed at once.

        Returns:
            The patches' centres, and a dict from blocks' names to what
            `TransformerBlock.watched` gives.
        """
        found = self._reader(ops.convert_to_tensor(points), training=False)
        inputs = found["inputs"]
        return found["centers"], {
            name: block.watched(**inputs[name])
            for name, block in self.blocks.items()
        }


def _tensors(args, kwargs):
    names = ("tokens", "geometry", "attention_mask")
    known = {**dict(zip(names, args)), **kwargs}
    known = {name: known[name] for name in names if name in known}
    return {name: x for name, x in known.items() if x is not None}
