"""What GAPrompt does inside the blocks of a backbone."""

import keras
from keras import ops

from keras_pointpeft.layers.basic import Dropout
from keras_pointpeft.layers.basic import LayerNormalization
from keras_pointpeft.layers.tuner import BlockTuner
from keras_pointpeft.ops.arithmetic import split_at
from keras_pointpeft.peft.neighborhoods import GeometryAwareAdapter
from keras_pointpeft.peft.neighborhoods import PatchNeighborhoods
from keras_pointpeft.peft.parts import BottleneckAdapter
from keras_pointpeft.peft.parts import insert_behind
from keras_pointpeft.peft.parts import remove_behind
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class GAPromptTuner(Configurable, BlockTuner):
    """GAPrompt inside one block.

    Prompts in; patches exchange features with their neighbours and prompts,
    before or after the block; prompts out; an adapter on all but the class
    tokens.
    """

    needs = (*PatchNeighborhoods.gives, "summary")

    def __init__(
        self,
        num_class_tokens,
        num_prompts,
        prompt_dropout,
        adapter_rank,
        adapter_dropout,
        adapter_scale,
        shape_scale,
        center_scale,
        propagation_scale,
        propagation,
        before_attention,
        reference,
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        if num_prompts:
            self.needs = (*self.needs, "coordinate_positions")
        self.num_class_tokens = num_class_tokens
        self.num_prompts = num_prompts
        self.prompt_dropout = prompt_dropout
        self.adapter_rank = adapter_rank
        self.adapter_dropout = adapter_dropout
        self.adapter_scale = adapter_scale
        self.shape_scale = shape_scale
        self.center_scale = center_scale
        self.propagation_scale = propagation_scale
        self.propagation = propagation
        self.before_attention = before_attention
        self.reference = reference
        self.exchange = GeometryAwareAdapter(
            center_scale,
            propagation_scale,
            drop_path_rate=self.drop_path_rate,
            dtype=policy,
            name="geometry",
        )
        self.norm = LayerNormalization(dtype=policy, name="norm")
        self.adapter = BottleneckAdapter(
            adapter_rank, adapter_dropout, dtype=policy, name="adapter"
        )
        self.drop = Dropout(prompt_dropout, dtype=policy, name="drop")

    def build(self, tokens_shape):
        for layer in (self.exchange, self.norm, self.adapter):
            layer.build(tokens_shape)
        if self.num_prompts:
            self.embeddings = self.add_weight(
                shape=(self.num_prompts, tokens_shape[-1]),
                initializer=keras.initializers.RandomNormal(stddev=0.02),
                name="embeddings",
            )

    def enter(self, tokens, geometry, training):
        if self.num_prompts:
            places = ops.cast(geometry["coordinate_positions"], tokens.dtype)
            shape = (ops.shape(tokens)[0], *self.embeddings.shape)
            prompts = ops.cast(self.embeddings, tokens.dtype)
            prompts = ops.broadcast_to(prompts, shape)
            prompts = self.drop(prompts, training=training)
            prompts = prompts + self._shape(geometry, tokens) + places
            tokens = insert_behind(tokens, prompts, self.num_class_tokens)
        if self.before_attention:
            tokens = self._exchange(tokens, geometry, training)
        return tokens

    def leave(self, tokens, side, geometry, training):
        if not self.before_attention:
            tokens = self._exchange(tokens, geometry, training)
        first = self.num_class_tokens
        tokens = remove_behind(tokens, self.num_prompts, first)
        front, x = split_at(tokens, first)
        told = x + self._shape(geometry, x) if self.num_prompts else x
        adapted = self.adapter(self.norm(told), training=training)
        x = x + self.adapter_scale * self.passes("adapter", adapted)
        if not first:
            return x
        return ops.concatenate((front, x), axis=1)

    def _shape(self, geometry, tokens):
        return self.shape_scale * ops.cast(geometry["summary"], tokens.dtype)

    def _exchange(self, tokens, geometry, training):
        start = self.num_class_tokens + self.num_prompts
        front, patches = split_at(tokens, start)
        patches = self.exchange(
            patches,
            geometry["neighbors"],
            geometry["chosen"],
            geometry["propagation"],
            rows=self._rows(tokens, start),
            # No attention inside a neighbourhood: each token stays as it is.
            attention=_tokens_at,
            # The published code counts rows as if there were no prompts.
            stride=patches.shape[1] if self.reference else None,
            training=training,
        )
        if not start:
            return patches
        return ops.concatenate((front, patches), axis=1)

    def _rows(self, tokens, start):
        """What the indices of patches are looked up in."""
        first = self.num_class_tokens
        if not self.num_prompts or self.propagation == "permutation":
            return tokens[:, first:]
        kept = tokens.shape[1] - self.num_prompts
        parts = (tokens[:, start:kept], tokens[:, first:start])
        # More prompts than patches take the places of all of them.
        parts = ops.concatenate(parts, axis=1) if kept > start else parts[1]
        return parts[:, : tokens.shape[1] - start]


def _tokens_at(tokens, index):
    found = ops.take(tokens, ops.reshape(index, (-1,)), axis=0)
    return ops.reshape(found, (-1, index.shape[1], tokens.shape[-1]))
