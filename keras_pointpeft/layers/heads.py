"""A sequence's class token and parts, and the head that reads them."""

import keras
from keras import ops

from keras_pointpeft.layers.basic import BatchNorm
from keras_pointpeft.layers.basic import Dropout
from keras_pointpeft.layers.basic import LayerNormalization
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.layers.basic import part_call
from keras_pointpeft.ops.arithmetic import gelu
from keras_pointpeft.ops.arithmetic import largest
from keras_pointpeft.ops.arithmetic import split_at
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable

POOLINGS = {
    # Of one token, whose gradient then need not be filled up with zeros.
    "first": lambda x: ops.squeeze(x, 1) if x.shape[1] == 1 else x[:, 0],
    "all": lambda x: ops.reshape(x, (-1, x.shape[1] * x.shape[2])),
    "mean": lambda x: ops.mean(x, axis=1),
    "max": lambda x: largest(x, 1),
    "mean+max": lambda x: ops.mean(x, axis=1) + largest(x, 1),
    "max_but_first": lambda x: largest(x[:, 1:], 1),
}

# By what `use_norm` says.
NORMS = {True: BatchNorm, "layer": LayerNormalization}

ACTIVATIONS = {
    "relu": ops.relu,
    "gelu": gelu,
}


@serializable
class ClassTokens(Configurable, keras.layers.Layer):
    """Puts a learned class token, and its position, before the patches.

    Args:
        dim: int. Width of the tokens.
        index: int. How many tokens stay in front of the class token. Its
            position goes to the very front nevertheless, which is how
            PointGPT swaps those of its first two tokens.

    Input shape:
        two tensors `(batch, groups, dim)`: patch tokens and their positions.

    Output shape:
        two tensors `(batch, 1 + groups, dim)`.

    Example:
    ```python
    add = keras_pointpeft.layers.ClassTokens(dim=96)
    tokens, positions = np.random.rand(2, 4, 32, 96)
    tokens, positions = add(tokens, positions)  # (4, 33, 96) each
    ```
    """

    removed = {"num_tokens": 1}

    def __init__(self, dim, index=0, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim
        self.index = index

    def build(self, tokens_shape, positions_shape=None):
        def weight(name):
            return self.add_weight(
                shape=(1, 1, self.dim),
                initializer=keras.initializers.RandomNormal(stddev=0.02),
                name=name,
            )

        self.token = weight("token")
        self.position = weight("position")

    def call(self, tokens, positions):
        def insert(weight, sequence, index=0):
            shape = (ops.shape(sequence)[0], 1, self.dim)
            weight = ops.cast(weight, sequence.dtype)
            parts = [ops.broadcast_to(weight, shape), sequence]
            if index:
                parts = [sequence[:, :index], parts[0], sequence[:, index:]]
            return ops.concatenate(parts, axis=1)

        tokens = insert(self.token, tokens, self.index)
        return tokens, insert(self.position, positions)

    def compute_output_shape(self, tokens_shape, positions_shape=None):
        batch, groups, dim = tokens_shape
        shape = (batch, 1 + groups, dim)
        return shape, shape


@serializable
class SplitTokens(Configurable, keras.layers.Layer):
    """Names the parts of a token sequence `[class | prompts | patches]`.

    Args:
        num_class_tokens: int. Tokens at the front.
        num_patches: int. Tokens at the end. What lies between are prompts.
        num_left_out: int. How many of the tokens at the front are not class
            tokens after all, and are left out.

    Input shape:
        `(batch, tokens, dim)`.

    Output shape:
        dict of `"class_tokens"`, `"prompt_tokens"` and `"patch_tokens"`, each
        `(batch, tokens, dim)`; a part without tokens is left out.

    Example:
    ```python
    split = keras_pointpeft.layers.SplitTokens(1, num_patches=32)
    parts = split(np.random.rand(4, 43, 96))
    prompts = parts["prompt_tokens"]  # (4, 10, 96)
    ```
    """

    def __init__(self, num_class_tokens, num_patches, num_left_out=0, **kwargs):
        super().__init__(**kwargs)
        self.num_left_out = num_left_out
        self.num_class_tokens = num_class_tokens
        self.num_patches = num_patches

    def build(self, input_shape):
        self.built = True

    def _bounds(self, total):
        first, last = self.num_class_tokens, total - self.num_patches
        parts = {
            "class_tokens": (self.num_left_out, first),
            "prompt_tokens": (first, last),
            "patch_tokens": (last, total),
        }
        return {name: (a, b) for name, (a, b) in parts.items() if b > a}

    def call(self, tokens):
        bounds = self._bounds(tokens.shape[1])
        places = [a for a, _ in bounds.values() if a > 0]
        parts = split_at(tokens, *places)
        return dict(zip(bounds, parts[-len(bounds) :], strict=True))

    def compute_output_shape(self, input_shape):
        batch, total, dim = input_shape
        bounds = self._bounds(total)
        return {name: (batch, b - a, dim) for name, (a, b) in bounds.items()}


@serializable
class TokenPooling(Configurable, keras.layers.Layer):
    """Makes one feature of a backbone's class, prompt and patch tokens.

    The parts are pooled one by one and set side by side.

    Args:
        class_token: `None` (leave out), `"first"`, `"all"` (side by side),
            `"mean"`, `"max"`, `"mean+max"` (their sum) or `"max_but_first"`,
            which leaves the first token out. Several of them, as
            `"mean,max"`, stand side by side. `"with_patches"` pools them
            together with the patch tokens.
        prompt_token: likewise, for the prompt tokens.
        patch_token: likewise, for the patch tokens, but for
            `"with_patches"`.
        order: tuple of these three names, the order of the parts.

    Input shape:
        dict of `"class_tokens"`, `"prompt_tokens"`, `"patch_tokens"`, each
        `(batch, tokens, dim)`.

    Output shape:
        `(batch, features)`.

    Raises:
        ValueError: if no part is read, a mode is unknown, prompts are to be
            pooled with patches that are not read, or the backbone has no such
            tokens.

    Example:
    ```python
    pool = keras_pointpeft.layers.TokenPooling("first", None, "max")
    tokens = {
        "class_tokens": np.random.rand(2, 1, 96),
        "patch_tokens": np.random.rand(2, 32, 96),
    }
    feature = pool(tokens)  # (2, 192)
    ```
    """

    def __init__(
        self,
        class_token="first",
        prompt_token=None,
        patch_token="max",
        order=("class_token", "prompt_token", "patch_token"),
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.class_token = class_token
        self.prompt_token = prompt_token
        self.patch_token = patch_token
        self.order = tuple(order)
        modes = self._modes()
        if not modes:
            raise ValueError(
                "At least one of `class_token`, `prompt_token` and "
                "`patch_token` must be used. Received: None for all three"
            )
        for name, mode in modes.items():
            if not set(str(mode).split(",")) <= set(POOLINGS):
                raise ValueError(
                    f"`{name[:-1]}` must be None or one of "
                    f"{sorted(POOLINGS)}, or several with commas between "
                    f"them. Received: {mode!r}"
                )
        if self._joining and patch_token is None:
            raise ValueError(
                "Other tokens can be pooled with the patches only if these "
                f"are read. Received: {self._joining[0][:-1]}='with_patches', "
                "patch_token=None"
            )

    @property
    def _joining(self):
        """Names of the tokens that are pooled with the patches."""
        names = ("class_token", "prompt_token")
        joining = [x for x in names if getattr(self, x) == "with_patches"]
        return [f"{name}s" for name in joining]

    def _modes(self):
        modes = {f"{name}s": getattr(self, name) for name in self.order}
        modes |= dict.fromkeys(self._joining)
        return {name: mode for name, mode in modes.items() if mode is not None}

    def build(self, features_shape):
        read = [*self._joining, *self._modes()]
        missing = [name for name in read if name not in features_shape]
        if missing:
            raise ValueError(
                f"The head reads {missing}, which this backbone does not have "
                f"under this method. Received: {sorted(features_shape)}"
            )

    def call(self, features):
        if self._joining:
            parts = [features[name] for name in self._joining]
            together = (*parts, features["patch_tokens"])
            together = ops.concatenate(together, axis=1)
            features = {**features, "patch_tokens": together}
        pooled = [
            POOLINGS[mode](features[name])
            for name, modes in self._modes().items()
            for mode in modes.split(",")
        ]
        return ops.concatenate(pooled, axis=-1)

    def compute_output_shape(self, features_shape):
        width = 0
        for name, modes in self._modes().items():
            batch, tokens, dim = features_shape[name]
            for mode in modes.split(","):
                width += tokens * dim if mode == "all" else dim
        return (batch, width)


@serializable
class ClassificationHead(Configurable, keras.layers.Layer):
    """The papers' head: linear, BatchNorm, ReLU and dropout, then linear.

    Args:
        num_classes: int. Number of logits.
        hidden_dims: tuple of ints. Widths of the hidden layers. An empty
            tuple makes it one linear layer.
        dropout: float. Dropout rate after each hidden layer.
        use_norm: bool, or `"layer"`. Whether a BatchNorm, or a LayerNorm,
            follows each hidden layer.
        activation: `"relu"` or `"gelu"` (the exact one).

    Input shape:
        `(batch, features)`.

    Output shape:
        `(batch, num_classes)`, logits.

    Raises:
        ValueError: for an unknown `activation` or `use_norm`.

    Example:
    ```python
    head = keras_pointpeft.layers.ClassificationHead(num_classes=40)
    logits = head(np.random.rand(8, 192))  # (8, 40)
    ```
    """

    renamed = {"norm": "use_norm"}

    def __init__(
        self,
        num_classes,
        hidden_dims=(256, 256),
        dropout=0.5,
        use_norm=True,
        activation="relu",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"`activation` must be one of {sorted(ACTIVATIONS)}. "
                f"Received: activation={activation!r}"
            )
        if use_norm and use_norm not in NORMS:
            raise ValueError(
                "`use_norm` must be a bool or 'layer'. "
                f"Received: use_norm={use_norm!r}"
            )
        self.activation = activation
        self.num_classes = num_classes
        self.hidden_dims = tuple(hidden_dims)
        self.dropout = dropout
        self.use_norm = use_norm
        policy = self.dtype_policy
        self.linears = [
            Linear(units, dtype=policy, name=f"fc{i}")
            for i, units in enumerate(self.hidden_dims, start=1)
        ]
        self.norms = [
            NORMS[use_norm](dtype=policy, name=f"norm{i}") if use_norm else None
            for i in range(1, len(self.hidden_dims) + 1)
        ]
        self.dropouts = [
            Dropout(rate, dtype=policy, name=f"dropout{i}")
            for i, rate in enumerate(self._dropout_rates(), start=1)
        ]
        self.logits = Linear(num_classes, dtype=policy, name="logits")

    def _dropout_rates(self):
        return [self.dropout] * len(self.hidden_dims)

    def build(self, input_shape):
        width = input_shape[-1]
        for linear, norm, dropout in zip(
            self.linears, self.norms, self.dropouts
        ):
            linear.build((None, width))
            width = linear.units
            if norm is not None:
                norm.build((None, width))
            dropout.build((None, width))
        self.logits.build((None, width))

    def call(self, features, training=False):
        x = features
        for index, linear in enumerate(self.linears):
            x = self._activated(index, part_call(linear, x), training)
        return part_call(self.logits, x)

    def _activated(self, index, x, training):
        norm = self.norms[index]
        if isinstance(norm, BatchNorm):
            x = part_call(norm, x, training=training)
        elif norm is not None:
            x = part_call(norm, x)
        x = ACTIVATIONS[self.activation](x)
        return part_call(self.dropouts[index], x, training=training)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_classes)
