"""What all backbones share, with a method's parts in place."""

import dataclasses

import keras
from keras import ops

from keras_pointpeft.layers import Linear
from keras_pointpeft.layers import PatchChannels
from keras_pointpeft.layers import PatchEncoder
from keras_pointpeft.layers import PointPatches
from keras_pointpeft.layers import SplitTokens
from keras_pointpeft.layers import TransformerBlock
from keras_pointpeft.layers.basic import LayerNormalization
from keras_pointpeft.models.backbone import as_method
from keras_pointpeft.models.backbone import drop_path_rates
from keras_pointpeft.models.trunk import Trunk
from keras_pointpeft.models.trunk import View
from keras_pointpeft.models.trunk import frozen_pass
from keras_pointpeft.models.trunk import normalized
from keras_pointpeft.models.trunk import walk
from keras_pointpeft.ops.arithmetic import split_at
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import Where
from keras_pointpeft.peft.parts import insert_behind
from keras_pointpeft.peft.parts import remove_behind
from keras_pointpeft.serialization import whole_number


def cloud_inputs(extra_channels=0):
    """A backbone's input, and what of it is place and what stands beside.

    Args:
        extra_channels: int.

    Returns:
        `(points, places, channels)`: symbolic tensors `(batch, points, 3 +
        extra_channels)`, `(batch, points, 3)` and `(batch, points,
        extra_channels)`, None without such.
    """
    extra_channels = whole_number("extra_channels", extra_channels)
    points = keras.Input((None, 3 + extra_channels), name="points")
    if not extra_channels:
        return points, points, None
    return points, points[..., :3], points[..., 3:]


