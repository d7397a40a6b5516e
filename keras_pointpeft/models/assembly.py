"""What all backbones share, with a method's parts in place."""

import keras
from keras import ops

from keras_pointpeft.layers import Linear
from keras_pointpeft.layers import PatchEncoder
from keras_pointpeft.layers import PointPatches
from keras_pointpeft.layers import SplitTokens
from keras_pointpeft.layers import TransformerBlock
from keras_pointpeft.layers.layer_normalization import LayerNormalization
from keras_pointpeft.models.backbone import as_method
from keras_pointpeft.models.backbone import drop_path_rates
from keras_pointpeft.models.trunk import FrozenPass
from keras_pointpeft.models.trunk import FrozenTrunk
from keras_pointpeft.ops import gather
from keras_pointpeft.peft.method import PeftMethod


class Assembly:
    """Puts together the parts of a backbone's functional graph.

    A backbone says what it is made of; where a fine-tuning method adds its
    layers is decided here, once for all backbones.

    Args:
        dim: int. Width of the tokens.
        depth: int. Number of transformer blocks.
        num_class_tokens: int. Tokens in front of the patches.
        peft: optional `keras_pointpeft.peft.PeftMethod`, or its config.
        dtype: optional dtype or `keras.DTypePolicy`.
        stage: optional tuple of three ints, for a hierarchical backbone:
            which stage the parts belong to, of how many, and the number of
            its first block. The stage's number is then put behind the names
            of what every stage has.
    """

    def __init__(
        self,
        dim,
        depth,
        num_class_tokens=1,
        peft=None,
        dtype=None,
        stage=None,
    ):
        self.peft = as_method(peft)
        # The base class adds nothing to a backbone; it says so once here.
        self.method = PeftMethod() if self.peft is None else self.peft
        self.policy = keras.dtype_policies.get(dtype)
        self.dim = dim
        self.depth = depth
        self.num_class_tokens = num_class_tokens
        self.suffix = ""
        if stage is not None:
            self.method = self.method.for_stage(*stage)
            self.suffix = f"_{stage[0]}"
        self.trunk = FrozenTrunk()
        self.shared = None
        self.more = []
        self.summary = None

    def cloud(self, points, cut):
        """The cloud as the method changes it: a dict with `"points"`.

        Args:
            points: `(batch, points, 3)`.
            cut: the `keras_pointpeft.layers.PointPatches` of the backbone.
        """
        tuner = self.method.cloud_tuner(
            cut.num_groups,
            cut.group_size,
            cut.skip_origin,
            dtype=self.policy,
            name="tuner_cloud",
        )
        return {"points": points} if tuner is None else tuner(points)

    def embed(self, position, centers):
        """Position embeddings, `(batch, groups, dim)`, of centres.

        Args:
            position: the layer that makes them.
            centers: `(batch, groups, 3)`.
        """
        self.trunk.position = position
        return position(centers)

    def encode(self, neighborhoods, encoder_dims, token_dim=None, joined=False):
        """Patch tokens `(batch, groups, dim)` of patches of points.

        Args:
            neighborhoods: `(batch, groups, points, channels)`.
            encoder_dims: tuple of ints, see
                `keras_pointpeft.layers.PatchEncoder`.
            token_dim: optional int. Width of the patch encoder's output;
                another one than `dim` adds a linear layer `projection`.
            joined: bool. See `keras_pointpeft.layers.PatchEncoder`.
        """
        token_dim = self.dim if token_dim is None else token_dim
        name = f"patch_encoder{self.suffix}"
        # Without a method everything trains.
        frozen = self.peft is not None
        encoder = PatchEncoder(
            token_dim,
            encoder_dims,
            frozen_statistics=frozen and self.method.frozen_bn == "inference",
            joined=joined,
            dtype=self.policy,
            name=name,
        )
        self.trunk.encoder.append(encoder)
        tokens = encoder(neighborhoods)
        if token_dim != self.dim:
            projection = Linear(self.dim, dtype=self.policy, name="projection")
            self.trunk.encoder.append(projection)
            tokens = projection(tokens)
        tuner = self.method.patch_tuner(
            self.dim, dtype=self.policy, name=f"tuner_patches{self.suffix}"
        )
        return tokens if tuner is None else tuner(tokens)

    def geometry(self, cloud, tokens, positions, patches, cut):
        """What a method's tuners know of a cloud: a dict of tensors.

        Args:
            cloud: dict, see `cloud`.
            tokens: `(batch, groups, dim)`, of the patches.
            positions: `(batch, groups, dim)`, their position embeddings.
            patches: dict of `"centers"` `(batch, groups, 3)`.
            cut: the `keras_pointpeft.layers.PointPatches` that made them.
        """
        points = cloud["points"]
        geometry = self.surroundings(cloud, patches["centers"], cut)
        prior = self.prior()
        if prior is None:
            return geometry
        groups = prior.num_groups or cut.num_groups
        size = prior.group_size or cut.group_size
        # Centres are chosen one after the other: fewer patches are the first
        # of more, and have the same tokens unless batch statistics act.
        first = groups <= cut.num_groups and self.trunk.order is None
        if (
            (first or groups == cut.num_groups)
            and size == cut.group_size
            and self.trunk.encoder[0].frozen_statistics
        ):
            frozen = FrozenPass(
                self.trunk, self.dim, groups, name="frozen_pass"
            )
            return geometry | prior(frozen(tokens, positions))
        frozen = FrozenPass(self.trunk, self.dim, name="frozen_pass")
        patches = PointPatches(
            groups, size, cut.skip_origin, name="frozen_patches"
        )(points)
        patches = self.trunk.arranged(patches)
        feature = frozen(patches["neighborhoods"], patches["centers"])
        return geometry | prior(feature)

    def surroundings(
        self, cloud, centers, cut, neighborhoods=(None, None), values=None
    ):
        """The part of `geometry` that is about places alone.

        Args:
            cloud: dict, see `cloud`.
            centers: `(batch, groups, 3)`, of the patches.
            cut: the `keras_pointpeft.layers.PointPatches` that made them.
            neighborhoods: see `keras_pointpeft.peft.PeftMethod`.
            values: optional `(batch, points, channels)`. What patches are
                made of, if not of the points.
        """
        points = cloud["points"]
        known = {name: x for name, x in cloud.items() if name != "points"}
        self._cut_more(points, cut, values)
        self.shared = self.method.geometry_tuner(
            self.dim,
            cut.num_groups,
            cut.group_size,
            cut.skip_origin,
            neighborhoods,
            dtype=self.policy,
            name=f"tuner_geometry{self.suffix}",
        )
        if self.shared is None:
            return {"centers": centers}
        found = {"centers": centers, **self.shared(points, centers, **known)}
        self.summary = found.get("summary")
        if "coordinates" in found:
            embedded = self.trunk.position(found["coordinates"])
            found["coordinate_positions"] = embedded
        return found

    def _cut_more(self, points, cut, values):
        """Tokens and positions of the method's further patches."""
        sizes = self.method.more_patches(cut.num_groups, cut.group_size)
        for i, (groups, size) in enumerate(sizes):
            patches = PointPatches(
                groups,
                size,
                cut.skip_origin,
                name=f"more_patches{self.suffix}_{i}",
            )(points)
            tokens = patches["neighborhoods"]
            if values is not None:
                tokens = gather(values, patches["neighbors"])
            for layer in self.trunk.encoder:
                tokens = layer(tokens)
            positions = self.trunk.position(patches["centers"])
            self.more.append((tokens, positions))

    def prior(self):
        """The method's layer on the feature of the frozen pass, or None."""
        return self.method.prior_tuner(
            self.dim, dtype=self.policy, name="tuner_prior"
        )

    def transform(
        self,
        tokens,
        positions,
        geometry,
        drop_path_rate=0.0,
        make=None,
        attention_mask=None,
        blocks=None,
        **block,
    ):
        """The tokens after all blocks.

        Args:
            tokens: `(batch, tokens, dim)`, class tokens first.
            positions: `(batch, tokens, dim)`, their position embeddings.
            geometry: dict of tensors that a method's tuners may read.
            drop_path_rate: float. Stochastic depth of the last block.
            make: optional function that returns a dict of further arguments,
                called for each block; for arguments that are layers.
            attention_mask: optional boolean `(batch, tokens, tokens)`, true
                where attention is allowed.
            blocks: optional range, which of the `depth` blocks. All of them
                by default.
            **block: further arguments of
                `keras_pointpeft.layers.TransformerBlock`.
        """
        if "prior" not in geometry and self.prior() is not None:
            raise ValueError(
                "This backbone has no feature to look up in a bank. "
                f"Received: peft={type(self.peft).__name__} with `prior`"
            )
        rates = drop_path_rates(drop_path_rate, self.depth)
        blocks = range(self.depth) if blocks is None else blocks
        insert = self.method.sequence_tuner(
            self.dim,
            self.num_class_tokens,
            blocks,
            dtype=self.policy,
            name=f"tuner_sequence{self.suffix}",
        )
        passing, place = self.method.passing_tuners(
            self.dim, blocks, dtype=self.policy
        )
        shared = {}
        part = insert if self.shared is None else self.shared
        for i in blocks:
            if part is not None:
                shared = {"shared": part, "drop_path_rate": rates[i]}
            if insert is not None and i == insert.before_block:
                tokens, positions = insert(tokens, positions, self.more)
            here = positions
            if i in passing:
                tokens, here = self._joined(passing[i], place, tokens, here)
            first = i == blocks.start
            tokens = self._positioned(first, tokens, here)
            tuner = self.method.block_tuner(
                i,
                self.depth,
                self.dim,
                num_class_tokens=self.num_class_tokens,
                mlp_ratio=4.0,
                dtype=self.policy,
                name="tuner",
                **shared,
            )
            layer = TransformerBlock(
                self.dim,
                drop_path_rate=rates[i],
                tuner=tuner,
                dtype=self.policy,
                name=f"block_{i}",
                **(block if make is None else {**block, **make()}),
            )
            self.trunk.blocks.append(layer)
            tokens = layer(tokens, geometry, attention_mask)
            if i in passing:
                tokens = self._left(tokens, positions)
        return tokens

    def _joined(self, make, place, tokens, positions):
        """Tokens and positions with the prompts of one block."""
        first = self.num_class_tokens
        prompts = make(tokens[:, first:], positions[:, first:])
        joined = []
        for x, new in ((tokens, prompts), (positions, place(prompts))):
            parts = [new, x[:, first:]]
            if first:
                parts.insert(0, x[:, :first])
            joined.append(ops.concatenate(parts, axis=1))
        return joined

    def _left(self, tokens, positions):
        """Tokens without the prompts of one block."""
        first, count = self.num_class_tokens, positions.shape[1]
        rest = tokens[:, first - count :]
        if not first:
            return rest
        return ops.concatenate((tokens[:, :first], rest), axis=1)

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
            last = tokens[:, start:] + positions
            return ops.concatenate((tokens[:, :start], last), axis=1)
        # Prompts, which have no position, stand behind the class tokens.
        start = start + first
        parts = [
            tokens[:, first:start],
            tokens[:, start:] + positions[:, first:],
        ]
        if first:
            parts.insert(0, tokens[:, :first] + positions[:, :first])
        return ops.concatenate(parts, axis=1)

    def norm(self, tokens):
        """The final norm, and what the method does after it."""
        self.trunk.norm = LayerNormalization(dtype=self.policy, name="norm")
        tuner = self.method.norm_tuner(
            self.dim, dtype=self.policy, name="tuner_norm"
        )
        return self.method.final_norm(self.trunk.norm, tokens, tuner)

    def outputs(self, tokens, patches, num_left_out=0):
        """The dict of outputs that every backbone has.

        Args:
            tokens: `(batch, tokens, dim)`, after the final norm.
            patches: dict of `"centers"` `(batch, groups, 3)` and
                `"neighborhoods"` `(batch, groups, points, 3)`.
            num_left_out: int. How many of the tokens in front are not class
                tokens after all.
        """
        groups = patches["centers"].shape[1]
        outputs = SplitTokens(
            self.num_class_tokens,
            groups,
            num_left_out,
            dtype=self.policy,
            name="split",
        )(tokens)
        side = self.method.side_tuner(
            self.dim, dtype=self.policy, name="tuner_side"
        )
        if side is not None:
            outputs["patch_tokens"] = side(
                outputs["patch_tokens"], patches["neighborhoods"]
            )
        if self.summary is not None:
            outputs["prompt_tokens"] = self.summary
        outputs["centers"] = patches["centers"]
        return outputs
