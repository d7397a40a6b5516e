"""Point-PEFT's prompts, and the prior that they are made from."""

import contextlib

import keras
import numpy as np
from keras import ops

from keras_pointpeft.layers.basic import Dropout
from keras_pointpeft.peft.freezing import FINGERPRINT_BYTES
from keras_pointpeft.peft.parts import BottleneckAdapter
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


def query(features, bank, top_k, count=None):
    """Reads a bank by attention without parameters.

    The similarity of an entry is its product with the normalised feature;
    the `top_k` most similar entries are mixed by the softmax of theirs
    (section 3.2 of [Point-PEFT](https://arxiv.org/abs/2310.03059)).

    Args:
        features: tensor `(batch, dim)`.
        bank: tensor `(entries, dim)`, used as it is: normalise it first if
            similarities are to be cosines.
        top_k: int. How many entries to read.
        count: optional int or scalar tensor. How many of the entries are
            filled.

    Returns:
        tensor `(batch, top_k + 2, dim)`: the feature as it is, the mix, and
        the entries, most similar first. It carries no gradient.
    """
    features = ops.stop_gradient(ops.cast(features, "float32"))
    bank = ops.stop_gradient(ops.cast(bank, "float32"))
    norm = ops.sqrt(ops.sum(features * features, axis=-1, keepdims=True))
    similarity = ops.matmul(features / norm, ops.transpose(bank))
    if count is not None:
        filled = ops.arange(bank.shape[0], dtype="int32") < count
        similarity = ops.where(filled, similarity, -1e30)
    similarity, index = ops.top_k(similarity, top_k)
    entries = ops.take(bank, index, axis=0)
    weights = ops.softmax(similarity, axis=-1)
    mix = ops.sum(weights[..., None] * entries, axis=1, keepdims=True)
    return ops.concatenate((features[:, None], mix, entries), axis=1)


@serializable
class PriorQuery(Configurable, keras.layers.Layer):
    """Holds a bank of features and reads it by attention without parameters.

    The bank is state, not a parameter: it is saved with the model, moves with
    it between backends, and never trains. It has room for `bank_size`
    features, of which the first `count` are filled; see `PriorBank`.

    Args:
        bank_size: int. Room for so many features.
        top_k: int. How many features a query reads.
        num_groups: int or None. Number of patches of the frozen pass that
            makes the query; None for the backbone's own.
        group_size: int or None. Points per patch, likewise.

    Input shape:
        features of the frozen backbone `(batch, dim)`.

    Output shape:
        dict of `"prior"`, `(batch, top_k + 2, dim)`: the feature, the mix of
        the entries most like it, and these entries, most similar first.
    """

    def __init__(
        self, bank_size, top_k, num_groups=None, group_size=None, **kwargs
    ):
        super().__init__(autocast=False, **kwargs)
        if bank_size < top_k:
            raise ValueError(
                "The bank must have room for at least `top_k` features. "
                f"Received: bank_size={bank_size}, top_k={top_k}"
            )
        self.bank_size = bank_size
        self.top_k = top_k
        self.num_groups = num_groups
        self.group_size = group_size
        self._was_filled = False

    def build(self, feature_shape):
        def state(shape, name, dtype):
            return self.add_weight(
                shape=shape,
                initializer="zeros",
                trainable=False,
                autocast=False,
                dtype=dtype,
                name=name,
            )

        self.bank = state(
            (self.bank_size, feature_shape[-1]), "bank", "float32"
        )
        self.count = state((), "count", "int32")
        # The fingerprint of the frozen weights that made the bank.
        self.fingerprint = state((FINGERPRINT_BYTES,), "fingerprint", "int32")

    @property
    def filled(self):
        """Whether there is anything in the bank."""
        return int(_stored(self.count)) > 0

    def require_filled(self):
        """Raises ValueError while the bank is empty.

        Once it was not, nobody looks again: on an accelerator that waits.
        """
        if self._was_filled:
            return
        if not self.filled:
            raise ValueError(
                "This model makes its prompts from a bank of features, which "
                "is empty. Build one from training clouds and attach it,\n"
                "    PriorBank.build(model, points).attach(model)\n"
                "(also: scripts/build_bank.py), or do without, with "
                "`peft=PointPEFT(prior=False)`. Received: an empty bank with "
                f"room for {self.bank_size} entries"
            )
        self._was_filled = True

    def fill(self, features, fingerprint):
        """Takes over a bank's entries.

        Args:
            features: array `(entries, dim)`.
            fingerprint: string, hexadecimal.
        """
        features = np.asarray(features, "float32")
        if features.ndim != 2 or features.shape[1] != self.bank.shape[1]:
            raise ValueError(
                "The bank is of another width than this backbone, "
                f"{self.bank.shape[1]}. Received: features of shape "
                f"{features.shape}"
            )
        if len(features) < self.top_k:
            raise ValueError(
                f"A query reads {self.top_k} entries of the bank, so it needs "
                f"at least as many. Received: {len(features)} entries"
            )
        if len(features) > self.bank_size:
            raise ValueError(
                f"This model has room for {self.bank_size} entries. Build it "
                f"with `bank_size={len(features)}` in its `PointPEFT`, or "
                f"thin the bank out with `PriorBank.sample`. "
                f"Received: {len(features)} entries"
            )
        room = np.zeros(tuple(self.bank.shape), "float32")
        room[: len(features)] = features
        self.bank.assign(room)
        self.count.assign(len(features))
        digest = np.frombuffer(bytes.fromhex(fingerprint), "uint8")
        self.fingerprint.assign(digest.astype("int32"))

    def call(self, features):
        self.require_filled()
        bank = ops.convert_to_tensor(self.bank)
        count = ops.convert_to_tensor(self.count)
        return {"prior": query(features, bank, self.top_k, count)}

    def compute_output_spec(self, features):
        shape = (features.shape[0], self.top_k + 2, features.shape[-1])
        return {"prior": keras.KerasTensor(shape, "float32")}


