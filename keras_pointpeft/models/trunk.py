"""What a backbone is made of, and the walk through it."""

import dataclasses
import re

import keras
import numpy as np
from keras import ops

from keras_pointpeft.layers import PointPatches
from keras_pointpeft.layers.patches import check_encoder_dims
from keras_pointpeft.ops import gather
from keras_pointpeft.peft.freezing import NOT_OF_THE_BASE
from keras_pointpeft.pieces import Piece
from keras_pointpeft.serialization import positive_integer
from keras_pointpeft.serialization import serializable


@dataclasses.dataclass
class Stage:
    """What makes tokens of patches, and blocks that work on them.

    Args:
        patches: the `keras_pointpeft.layers.PointPatches`; of the points, or
            of the centres of the stage before.
        position: a layer from centres to position embeddings.
        dim: int. Width of the tokens.
        depth: int. Number of transformer blocks.
        encoder_dims: tuple of ints. Inner widths of the patch encoder.
        token_dim: optional int. Width of its output; another one than `dim`
            adds a linear layer `projection`.
        joined: bool. See `keras_pointpeft.layers.PatchEncoder`.
        front: tuple of layers, each of which puts class tokens and their
            positions before those of the patches.
        order: optional layer that puts patches into a row.
        near: optional layer from centres to an attention mask.
        next_patches: pair of ints or None: number and size of neighbourhoods
            of this stage's patches, where the backbone has an answer.
        encoder: list of the layers that make tokens of patches; made by
            `keras_pointpeft.models.assembly.Assembly`.
        blocks: list of `keras_pointpeft.layers.TransformerBlock`, likewise.
    """

    patches: keras.layers.Layer
    position: keras.layers.Layer
    dim: int
    depth: int
    encoder_dims: tuple
    token_dim: int | None = None
    joined: bool = False
    front: tuple = ()
    order: keras.layers.Layer | None = None
    near: keras.layers.Layer | None = None
    next_patches: tuple = (None, None)
    encoder: list = dataclasses.field(default_factory=list)
    blocks: list = dataclasses.field(default_factory=list)

    def __post_init__(self):
        positive_integer("depth", self.depth)
        if self.token_dim is not None:
            positive_integer("token_dim", self.token_dim)
        check_encoder_dims("encoder_dims", self.encoder_dims)

    @property
    def suffix(self):
        """What stands behind the names of what every stage has."""
        return self.patches.name.removeprefix("patches")

    def encode(self, patches, below=None, **mode):
        """Tokens `(batch, groups, dim)` of patches.

        Args:
            patches: dict, see `keras_pointpeft.layers.PointPatches`; with
                `"beside"` also that of `keras_pointpeft.layers.PatchChannels`.
            below: optional `(batch, tokens, width)`: tokens of the stage
                before, which the patches are then made of.
            **mode: `training`, for the patch encoder.
        """
        if below is None:
            tokens = patches["neighborhoods"]
        else:
            tokens = gather(below, patches["neighbors"])
        encoder, *others = self.encoder
        if "beside" in patches:
            mode["beside"] = patches["beside"]
        tokens = encoder(tokens, **mode)
        for layer in others:
            tokens = layer(tokens)
        return tokens


class Trunk:
    """The layers of a backbone that a method leaves alone, stage by stage.

    It holds layers that belong to a model without being part of that model.

    Args:
        stages: list of `Stage`.
        norm: the final norm.
        adds_mean: bool. Whether the feature of a cloud is the maximum over
            the final tokens with their mean added, or the maximum alone.
    """

    def __init__(self, stages, norm, adds_mean=False):
        self.stages = list(stages)
        self.norm = norm
        self.adds_mean = adds_mean

    @property
    def dim(self):
        """Width of the last stage's tokens."""
        return self.stages[-1].dim

    @property
    def variables(self):
        """What a walk without a method reads."""
        layers = [self.norm]
        for stage in self.stages:
            layers += [*stage.encoder, stage.position, *stage.blocks]
        found = [v for layer in layers for v in layer.variables]
        return [v for v in found if not re.search(NOT_OF_THE_BASE, v.path)]

    def sizes(self, num_groups=None, group_size=None):
        """Numbers and sizes of the patches of all stages.

        Args:
            num_groups: optional, an int or, of several stages, a tuple. None
                stands for the backbone's own.
            group_size: optional, likewise.

        Returns:
            list of pairs of ints.

        Raises:
            ValueError: for another number of stages.
        """
        cuts = [stage.patches for stage in self.stages]
        own = ([c.num_groups for c in cuts], [c.group_size for c in cuts])
        found = []
        for size, ours in zip((num_groups, group_size), own):
            size = ours if size is None else np.atleast_1d(size).tolist()
            if len(size) != len(ours):
                raise ValueError(
                    f"A backbone of {len(ours)} stages has as many numbers "
                    "and sizes of patches; None stands for its own. "
                    f"Received: {size if len(size) > 1 else size[0]!r}"
                )
            found.append(size)
        return list(zip(*found))

    def cut(self, points, sizes=None):
        """The patches of all stages: list of dicts, see `PointPatches`.

        Args:
            points: `(batch, points, 3)`.
            sizes: optional, what `sizes` returns, for other patches than
                those of the backbone.
        """
        layout, centers = [], points
        for i, stage in enumerate(self.stages):
            cut = stage.patches
            if sizes is not None:
                name = f"frozen_{cut.name}"
                cut = PointPatches(*sizes[i], cut.skip_origin, name=name)
            patches = cut(centers)
            if stage.order is not None:
                patches = stage.order(patches)
            centers = patches["centers"]
            layout.append(patches)
        return layout


