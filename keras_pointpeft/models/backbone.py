import re
import weakref

import keras
import keras_hub

from keras_pointpeft.adapters.copying import copy_weights
from keras_pointpeft.adapters.settings import check_as_built
from keras_pointpeft.adapters.settings import own_settings
from keras_pointpeft.arguments import check_arguments
from keras_pointpeft.data.incoming import Door
from keras_pointpeft.files import preset_folder
from keras_pointpeft.files.progress import telling
from keras_pointpeft.layers import PointPatches
from keras_pointpeft.layers import TokenPooling
from keras_pointpeft.layers.recompute import check_remat
from keras_pointpeft.models.saving import Saving
from keras_pointpeft.models.trunk import frozen_pass
from keras_pointpeft.models.trunk import normalized
from keras_pointpeft.peft.freezing import freeze
from keras_pointpeft.peft.freezing import freeze_again
from keras_pointpeft.peft.freezing import load_base
from keras_pointpeft.peft.freezing import read_base
from keras_pointpeft.peft.freezing import save_base
from keras_pointpeft.peft.freezing import set_base
from keras_pointpeft.peft.freezing import write_base
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.pieces import make_pieces
from keras_pointpeft.serialization import Configurable


class PointBackbone(Configurable, Saving, keras_hub.models.Backbone):
    """Base of all point-cloud backbones.

    A backbone takes points `(batch, points, 3)` and returns a dict of
    `"class_tokens"`, `"prompt_tokens"` and `"patch_tokens"`, each
    `(batch, tokens, dim)`, and the patches' `"centers"`
    `(batch, groups, 3)`. Parts that it does not have are left out.

    Subclasses build the functional graph, name every layer, and end with
    `super().__init__(inputs, outputs, peft)`. The blocks are named
    `block_0`, `block_1` and so on, so that `features()` finds them.
    `fewest_points` is how many points a cloud must have for all its patches.

    Args:
        inputs: the graph's input.
        outputs: the graph's outputs.
        peft: optional `keras_pointpeft.peft.PeftMethod`, or its config.
        dtype: optional dtype or `keras.DTypePolicy`.
        remat: see `remat`.
        trunk: the `keras_pointpeft.models.trunk.Trunk` of the graph.

    Input shape:
        `(batch, points, 3)`.

    Output shape:
        dict, as above.

    Raises:
        ValueError: if `peft` is no method, or what `from_preset` finds is not
            of this class.

    Example:
    ```python
    PointBackbone = keras_pointpeft.models.PointBackbone
    backbone = PointBackbone.from_preset("pointmaetiny_shapes")
    tokens = backbone(points)["patch_tokens"]  # (batch, 32, 96)
    ```
    """

    training_only = ("drop_path_rate", "generator_weight")
    config_names = ()
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
    # How the published segmentation model reads this backbone, see
    # `keras_pointpeft.models.tasks.decoders`.
    decoder = "tokens"
    reads_class_tokens = False

    # What a method has changed of the base, and what it leaves frozen; see
    # `keras_pointpeft.peft.freezing`.
    _base_memory = None
    _frozen = ()
    # Where Keras has last saved own variables: a function that gives it.
    _written_to = staticmethod(lambda: None)

    def __init__(
        self,
        inputs,
        outputs,
        peft=None,
        dtype=None,
        remat="elementwise",
        trunk=None,
        trainable=True,
        **kwargs,
    ):
        super().__init__(inputs=inputs, outputs=outputs, dtype=dtype, **kwargs)
        self.peft = peft
        # Past Keras, which would track it.
        object.__setattr__(self, "_method_as_built", own_settings(peft))
        self.trunk = trunk
        self.remat = remat
        # Of all patches, for some methods cut further ones, and larger.
        cuts = [x for x in self.layers if isinstance(x, PointPatches)]
        sizes = [max(cut.num_groups, cut.group_size) for cut in cuts]
        self.fewest_points = max(sizes, default=1)
        freeze(self, peft)
        if peft is not None:
            set_base(self)
            make_pieces(self)
        if not trainable:
            self.trainable = False
        show_parameters(self)

    @property
    def trainable(self):
        """Whether it trains: with a method, what the method says."""
        return super().trainable

    @trainable.setter
    def trainable(self, value):
        keras.Model.trainable.fset(self, value)
        freeze_again(self)

    def enable_lora(self, rank, target_layer_names=None):
        """Not Keras' own, which would undo what a method says."""
        raise ValueError(
            "Low-rank updates are a method of this library: build the "
            f"backbone with `peft=keras_pointpeft.peft.LoRA(rank={rank})`. "
            f"Received: enable_lora({rank})"
        )

    def save_lora_weights(self, filepath):
        """Not Keras' own; `save_adapter` of a task saves what trained."""
        raise ValueError(
            "Low-rank updates are a method of this library, "
            "`peft=keras_pointpeft.peft.LoRA(rank=8)`, which `save_adapter` "
            f"of a task saves. Received: filepath={str(filepath)!r}"
        )

    def load_lora_weights(self, filepath):
        """Not Keras' own; `load_adapter` of a task loads what trained."""
        raise ValueError(
            "Low-rank updates are a method of this library, "
            "`peft=keras_pointpeft.peft.LoRA(rank=8)`, which `load_adapter` "
            f"of a task loads. Received: filepath={str(filepath)!r}"
        )

    def quantize(self, mode, **kwargs):
        refuse_quantization(mode)

    @property
    def remat(self):
        """What the backward pass computes again instead of keeping it.

        * `"none"`: nothing.
        * `"elementwise"`, the default: norms, transforms, activations,
          attention and adapters of frozen blocks. In DAPT's training that
          halves what is kept and takes about a seventh more time.
        * `"block"`: all of each block but its input. A twentieth is kept, at
          two fifths more time.

        Gradients are the same. Set it before training: a model that has been
        compiled to a graph keeps what it had.
        """
        return next(x.remat for x in self.layers if hasattr(x, "remat"))

    @remat.setter
    def remat(self, mode):
        check_remat(mode)
        for layer in self.layers:
            if hasattr(layer, "remat"):
                layer.remat = mode

    @property
    def head_inputs(self):
        """Arguments of the `TokenPooling` that suits backbone and method."""
        pooling = None if self.peft is None else self.peft.pooling
        pooling = dict(self.pooling if pooling is None else pooling)
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
        early, late = backbone.features((1, 4))(points)
        ```
        """
        outputs = [self.get_layer(f"block_{i}").output for i in blocks]
        return keras.Model(self.input, outputs)

    @telling("extracting features")
    def extract(self, points, blocks=(), batch_size=32):
        """What the backbone makes of clouds, as arrays.

        Args:
            points: array `(clouds, points, 3)`.
            blocks: iterable of ints. Also the tokens after these blocks.
            batch_size: int. Clouds that are worked on at a time.

        Returns:
            dict of arrays: `"patch_tokens"`, `"centers"` and what else a call
            gives; `"pooled"` `(clouds, features)`, what the head of a
            classifier reads; and `"block_3"` and the like,
            `(clouds, tokens, dim)`.

        Example:
        ```python
        features = backbone.extract(points, blocks=(1, 4))["pooled"]
        ```
        """
        door = Door(
            None, self.fewest_points, channels=self.input.shape[-1]
        )
        points = door.points(points)
        outputs = dict(self.output)
        outputs["pooled"] = TokenPooling(**self.head_inputs)(self.output)
        for i in blocks:
            outputs[f"block_{i}"] = self.get_layer(f"block_{i}").output
        model = keras.Model(self.input, outputs)
        return model.predict(points, batch_size=batch_size, verbose=0)

    @property
    def segmentation_decoder(self):
        """Name of the decoder of segmentation: the method's, or its own."""
        theirs = None if self.peft is None else self.peft.decoder
        one_stage = len(self.trunk.stages) == 1
        return theirs if theirs and one_stage else self.decoder

    @property
    def dense_blocks(self):
        """The blocks that segmentation reads: the last one of each third.

        Under a method with a decoder of its own, of as many parts as it says.
        """
        count = 3 if self.peft is None else self.peft.dense_parts
        ends = (self.depth * (i + 1) // count for i in range(count))
        # Of fewer blocks than parts, the first serves for an empty one.
        return tuple(max(end, 1) - 1 for end in ends)

    def dense(self, blocks=None):
        """A model of what segmentation reads: tokens and their places.

        Args:
            blocks: optional iterable of ints, counted from 0. By default
                `dense_blocks`.

        Returns:
            A `keras.Model` from points to a dict of `"tokens"`, a list of
            the patch tokens `(batch, groups, dim)` after each of the blocks
            and the final norm; `"centers"`, a list of their centres
            `(batch, groups, 3)`; and, where the published segmentation model
            reads them, `"class_tokens"` `(batch, tokens, dim)` after the last
            of the blocks, without the norm; `"pooled_tokens"` are the tokens
            with the prompts, of a method that pools them too, and
            `"prompts"` a list of those that belong to one block, before and
            after it; `"graph"`, for the decoder that reads it, what the
            method has made of the first tokens, `(batch, tokens, width)`.

        Example:
        ```python
        tokens = backbone.dense()(points)["tokens"]
        ```
        """
        blocks = self.dense_blocks if blocks is None else tuple(blocks)
        outputs = self.features(blocks).outputs
        tokens = [x[:, -self.num_groups :] for x in outputs]
        found = {
            "tokens": self._normalized(tokens),
            "centers": [self.output["centers"]] * len(tokens),
        }
        if self.peft is not None and self.peft.pools_prompts:
            every = [x[:, self.num_class_tokens :] for x in outputs]
            found["pooled_tokens"] = self._normalized(every)
        if self.segmentation_decoder == "prompts":
            # What the method makes of the tokens before the first block.
            found["graph"] = self.get_layer("tuner_tokens_0").output
        passing = [
            la for la in self.layers if re.match(r"tuner_passing_\d", la.name)
        ]
        if passing:
            found["prompts"] = self._normalized(self._passing(passing))
        if self.reads_class_tokens:
            found["class_tokens"] = outputs[-1][:, : self.num_class_tokens]
        return keras.Model(self.input, found, name="dense")

    def _passing(self, layers):
        """Prompts of one block each: all as they come, all as they leave."""
        first, after = self.num_class_tokens, []
        for layer in layers:
            count = layer.output.shape[1]
            block = self.get_layer(f"block_{layer.name.rsplit('_', 1)[1]}")
            after.append(block.output[:, first : first + count])
        return [layer.output for layer in layers] + after

    def _normalized(self, outputs):
        """Tokens after the final norm, and what the method does about it."""
        found = [la for la in self.layers if la.name == "tuner_norm"]
        tuner = found[0] if found else None
        return [normalized(self.trunk.norm, tuner, x) for x in outputs]

    def frozen_pass(self, num_groups=None, group_size=None):
        """A model of the feature that the backbone has without its method.

        Args:
            num_groups: optional int, or a tuple with one per stage. Number of
                patches, by default the backbone's.
            group_size: optional, likewise. Points per patch.

        Returns:
            A `keras.Model` from points to `(batch, dim)`: the maximum over
            the final patch tokens, in a hierarchical backbone with their mean
            added, without class token, prompts or tuners. It carries no
            gradient.
        """
        points = keras.Input((None, 3), name="points")
        sizes = self.trunk.sizes(num_groups, group_size)
        layout = self.trunk.cut(points, sizes)
        return keras.Model(points, frozen_pass(self.trunk, layout))

    @classmethod
    def from_preset(cls, preset, load_weights=True, **kwargs):
        """Builds a backbone from a built-in name, a directory or a handle.

        A task's preset gives the task's backbone; see
        `keras_pointpeft.from_preset` for names and arguments.
        """
        from keras_pointpeft import presets

        model = presets.from_preset(preset, load_weights, **kwargs)
        model = getattr(model, "backbone", model)
        if not isinstance(model, cls):
            raise ValueError(
                f"{preset!r} has a {type(model).__name__}, not a "
                f"{cls.__name__}. Received: preset={preset!r}"
            )
        return model

    def save_to_preset(self, preset_dir, **kwargs):
        """Saves a preset directory, whole, with checksums of its files."""
        save = super().save_to_preset
        preset_folder.write(
            preset_dir, lambda folder: save(folder, **kwargs), self
        )

    def clone(self, weights=True, **changes):
        """A backbone like this one, with the weights that both have.

        Args:
            weights: bool. Whether to copy them. What the method has added is
                copied to one with the same method; with another, or none, the
                base is the one that was there before the method joined it.
            **changes: constructor arguments that differ, such as `peft`,
                `dtype` or `num_groups`.

        Returns:
            A new backbone of the same class.

        Raises:
            TypeError: for an unknown argument.
            ValueError: if a change gives weights another shape.

        Example:
        ```python
        half = backbone.clone(dtype="mixed_bfloat16", remat="block")
        plain = backbone.clone(peft=None)
        ```
        """
        check_arguments(changes, type(self))
        # A name is for one model.
        config = {**self.get_config(), "name": None, **changes}
        twin = type(self).from_config(config)
        if weights:
            copy_weights(self, twin)
        return twin

    def get_config(self):
        check_as_built(self)
        config = super().get_config()
        config["peft"] = keras.saving.serialize_keras_object(self.peft)
        config["remat"] = self.remat
        return config

    def save_own_variables(self, store):
        """Saves what the method has changed of the base, as it was."""
        save_base(self, store)
        if not isinstance(store, dict):
            # Past Keras, which would track it.
            object.__setattr__(self, "_written_to", weakref.ref(store))

    def load_own_variables(self, store):
        load_base(self, store)

    def save_assets(self, inner_path):
        """The same where Keras saves assets, but no own variables: Orbax.

        A `.keras` file has both: its variables are written just before, and
        their store is open until all of the model is.
        """
        store = self._written_to()
        if store is None or not store:
            write_base(self, inner_path)

    def load_assets(self, inner_path):
        if inner_path:  # None where a file has no assets of this model
            read_base(self, inner_path)


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


def show_parameters(model):
    """Lets torch see the parameters of a fresh model, and no stale list.

    keras-hub sets attributes past torch until a model is built.
    """
    if hasattr(model, "torch_params"):
        model._track_variables()


def refuse_quantization(mode):
    raise ValueError(
        "Frozen layers of this library are not quantized. "
        "`dtype='bfloat16'` halves the backbone's memory; "
        "`model.export` writes ONNX, which its runtimes quantize. "
        f"Received: mode={mode!r}"
    )


def drop_path_rates(rate, depth):
    """Stochastic depth per block: from 0 in the first to `rate`."""
    return [rate * i / max(depth - 1, 1) for i in range(depth)]