@serializable
class PointPriorPrompt(Configurable, keras.layers.Layer):
    """The prompts of one block: learned ones, plus the adapted prior.

    Section 3.2 of [Point-PEFT](https://arxiv.org/abs/2310.03059).

    Args:
        num_prompts: int. Number of prompts.
        rank: int or None. Width of the prior's adapter; None for a block
            that does not read the prior.
        dropout: float. Dropout rate of the learned prompts.
        start: how the adapter starts; see `BottleneckAdapter`.

    Input shape:
        tokens `(batch, tokens, dim)`, for their number of samples; prior
        `(batch, num_prompts, dim)` or None.

    Output shape:
        `(batch, num_prompts, dim)`.

    Example:
    ```python
    prompts = keras_pointpeft.peft.PointPriorPrompt(num_prompts=10)
    tokens, prior = np.random.rand(2, 33, 96), np.random.rand(2, 10, 96)
    prompts(tokens, prior)  # (2, 10, 96)
    ```
    """

    def __init__(
        self, num_prompts=10, rank=8, dropout=0.1, start="zero", **kwargs
    ):
        super().__init__(**kwargs)
        self.num_prompts = num_prompts
        self.rank = rank
        self.dropout = dropout
        self.start = start
        policy = self.dtype_policy
        self.adapter = None
        if rank is not None:
            self.adapter = BottleneckAdapter(
                rank,
                residual=True,
                start=start,
                dtype=policy,
                name="adapter",
            )
        self.drop = Dropout(dropout, dtype=policy, name="drop")

    def build(self, tokens_shape, prior_shape=None):
        dim = tokens_shape[-1]
        self.embeddings = self.add_weight(
            shape=(self.num_prompts, dim),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="embeddings",
        )
        if self.adapter is not None:
            self.adapter.build((None, self.num_prompts, dim))

    def call(self, tokens, prior=None, training=False):
        shape = (ops.shape(tokens)[0], self.num_prompts, tokens.shape[-1])
        prompts = ops.cast(self.embeddings, tokens.dtype)
        prompts = ops.broadcast_to(prompts, shape)
        prompts = self.drop(prompts, training=training)
        if prior is not None:
            prior = ops.cast(prior, tokens.dtype)
            prompts = prompts + self.adapter(prior, training=training)
        return prompts

    def compute_output_shape(self, tokens_shape, prior_shape=None):
        return (tokens_shape[0], self.num_prompts, tokens_shape[-1])


def prior_layer(backbone):
    """A backbone's `PriorQuery` layer, or None."""
    for layer in backbone.layers:
        if layer.name == "tuner_prior":
            return layer
    return None


def _stored(variable):
    """A variable's value outside of whatever is being traced.

    Args:
        variable: a `keras.Variable`.

    Returns:
        An array.
    """
    scope = contextlib.nullcontext()
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        scope = tf.init_scope()
    # An own scope has no values of a trace, and torch's symbolic calls have
    # no values at all.
    with scope, keras.device("cpu"), keras.StatelessScope():
        return ops.convert_to_numpy(variable.value)
