"""What GAPrompt's tuners know of a cloud."""

import keras
from keras import ops

from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.peft.ga_prompt.shift_prompter import SHAPE_CODE
from keras_pointpeft.peft.neighborhoods import PatchNeighborhoods
from keras_pointpeft.serialization import serializable


@serializable
class PromptGeometry(PatchNeighborhoods):
    """`PatchNeighborhoods`, the prompts' places and the cloud's shape.

    Args:
        num_groups: int. See `PatchNeighborhoods`.
        group_size: int. Likewise.
        num_patches: int. Likewise.
        width: int. Width of the tokens.
        num_prompts: int. Prompts with a learned place each; 0 for none.
        skip_origin: bool. See `keras_pointpeft.ops.farthest_point_sample`.

    Input shape:
        points `(batch, points, 3)`, centres `(batch, num_patches, 3)` and the
        shape's code `(batch, 16)`.

    Output shape:
        as of `PatchNeighborhoods`, and `"summary"`, the shape
        `(batch, 1, width)`, and `"coordinates"` `(batch, num_prompts, 3)`.
    """

    config_names = (
        "num_groups",
        "group_size",
        "num_patches",
        "width",
        "num_prompts",
        "skip_origin",
    )

    def __init__(
        self,
        num_groups,
        group_size,
        num_patches,
        width,
        num_prompts,
        skip_origin=False,
        **kwargs,
    ):
        super().__init__(
            num_groups,
            group_size,
            num_patches,
            skip_origin=skip_origin,
            **kwargs,
        )
        self.width = width
        self.num_prompts = num_prompts
        self.shape = Linear(width, dtype=self.dtype_policy, name="shape")

    def build(self, points_shape, centers_shape, shape_code_shape=None):
        self.shape.build((None, SHAPE_CODE))
        if self.num_prompts:
            self.coordinates = self.add_weight(
                shape=(self.num_prompts, 3),
                initializer=keras.initializers.RandomNormal(stddev=0.02),
                autocast=False,
                dtype="float32",
                name="coordinates",
            )

    def call(self, points, centers, shape_code):
        found = self.around(centers)
        found["summary"] = self.shape(shape_code)[:, None]
        if self.num_prompts:
            shape = (ops.shape(centers)[0], self.num_prompts, 3)
            found["coordinates"] = ops.broadcast_to(self.coordinates, shape)
        return found

    def compute_output_spec(self, points, centers, shape_code):
        found = super().compute_output_spec(points, centers)
        batch = centers.shape[0]
        found["summary"] = keras.KerasTensor(
            (batch, 1, self.width), self.compute_dtype
        )
        if self.num_prompts:
            shape = (batch, self.num_prompts, 3)
            found["coordinates"] = keras.KerasTensor(shape, "float32")
        return found