def walk(trunk, layout, tuning=None):
    """Tokens of patches, `(batch, groups, dim)`, through all blocks.

    Without a method this is the frozen pass: no class tokens, no prompts, no
    tuners; dropout, stochastic depth and batch statistics are off.

    Args:
        trunk: `Trunk`.
        layout: list of dicts, the patches of all stages; see `Trunk.cut`. The
            first may have its `"tokens"` already.
        tuning: optional `keras_pointpeft.models.assembly.Assembly`, which
            leads tokens through a stage as its method has it.

    Returns:
        The last stage's tokens, before the final norm.
    """
    tokens, below, count = None, None, 0
    mode = {"training": False} if tuning is None else {}
    for stage, patches in zip(trunk.stages, layout):
        centers = patches["centers"]
        if tokens is not None:
            # Without the prompts of the stage before, which stand in front.
            below = tokens[:, -count:]
        count = centers.shape[1]
        if "tokens" in patches:
            tokens = patches["tokens"]
        else:
            tokens = stage.encode(patches, below, **mode)
        positions = stage.position(centers)
        mask = None if stage.near is None else stage.near(centers)
        if tuning is not None:
            tokens = tuning.through(
                stage, patches, below, tokens, positions, mask
            )
            continue
        for block in stage.blocks:
            tokens = block.untuned(tokens + positions, mask)
    return tokens


class View:
    """What a backbone makes of some of its patches, under its method.

    For backbones of one stage (of several, a patch is made of those below),
    and methods that act inside the blocks alone and ask nothing of places.

    Args:
        trunk: `Trunk`.
    """

    def __init__(self, trunk):
        self.trunk = trunk

    @property
    def variables(self):
        """What is read, the method's own included."""
        (stage,) = self.trunk.stages
        layers = [self.trunk.norm, *stage.front, *stage.blocks]
        return [v for layer in layers for v in layer.variables]

    def __call__(self, tokens, positions, training=False):
        """The final tokens.

        Args:
            tokens: `(batch, patches, dim)`, of some of the patches, in their
                order.
            positions: likewise, their position embeddings.
            training: bool.

        Returns:
            `(batch, class tokens + patches, dim)`, behind the final norm.
        """
        (stage,) = self.trunk.stages
        for layer in stage.front:
            tokens, positions = layer(tokens, positions)
        for block in stage.blocks:
            tokens = block(tokens + positions, training=training)
        return self.trunk.norm(tokens)


def normalized(norm, tuner, tokens):
    """Tokens behind the final norm, and what a method does about it.

    Args:
        norm: the backbone's final norm.
        tuner: what the method's `norm_tuner` returned, or None.
        tokens: `(batch, tokens, dim)`.
    """
    normed = norm(tokens)
    if tuner is None:
        return normed
    both = getattr(tuner, "reads_tokens", False)
    return tuner(normed, tokens) if both else tuner(normed)


@serializable
class FrozenPass(Piece, keras.layers.Layer):
    """The walk without a method as a node of a graph, without gradient.

    Args:
        trunk: a `Trunk`. Its blocks may come later.

    Input shape:
        what `walk` calls the layout.

    Output shape:
        `(batch, dim)`, see `Trunk`.
    """

    def __init__(self, trunk, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.trunk = trunk

    @property
    def reads(self):
        """The variables that what it returns depends on."""
        return self.trunk.variables

    def get_config(self):
        if vars(self).get("_piece_of") is None:
            raise ValueError(
                "A model of a backbone's frozen pass holds no weights by "
                "itself: save the backbone, and call its `frozen_pass()` "
                f"after loading. Received: {self.name!r}"
            )
        return super().get_config()

    def build(self, layout_shape):
        self.built = True

    def call(self, layout):
        tokens = self.trunk.norm(walk(self.trunk, layout))
        feature = ops.max(tokens, axis=1)
        if self.trunk.adds_mean:
            feature = ops.mean(tokens, axis=1) + feature
        return ops.stop_gradient(ops.cast(feature, "float32"))

    def compute_output_spec(self, layout):
        batch = layout[0]["centers"].shape[0]
        return keras.KerasTensor((batch, self.trunk.dim), "float32")


def frozen_pass(trunk, layout):
    """The feature of the frozen pass, in a functional graph.

    Args:
        trunk: `Trunk`.
        layout: list of dicts, see `walk`.
    """
    first, *others = layout
    names = ("tokens" if "tokens" in first else "neighborhoods", "centers")
    read = [{name: first[name] for name in names}]
    for patches in others:
        read.append({name: patches[name] for name in ("centers", "neighbors")})
    return FrozenPass(trunk, name="frozen_pass")(read)