class Assembly:
    """Puts a backbone's functional graph together.

    A backbone says what it is made of; where a fine-tuning method adds its
    layers is decided here, once for all backbones.

    Args:
        stages: list of `keras_pointpeft.models.trunk.Stage`.
        num_class_tokens: int. Tokens in front of the patches.
        peft: optional `keras_pointpeft.peft.PeftMethod`, or its config.
        dtype: optional dtype or `keras.DTypePolicy`.
        drop_path_rate: float. Stochastic depth of the last block.
        mlp_ratio: float. Width of the blocks' MLPs over `dim`.
        make: optional function that returns a dict of further arguments,
            called for each block; for arguments that are layers.
        adds_mean: bool. See `keras_pointpeft.models.trunk.Trunk`.
        generates: bool. Whether a generation branch stands behind the blocks.
        **block: further arguments of
            `keras_pointpeft.layers.TransformerBlock`.

    Example:
    ```python
    points = keras.Input((None, 3))
    stage = Stage(PointPatches(16, 8), PositionMLP(24), 24, 2, (8, 12, 16))
    parts = Assembly([stage], num_class_tokens=0, num_heads=3)
    outputs = parts.outputs(parts.normalized(parts.tokens(points)))
    ```
    """

    def __init__(
        self,
        stages,
        num_class_tokens=1,
        peft=None,
        dtype=None,
        drop_path_rate=0.0,
        mlp_ratio=4.0,
        make=dict,
        adds_mean=False,
        generates=False,
        **block,
    ):
        self.peft = as_method(peft)
        # Without a method it is the base class that is asked: it adds nothing.
        self.method = PeftMethod() if self.peft is None else self.peft
        self.policy = keras.dtype_policies.get(dtype)
        self.num_class_tokens = num_class_tokens
        self.make = make
        self.block = {"mlp_ratio": mlp_ratio, **block}
        norm = LayerNormalization(dtype=self.policy, name="norm")
        self.trunk = Trunk(stages, norm, adds_mean)
        depth = sum(stage.depth for stage in stages)
        self.rates = drop_path_rates(drop_path_rate, depth)
        self.wheres, start = [], 0
        for number, stage in enumerate(stages):
            self.wheres.append(
                Where(
                    dim=stage.dim,
                    dtype=self.policy,
                    depth=depth,
                    blocks=range(start, start + stage.depth),
                    num_class_tokens=num_class_tokens,
                    mlp_ratio=mlp_ratio,
                    num_groups=stage.patches.num_groups,
                    group_size=stage.patches.group_size,
                    skip_origin=stage.patches.skip_origin,
                    next_patches=stage.next_patches,
                    stage=number,
                    num_stages=len(stages),
                    generates=generates,
                )
            )
            start += stage.depth

    def tokens(self, points, channels=None):
        """The tokens after all blocks, `(batch, tokens, dim)`.

        Args:
            points: symbolic tensor `(batch, points, 3)`.
            channels: optional `(batch, points, channels)`, what the points
                have beside their place. The frozen pass sees none of it.

        Raises:
            ValueError: channels with a method that changes the points.
        """
        for stage, where in zip(self.trunk.stages, self.wheres):
            self._make_encoder(stage, where)
        tuner = self._made(self.method.cloud_tuner, self.wheres[0], "cloud")
        self.cloud = {"points": points} if tuner is None else tuner(points)
        self.points = self.cloud["points"]
        self.layout = self.trunk.cut(self.points)
        if channels is not None:
            if tuner is not None:
                raise ValueError(
                    "Points with further channels cannot be given to a method "
                    f"that changes the points. Received: peft={self.peft!r}"
                )
            first = self.trunk.stages[0].encoder_dims[0]
            layer = PatchChannels(
                first, dtype=self.policy, name="tuner_channels"
            )
            patches, *others = self.layout
            beside = layer(channels, patches["neighbors"])
            self.layout = [{**patches, "beside": beside}, *others]
        return walk(self.trunk, self.layout, self)

    @property
    def patches(self):
        """The last stage's patches, a dict; see `PointPatches`."""
        return self.layout[-1]

    def _made(self, make, where, name):
        """What a method's function makes for a place, or None."""
        suffix = ""
        if name in ("patches", "geometry", "sequence"):
            suffix = self.trunk.stages[where.stage].suffix
        name = f"tuner_{name}{suffix}"
        return make(dataclasses.replace(where, name=name))

    def _make_encoder(self, stage, where):
        token_dim = stage.token_dim or stage.dim
        encoder = PatchEncoder(
            token_dim,
            stage.encoder_dims,
            # Without a method everything trains.
            frozen_statistics=self.peft is not None
            and self.method.frozen_bn == "inference",
            joined=stage.joined,
            dtype=self.policy,
            name=f"patch_encoder{stage.suffix}",
        )
        stage.encoder.append(encoder)
        if token_dim != stage.dim:
            stage.encoder.append(
                Linear(stage.dim, dtype=self.policy, name="projection")
            )

    def through(self, stage, patches, below, tokens, positions, mask):
        """Leads tokens through the blocks of a stage, with the method's own.

        Args:
            stage: `keras_pointpeft.models.trunk.Stage`.
            patches: dict, the stage's patches.
            below: None, or the tokens that the patches are made of.
            tokens: `(batch, groups, dim)`, of the patches.
            positions: `(batch, groups, dim)`, their position embeddings.
            mask: optional boolean `(batch, groups, groups)`, true where
                attention is allowed.

        Returns:
            `(batch, tokens, dim)`: class tokens, prompts, patches.
        """
        where = self.wheres[self.trunk.stages.index(stage)]
        if where.stage == 0:
            self.encoded, self.positions = tokens, positions
        tuner = self._made(self.method.patch_tuner, where, "patches")
        if tuner is not None:
            tokens = tuner(tokens)
        more = self._cut_more(stage, where, below)
        shared, geometry = self._geometry(stage, where, patches)
        if where.is_last_stage:
            geometry |= self._prior(where)
        self.geometry, self.after = geometry, {}
        for layer in stage.front:
            tokens, positions = layer(tokens, positions)
        insert = self._made(self.method.sequence_tuner, where, "sequence")
        shared = insert if shared is None else shared
        where = dataclasses.replace(where, shared=shared)
        passing, place = self.method.passing_tuners(where)
        for i in where.blocks:
            if insert is not None and i == insert.before_block:
                tokens, positions = insert(tokens, positions, more)
            here = positions
            if i in passing:
                tokens, here = self._joined(passing[i], place, tokens, here)
            placed = self._positioned(i == where.blocks.start, tokens, here)
            known = {**geometry, "positioned": placed, "positions": here}
            geometry = geometry | self._read(where, i, tokens, known)
            tokens = placed
            block = self._block(where, i)
            stage.blocks.append(block)
            tokens = block(tokens, _told(block.tuner, geometry), mask)
            if i in passing:
                tokens = self._left(tokens, positions)
            self.after[i] = tokens
        return tokens

    def generator_tuners(self, depth):
        """What the method does in the blocks of a generation branch.

        Args:
            depth: int. How many blocks it has.

        Returns:
            A list of a `keras_pointpeft.peft.BlockTuner` or None for each
            block, and a dict of the tensors that these need to know.
        """
        where = dataclasses.replace(
            self.wheres[-1], name="tuner", depth=depth, blocks=range(depth)
        )
        tuners, told = [], {}
        for i in where.blocks:
            where = dataclasses.replace(where, index=i, drop_path_rate=0.0)
            tuners.append(self.method.generator_tuner(where))
            told |= _told(tuners[-1], self.geometry)
        return tuners, told

    def _read(self, where, index, tokens, known):
        """What the method makes of the tokens as they come to a block."""
        name = f"tuner_tokens_{index}"
        where = dataclasses.replace(where, index=index, name=name)
        layer = self.method.token_tuner(where)
        if layer is None:
            return {}
        return layer(tokens, _told(layer, known))

    def _block(self, where, index):
        rate = self.rates[index]
        where = dataclasses.replace(where, index=index, drop_path_rate=rate)
        return TransformerBlock(
            where.dim,
            drop_path_rate=rate,
            tuner=self.method.block_tuner(where),
            dtype=self.policy,
            name=f"block_{index}",
            **self.block,
            **self.make(),
        )

    def _cut_more(self, stage, where, below):
        """Tokens and positions of the method's further patches."""
        found = []
        for i, size in enumerate(self.method.more_patches(where)):
            name = f"more_{stage.patches.name}_{i}"
            cut = PointPatches(*size, where.skip_origin, name=name)
            patches = cut(self.cloud["points"])
            positions = stage.position(patches["centers"])
            found.append((stage.encode(patches, below), positions))
        return found

    def _geometry(self, stage, where, patches):
        """The method's layer on places, and what is known of a cloud."""
        centers = patches["centers"]
        known = {"centers": centers}
        layer = self._made(self.method.geometry_tuner, where, "geometry")
        if layer is not None:
            points, rest = self.cloud["points"], dict(self.cloud)
            del rest["points"]
            known |= layer(points, centers, **rest)
        if "coordinates" in known:
            embedded = stage.position(known["coordinates"])
            known["coordinate_positions"] = embedded
        self.summary = known.get("summary")
        points = known.get("prompted_centers", centers)
        self.cloud = {**self.cloud, "points": points}
        return layer, known

    def _prior(self, where):
        """What the method makes of the feature of the frozen pass."""
        tuner = self._made(self.method.prior_tuner, where, "prior")
        if tuner is None:
            return {}
        trunk, first = self.trunk, self.trunk.stages[0]
        sizes = trunk.sizes(tuner.num_groups, tuner.group_size)
        own = trunk.sizes()
        (groups, size), *_ = sizes
        # Centres are chosen one after the other: fewer patches are the first
        # of more.
        fewer = (
            len(own) == 1
            and first.order is None
            and groups <= own[0][0]
            and size == own[0][1]
        )
        if not (fewer or sizes == own):
            return tuner(frozen_pass(trunk, trunk.cut(self.points, sizes)))
        patches, *others = self.layout
        # They have the same tokens, unless batch statistics act.
        if first.encoder[0].frozen_statistics and "beside" not in patches:
            patches = {**patches, "tokens": self.encoded}
        if sizes != own:
            patches = {name: x[:, :groups] for name, x in patches.items()}
        return tuner(frozen_pass(trunk, [patches, *others]))

    def _joined(self, make, place, tokens, positions):
        """Tokens and positions with the prompts of one block."""
        first = self.num_class_tokens
        prompts = make(tokens[:, first:], positions[:, first:])
        return (
            insert_behind(tokens, prompts, first),
            insert_behind(positions, place(prompts), first),
        )

    def _left(self, tokens, positions):
        """Tokens without the prompts of one block."""
        first, count = self.num_class_tokens, positions.shape[1]
        return remove_behind(tokens, tokens.shape[1] - count, first)

    def _positioned(self, first_block, tokens, positions):
        """Tokens with the position embeddings that a block gets."""
        mode = self.method.position
        if not first_block and mode == "once":
            return tokens
        total, known = tokens.shape[1], positions.shape[1]
        if total == known:
            return tokens + positions
        first = self.num_class_tokens
        start = total - known
        if mode == "last":
            front, last = split_at(tokens, start)
            return ops.concatenate((front, last + positions), axis=1)
        # Prompts, which have no position, stand behind the class tokens.
        start = start + first
        if not first:
            prompts, patches = split_at(tokens, start)
            return ops.concatenate((prompts, patches + positions), axis=1)
        classes, prompts, patches = split_at(tokens, first, start)
        front, rest = split_at(positions, first)
        parts = (classes + front, prompts, patches + rest)
        return ops.concatenate(parts, axis=1)

    def normalized(self, tokens):
        """Tokens behind the final norm, and what the method does about it."""
        where = dataclasses.replace(self.wheres[-1], view=View(self.trunk))
        tuner = self._made(self.method.norm_tuner, where, "norm")
        tokens = normalized(self.trunk.norm, tuner, tokens)
        compare = self._made(self.method.view_tuner, where, "view")
        if compare is None:
            return tokens
        return compare(tokens, self.encoded, self.positions)

    def outputs(self, tokens, num_left_out=0):
        """The dict of outputs that every backbone has.

        Args:
            tokens: `(batch, tokens, dim)`, behind the final norm.
            num_left_out: int. How many of the tokens in front are not class
                tokens after all.
        """
        patches, where = self.patches, self.wheres[-1]
        outputs = SplitTokens(
            self.num_class_tokens,
            patches["centers"].shape[1],
            num_left_out,
            dtype=self.policy,
            name="split",
        )(tokens)
        fusion = self._made(self.method.fusion_tuner, where, "fusion")
        if fusion is not None:
            count = patches["centers"].shape[1]
            found = [self.after[i][:, -count:] for i in fusion.reads_blocks]
            tokens = fusion(outputs["patch_tokens"], found)
            outputs["patch_tokens"] = tokens
        side = self._made(self.method.side_tuner, where, "side")
        if side is not None:
            outputs["patch_tokens"] = side(
                outputs["patch_tokens"], patches["neighborhoods"]
            )
        if self.summary is not None:
            outputs["prompt_tokens"] = self.summary
        outputs["centers"] = patches["centers"]
        return outputs


def _told(tuner, geometry):
    """What a tuner needs to know of a cloud, and nothing else."""
    needs = () if tuner is None else tuner.needs
    if missing := sorted(set(needs) - set(geometry)):
        raise ValueError(
            f"{type(tuner).__name__} needs to know {missing} of a cloud, which "
            "neither the backbone nor a layer of the method's "
            "`geometry_tuner`, `prior_tuner`, `cloud_tuner` or `token_tuner` "
            "gives. "
            f"Received: {sorted(geometry)}"
        )
    return {name: geometry[name] for name in needs}
