import keras
from keras import ops

from keras_pointpeft.layers.basic import BatchNorm
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.layers.heads import ClassificationHead
from keras_pointpeft.ops.arithmetic import one_hot
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class CategoryEmbedding(Configurable, keras.layers.Layer):
    """What a segmentation model is told of a cloud's category.

    One linear layer, BatchNorm and LeakyReLU, as published with
    [Point-MAE](https://arxiv.org/abs/2203.06604).

    Args:
        num_categories: int.
        dim: int. Width of the output.

    Input shape:
        `(batch,)`, integers below `num_categories`.

    Output shape:
        `(batch, dim)`.

    Example:
    ```python
    embed = keras_pointpeft.layers.CategoryEmbedding(num_categories=16)
    features = embed(np.array([3, 0, 15]))  # (3, 64)
    ```
    """

    def __init__(self, num_categories, dim=64, **kwargs):
        super().__init__(**kwargs)
        self.num_categories = num_categories
        self.dim = dim
        policy = self.dtype_policy
        self.fc = Linear(dim, use_bias=False, dtype=policy, name="fc")
        self.norm = BatchNorm(dtype=policy, name="norm")

    def build(self, category_shape):
        self.fc.build((None, self.num_categories))
        self.norm.build((None, self.dim))

    def call(self, category, training=False):
        x = one_hot(category, self.num_categories, self.compute_dtype)
        x = self.norm(self.fc(x), training=training)
        return ops.leaky_relu(x, negative_slope=0.2)

    def compute_output_spec(self, category, training=False):
        shape = (*category.shape, self.dim)
        return keras.KerasTensor(shape, self.compute_dtype)


@serializable
class CategoryTable(Configurable, keras.layers.Layer):
    """A learned feature for each category, as it stands.

    As published with [GFT](https://arxiv.org/abs/2511.10799).

    Args:
        num_categories: int.
        dim: int. Width of the output.

    Input shape:
        `(batch,)`, integers below `num_categories`.

    Output shape:
        `(batch, dim)`.

    Example:
    ```python
    table = keras_pointpeft.layers.CategoryTable(num_categories=16)
    features = table(np.array([3, 0, 15]))  # (3, 64)
    ```
    """

    def __init__(self, num_categories, dim=64, **kwargs):
        super().__init__(**kwargs)
        self.num_categories = num_categories
        self.dim = dim

    def build(self, category_shape):
        self.table = self.add_weight(
            shape=(self.num_categories, self.dim),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            name="table",
        )

    def call(self, category):
        hot = one_hot(category, self.num_categories, self.compute_dtype)
        return ops.matmul(hot, ops.convert_to_tensor(self.table))

    def compute_output_spec(self, category):
        shape = (*category.shape, self.dim)
        return keras.KerasTensor(shape, self.compute_dtype)


@serializable
class PointHead(ClassificationHead):
    """The papers' head for every point: linear, BatchNorm, ReLU, and so on.

    Dropout follows the first hidden layer alone.

    Args:
        num_classes: int. Number of logits.
        hidden_dims: tuple of ints, at least one. Widths of the hidden layers.
        dropout: float. Dropout rate.
        context_first: bool. Whether the context stands before the features,
            which matters to published weights alone.
        use_norm: bool, or `"layer"`. See `ClassificationHead`.

    Input shape:
        features `(batch, points, width)`; context, optional,
        `(batch, width)`, which is the same for all points of a cloud.

    Output shape:
        `(batch, points, num_classes)`, logits.

    Raises:
        ValueError: if `hidden_dims` is empty, or `activation` unknown.

    Example:
    ```python
    head = keras_pointpeft.layers.PointHead(50, hidden_dims=(64, 32))
    features = np.random.rand(2, 512, 96)
    context = np.random.rand(2, 128)
    logits = head(features, context)  # (2, 512, 50)
    ```
    """

    config_names = (
        "num_classes",
        "hidden_dims",
        "dropout",
        "context_first",
        "use_norm",
    )

    def __init__(
        self,
        num_classes,
        hidden_dims=(512, 256),
        dropout=0.5,
        context_first=False,
        use_norm=True,
        **kwargs,
    ):
        if not hidden_dims:
            raise ValueError(
                "`hidden_dims` must name at least one width. "
                f"Received: hidden_dims={hidden_dims!r}"
            )
        super().__init__(num_classes, hidden_dims, dropout, use_norm, **kwargs)
        self.context_first = context_first

    def _dropout_rates(self):
        return [self.dropout] + [0.0] * (len(self.hidden_dims) - 1)

    def build(self, features_shape, context_shape=None):
        context = 0 if context_shape is None else context_shape[-1]
        super().build((*features_shape[:-1], features_shape[-1] + context))

    def call(self, features, context=None, training=False):
        first, *others = self.linears
        if context is None:
            x = first(features)
        else:
            # The context is multiplied once for a cloud.
            parts = (features, context[:, None])
            parts = parts[::-1] if self.context_first else parts
            x, y = first.products(*parts)
            x = x + y + first.bias
        x = self._activated(0, x, training)
        for index, linear in enumerate(others, start=1):
            x = self._activated(index, linear(x), training)
        return self.logits(x)

    def compute_output_shape(self, features_shape, context_shape=None):
        return (*features_shape[:-1], self.num_classes)
