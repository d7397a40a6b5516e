import keras
import keras_hub

from keras_pointpeft.layers import PointPatches
from keras_pointpeft.models.frozen_pass import FrozenPass
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.serialization import Configurable


class PointBackbone(Configurable, keras_hub.models.Backbone):
    """Base of all point-cloud backbones.

    A backbone takes points `(batch, points, 3)` and returns a dict of
    `"class_tokens"`, `"prompt_tokens"` and `"patch_tokens"`, each
    `(batch, tokens, dim)`, and the patches' `"centers"`
    `(batch, groups, 3)`. Parts that it does not have are left out.

    Subclasses build the functional graph, name every layer, and end with
    `super().__init__(inputs, outputs, peft)`. The blocks are named
    `block_0`, `block_1` and so on, so that `features()` finds them.

    Args:
        inputs: the graph's input.
        outputs: the graph's outputs.
        peft: optional `keras_pointpeft.peft.PeftMethod`, or its config.
        dtype: optional dtype or `keras.DTypePolicy`.
    """

    # What the classification head reads when the method does not say.
    pooling = {
        "class_token": "first",
        "prompt_token": None,
        "patch_token": "max",
    }
    num_class_tokens = 1
    # Regular expressions of the paths of variables that weight decay leaves
    # alone, beside those that the general rule exempts.
    undecayed = ()
    # The published classification head, where a task does not say.
    head_dims = (256, 256)
    head_norm = True

    def __init__(self, inputs, outputs, peft=None, dtype=None, **kwargs):
        super().__init__(inputs=inputs, outputs=outputs, dtype=dtype, **kwargs)
        self.peft = peft
        freeze(self, peft)

    @property
    def head_inputs(self):
        """Arguments of the `TokenPooling` that suits backbone and method."""
        if self.peft is None or self.peft.pooling is None:
            return dict(self.pooling)
        pooling = dict(self.peft.pooling)
        if self.num_class_tokens == 0:
            pooling["class_token"] = None
        return pooling

    def features(self, blocks):
        """A model of the tokens after chosen blocks.

        Args:
            blocks: iterable of ints, counted from 0.

        Returns:
            A `keras.Model` from points to a list of tensors
            `(batch, tokens, dim)`, class tokens and prompts included.

        Example:
        ```python
        early, late = backbone.features((3, 11))(points)
        ```
        """
        outputs = [self.get_layer(f"block_{i}").output for i in blocks]
        return keras.Model(self.input, outputs)

    def frozen_pass(self, num_groups=None, group_size=None):
        """A model of the feature that the backbone has without its method.

        Args:
            num_groups: optional int. Number of patches, by default the
                backbone's.
            group_size: optional int. Points per patch, likewise.

        Returns:
            A `keras.Model` from points to the maximum over the final patch
            tokens, `(batch, dim)`, without class token, prompts or tuners.
            It carries no gradient.
        """
        points = keras.Input((None, 3), name="points")
        patches = PointPatches(
            num_groups or self.num_groups,
            group_size or self.group_size,
            self.skip_origin,
            name="frozen_patches",
        )(points)
        feature = FrozenPass(self.trunk, self.dim, name="frozen_pass")(
            patches["neighborhoods"], patches["centers"]
        )
        return keras.Model(points, feature)

    @classmethod
    def from_preset(cls, preset, load_weights=True, **kwargs):
        """Builds a backbone from a built-in name, a directory or a handle.

        A task's preset gives the task's backbone; see
        `keras_pointpeft.from_preset` for names and arguments.
        """
        from keras_pointpeft import presets

        if str(preset) not in presets.list_presets():
            return super().from_preset(preset, load_weights, **kwargs)
        model = presets.from_preset(preset, load_weights, **kwargs)
        model = getattr(model, "backbone", model)
        if not isinstance(model, cls):
            raise ValueError(
                f"{preset!r} has a {type(model).__name__}, not a "
                f"{cls.__name__}. Received: preset={preset!r}"
            )
        return model

    def get_config(self):
        config = super().get_config()
        config["peft"] = keras.saving.serialize_keras_object(self.peft)
        return config


def as_method(peft):
    """A `PeftMethod` or None, from itself or its config."""
    if isinstance(peft, dict):
        peft = keras.saving.deserialize_keras_object(peft)
    if peft is not None and not isinstance(peft, PeftMethod):
        raise ValueError(
            "`peft` must be a `keras_pointpeft.peft.PeftMethod`, its config "
            f"or None. Received: peft={peft!r}"
        )
    return peft


def freeze(model, peft):
    """Sets, variable by variable, what trains under a method.

    The only place where anything is frozen. Layers stay trainable: a layer's
    own flag would also change how it treats the batch.
    """
    if peft is None:
        return
    for variable in model.trainable_variables:
        variable.trainable = peft.trains(variable.path)


def drop_path_rates(rate, depth):
    """Stochastic depth per block: from 0 in the first to `rate`."""
    return [rate * i / max(depth - 1, 1) for i in range(depth)]
