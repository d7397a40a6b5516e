import keras
import keras_hub
import numpy as np

from keras_pointpeft import ops
from keras_pointpeft.files import preset_folder
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.step.stepping import Stepping


class PointTask(Configurable, Stepping, keras_hub.models.Task):
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
            from keras_pointpeft.step.optimizer import make_optimizer

            optimizer = make_optimizer(self)
        if isinstance(loss, str) and loss == "auto":
            loss = self.default_loss()
        if isinstance(metrics, str) and metrics == "auto":
            metrics = self.default_metrics()
        keras.Model.compile(
            self, optimizer=optimizer, loss=loss, metrics=metrics, **kwargs
        )
        if self._adapters is not None:
            self._adapters.trained = self._adapters.active

    def make_ready(self, training=False):
        """Checks that the method has what it needs, such as a bank.

        `fit`, `evaluate`, `predict` and `export` call it first; it is for
        loops of one's own.

        Args:
            training: bool. Whether training follows: what the method has
                changed of the backbone is then remembered as it was.
        """
        backbone = self.backbone
        if backbone.peft is not None:
            backbone.peft.check(backbone)
        self._put_in_place()
        if training:
            from keras_pointpeft import adapters

            adapters.remember_base(self)
            if self._adapters is not None:
                self._adapters.before_training()

    @property
    def fewest_points(self):
        """How many points a cloud must have."""
        return self.backbone.fewest_points

    def _checked(self, x):
        """Points in memory are looked at before they are used."""
        if isinstance(x, np.ndarray):
            ops.validate_points(x)
            fewest = self.fewest_points
            if x.ndim == 3 and x.shape[1] < fewest:
                raise ValueError(
                    f"The patches of this model need {fewest} points. "
                    f"Received: clouds of shape {x.shape}"
                )
        return x

    def fit(self, x=None, y=None, **kwargs):
        self.make_ready(training=True)
        if not self.compiled:
            self.compile()
        if isinstance(x, keras.utils.PyDataset):
            # Keras would shuffle its batches by global random state.
            kwargs.setdefault("shuffle", False)
        return keras.Model.fit(self, self._checked(x), y, **kwargs)

    def evaluate(self, x=None, y=None, **kwargs):
        self.make_ready()
        return keras.Model.evaluate(self, self._checked(x), y, **kwargs)

    def predict(self, x=None, **kwargs):
        self.make_ready()
        return keras.Model.predict(self, self._checked(x), **kwargs)

    def train_on_batch(self, x, y=None, **kwargs):
        self.make_ready(training=True)
        return keras.Model.train_on_batch(self, x, y, **kwargs)

    def test_on_batch(self, x, y=None, **kwargs):
        self.make_ready()
        return keras.Model.test_on_batch(self, x, y, **kwargs)

    def predict_on_batch(self, x):
        self.make_ready()
        return keras.Model.predict_on_batch(self, x)

    def save_to_preset(self, preset_dir, **kwargs):
        """Saves backbone and task, of several adapters the active one.

        The directory is written whole, with checksums of its files.
        """
        self._put_in_place()
        save = super().save_to_preset
        preset_folder.write(
            preset_dir, lambda folder: save(folder, **kwargs), self
        )

    def save_own_variables(self, store):
        # Before the variables of the layers are saved.
        self._put_in_place()
        super().save_own_variables(store)

    def export(
        self,
        filepath,
        format="tf_saved_model",
        verbose=None,
        input_signature=None,
        **kwargs,
    ):
        """Exports the task for inference without Keras.

        Formats and backends that work are in `docs/guides/export.md`.
        Sampling and neighbours are in the file. On torch, `"onnx"` and
        `"torch"` take any batch and any number of points, unless
        `input_signature` fixes them.

        Args:
            filepath: path to write to.
            format: `"tf_saved_model"`, `"onnx"`, `"torch"`, `"litert"` ...
            verbose: optional bool.
            input_signature: optional list of one `keras.InputSpec`, or of one
                dict of them for a task with several inputs.
            **kwargs: further arguments of `keras.Model.export`; on torch, of
                `"onnx"`, `opset_version`.

        Example:
        ```python
        model.export("model.onnx", format="onnx")
        ```
        """
        backend = keras.backend.backend()
        if format == "tf_saved_model" and backend != "tensorflow":
            raise ValueError(
                "A SavedModel is written with KERAS_BACKEND=tensorflow, which "
                "loads the same presets and adapters; torch writes 'onnx' and "
                f"'torch'. Received: format={format!r} on {backend}"
            )
        specs = keras.tree.flatten(input_signature or self.input)
        if format == "litert" and any(s.shape[1:2] == (None,) for s in specs):
            raise ValueError(
                "A file for LiteRT has a fixed number of points, which "
                "`input_signature` says, such as [keras.InputSpec(shape="
                "(None, 1024, 3), dtype='float32')]. "
                f"Received: input_signature={input_signature}"
            )
        self.make_ready()
        if backend == "torch" and format in ("onnx", "torch"):
            from keras_pointpeft.models.export import task

            return task.export(
                self, filepath, format, input_signature, **kwargs
            )
        return super().export(
            filepath,
            format=format,
            verbose=verbose,
            input_signature=input_signature,
            **kwargs,
        )

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

    # The `AdapterSet` of a task with several adapters.
    _adapters = None

    def _put_in_place(self):
        if self._adapters is not None:
            self._adapters.restore()

    def __call__(self, *args, **kwargs):
        # Not put in place here: a call may be traced.
        if self._adapters is not None:
            self._adapters.check_in_place()
        return super().__call__(*args, **kwargs)

    @property
    def adapter_names(self):
        """Names of all adapters of this task."""
        return [] if self._adapters is None else self._adapters.names

    @property
    def active_adapter(self):
        """The name of the active adapter, or None if it has no name."""
        return None if self._adapters is None else self._adapters.active

    def add_adapter(self, name, path=None):
        """Adds a named adapter, without making it the active one.

        What is there at the first call becomes the adapter `"default"`. All
        adapters of a task have its method and its head; the backbone is there
        once. It may have tasks with other heads, each with adapters of its
        own: `fit`, `evaluate`, `predict` and what saves put the task's active
        adapter in place, and so does `set_adapter`, which must come before a
        direct call of the task.

        They are not saved with the model, only the active one is; save each
        with `save_adapter`.

        Args:
            name: string.
            path: where it was saved, a directory or `"hf://owner/name"`. By
                default it starts fresh.

        Example:
        ```python
        model.add_adapter("chairs", "runs/chairs/adapter")
        model.set_adapter("chairs")
        ```
        """
        if self._adapters is None:
            from keras_pointpeft.adapters.named import AdapterSet

            # Past Keras, which would save it with the model.
            object.__setattr__(self, "_adapters", AdapterSet(self))
        self._adapters.add(name, path)

    def set_adapter(self, name):
        """Makes an adapter the active one, by name; takes milliseconds.

        Training goes on with the optimizer's slots if this adapter was the
        last that was trained, and else starts them anew.
        """
        self._named_adapters().use(name)

    def delete_adapter(self, name):
        """Removes an adapter that is not the active one."""
        self._named_adapters().delete(name)

    def _named_adapters(self):
        if self._adapters is None:
            raise ValueError(
                "This task has no named adapters; `add_adapter` makes some. "
                "Received: no adapters"
            )
        return self._adapters

    def disable_adapters(self):
        """A context with the backbone as it was before its method.

        See `keras_pointpeft.adapters.disable_adapters`.
        """
        from keras_pointpeft import adapters

        return adapters.disable_adapters(self)

    def merge(self, partial=False):
        """A task without the method's additions, and with the same logits.

        See `keras_pointpeft.adapters.merge`.
        """
        from keras_pointpeft import adapters

        self._put_in_place()
        return adapters.merge(self, partial)

    def save_adapter(self, path, state=True):
        """Saves what this task has trained, not the frozen backbone.

        See `keras_pointpeft.adapters.save_adapter`.
        """
        from keras_pointpeft import adapters

        self._put_in_place()
        return adapters.save_adapter(self, path, state)

    def load_adapter(self, path):
        """Loads an adapter that was trained on the same frozen backbone.

        See `keras_pointpeft.adapters.load_adapter`.
        """
        from keras_pointpeft import adapters

        self._put_in_place()
        return adapters.load_adapter(self, path)

    def peft_summary(self, print_fn=print):
        """Reports trainable parameters by component.

        See `keras_pointpeft.adapters.summary`.
        """
        from keras_pointpeft import adapters

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
