import keras
import keras_hub
import numpy as np

from keras_pointpeft import ops
from keras_pointpeft.serialization import Configurable


class PointTask(Configurable, keras_hub.models.Task):
    """Base of all tasks on a `PointBackbone`.

    It trains on every kind of data source (Keras' own `fit`, not the
    tf.data pipeline of keras-hub, so TensorFlow need not be installed),
    checks arrays before they are used, keeps optimizer slots out of saved
    weights, and saves and loads adapters.
    """

    def default_loss(self):
        raise NotImplementedError

    def default_metrics(self):
        raise NotImplementedError

    def compile(self, optimizer="auto", loss="auto", metrics="auto", **kwargs):
        """Configures training; `"auto"` is the papers' choice.

        Args:
            optimizer: `"auto"` is AdamW with learning rate 5e-4, decay 0.05
                on matrices alone, gradients clipped to norm 10.
            loss: `"auto"` is the task's own.
            metrics: `"auto"` is the task's own.
            **kwargs: further arguments of `keras.Model.compile`.
        """
        if isinstance(optimizer, str) and optimizer == "auto":
            from keras_pointpeft.training.optimizer import make_optimizer

            optimizer = make_optimizer(self)
        if isinstance(loss, str) and loss == "auto":
            loss = self.default_loss()
        if isinstance(metrics, str) and metrics == "auto":
            metrics = self.default_metrics()
        keras.Model.compile(
            self, optimizer=optimizer, loss=loss, metrics=metrics, **kwargs
        )

    def _check_method(self):
        backbone = self.backbone
        if backbone.peft is not None:
            backbone.peft.check(backbone)

    def fit(self, x=None, y=None, **kwargs):
        self._check_method()
        if not self.compiled:
            self.compile()
        if isinstance(x, keras.utils.PyDataset):
            # Keras would shuffle its batches by global random state.
            kwargs.setdefault("shuffle", False)
        return keras.Model.fit(self, _checked(x), y, **kwargs)

    def evaluate(self, x=None, y=None, **kwargs):
        self._check_method()
        return keras.Model.evaluate(self, _checked(x), y, **kwargs)

    def predict(self, x=None, **kwargs):
        self._check_method()
        return keras.Model.predict(self, _checked(x), **kwargs)

    def train_on_batch(self, x, y=None, **kwargs):
        self._check_method()
        return keras.Model.train_on_batch(self, x, y, **kwargs)

    def test_on_batch(self, x, y=None, **kwargs):
        self._check_method()
        return keras.Model.test_on_batch(self, x, y, **kwargs)

    def predict_on_batch(self, x):
        self._check_method()
        return keras.Model.predict_on_batch(self, x)

    def save_task_weights(self, filepath):
        """Saves the weights outside of the backbone, without optimizer."""
        keras.saving.save_weights(
            self, filepath, objects_to_skip=self._not_of_the_task()
        )

    def load_task_weights(self, filepath):
        """Loads what `save_task_weights` saved."""
        keras.saving.load_weights(
            self, filepath, objects_to_skip=self._not_of_the_task()
        )

    def _not_of_the_task(self):
        skipped = list(self.backbone._flatten_layers())
        if getattr(self, "optimizer", None) is not None:
            skipped.append(self.optimizer)
        return skipped

    def save_adapter(self, path, state=True):
        """Saves what this task has trained, not the frozen backbone.

        See `keras_pointpeft.peft.adapters.save_adapter`.
        """
        from keras_pointpeft.peft import adapters

        return adapters.save_adapter(self, path, state)

    def load_adapter(self, path):
        """Loads an adapter that was trained on the same frozen backbone.

        See `keras_pointpeft.peft.adapters.load_adapter`.
        """
        from keras_pointpeft.peft import adapters

        return adapters.load_adapter(self, path)

    def peft_summary(self, print_fn=print):
        """Reports trainable parameters by component.

        See `keras_pointpeft.peft.adapters.summary`.
        """
        from keras_pointpeft.peft import adapters

        return adapters.summary(self, print_fn)

    @classmethod
    def from_preset(cls, preset, load_weights=True, **kwargs):
        """Builds a task from a built-in name, a directory or a hub handle.

        See `keras_pointpeft.from_preset`.
        """
        from keras_pointpeft import presets

        model = presets.from_preset(preset, load_weights, **kwargs)
        if not isinstance(model, cls):
            raise ValueError(
                f"{preset!r} is a {type(model).__name__}, not a "
                f"{cls.__name__}. Received: preset={preset!r}"
            )
        return model


def _checked(x):
    """Points in memory are checked for NaN and infinity before use."""
    if isinstance(x, np.ndarray):
        ops.validate_points(x)
    return x
