import contextlib
import json
import pathlib
import warnings

import keras
import keras_hub
import numpy as np

from keras_pointpeft.adapters.copying import copy_head
from keras_pointpeft.adapters.task import AdapterLife
from keras_pointpeft.adapters.task import check_here
from keras_pointpeft.arguments import changes_head
from keras_pointpeft.arguments import split_arguments
from keras_pointpeft.data.appearance import look
from keras_pointpeft.data.contract import Contract
from keras_pointpeft.data.incoming import Door
from keras_pointpeft.data.incoming import integer_labels
from keras_pointpeft.data.incoming import is_symbolic
from keras_pointpeft.files import preset_folder
from keras_pointpeft.files.progress import Progress
from keras_pointpeft.models.backbone import refuse_quantization
from keras_pointpeft.models.backbone import show_parameters
from keras_pointpeft.models.saving import Saving
from keras_pointpeft.peft.freezing import check_frozen
from keras_pointpeft.peft.freezing import freeze_again
from keras_pointpeft.peft.freezing import note_base
from keras_pointpeft.peft.method import weights_of
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.step import one_batch
from keras_pointpeft.step.running import Stepping
from keras_pointpeft.step.running import check_jit
from keras_pointpeft.step.running import check_not_compiled

# Which backends export to a format, the usual one first.
WRITERS = {
    "onnx": ("torch", "tensorflow"),
    "torch": ("torch",),
    "tf_saved_model": ("tensorflow",),
    "litert": ("tensorflow",),
}
# In a preset's directory; what is missing there is not known.
CONTRACT = "contract.json"


class PointTask(
    AdapterLife, Configurable, Saving, Stepping, keras_hub.models.Task
):
    """Base of all tasks on a `PointBackbone`.

    It trains on every kind of data source (Keras' own `fit`, not the
    tf.data pipeline of keras-hub, so TensorFlow need not be installed),
    checks arrays before they are used, keeps optimizer slots out of saved
    weights, and saves and loads adapters.
    """

    training_only = ("dropout", "class_weights")

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        show_parameters(self)

    @property
    def trainable(self):
        """Whether it trains: of the backbone, what its method says."""
        return super().trainable

    @trainable.setter
    def trainable(self, value):
        keras.Model.trainable.fset(self, value)
        if self.backbone is not None:
            freeze_again(self.backbone)

    def quantize(self, mode, **kwargs):
        refuse_quantization(mode)

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
            metrics = ["accuracy"]  # Keras finds the kind by the labels
            if integer_labels(loss) is not False:
                metrics = self.default_metrics()
        self._asked_to_jit = kwargs.get("jit_compile", "auto")
        check_jit(self._asked_to_jit)
        keras.Model.compile(
            self, optimizer=optimizer, loss=loss, metrics=metrics, **kwargs
        )
        if self._adapters is not None:
            self._adapters.trained = self._adapters.active

    def get_compile_config(self):
        """What `compile` was told, and which variables do not decay."""
        from keras_pointpeft.step.optimizer import undecayed_paths

        config = super().get_compile_config()
        if config:
            # Not what Keras chose for the backend that saves; another one may
            # load.
            config["jit_compile"] = self._asked_to_jit
        if self.optimizer is not None and (paths := undecayed_paths(self)):
            # Beside its own config, where a plain model's `compile` that is
            # made of this one looks for nothing.
            named = {x.path: path for path, x in weights_of(self).items()}
            paths = [named[path] for path in paths]
            optimizer = dict(config["optimizer"], undecayed=paths)
            config["optimizer"] = optimizer
        return config

    def compile_from_config(self, config):
        """Compiles as `get_compile_config` says."""
        from keras_pointpeft.step.optimizer import exclude

        config = dict(config)
        # What jax and tensorflow do of themselves, torch is not asked to.
        if config.get("jit_compile") is True:
            del config["jit_compile"]
        undecayed = (config.get("optimizer") or {}).get("undecayed", ())
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            ours = weights_of(self)
            spared = [ours[path].path for path in undecayed if path in ours]
            exclude(self.optimizer, self.trainable_variables, spared)
            self.optimizer.build(self.trainable_variables)

    @property
    def metrics(self):
        """What `fit` and `evaluate` report, once they run or it is built.

        Keras asks for them also where a layer, such as `TimeDistributed`,
        stands between this task and the model that trains, and would take
        its `loss` for that model's: once it is part of a graph, they are there
        for its own runs alone.
        """
        found = super().metrics
        if self._runs:
            return found
        if self._is_part:
            return []
        functions = ("train_function", "test_function")
        runs = any(getattr(self, name, None) for name in functions)
        # jax asks for their variables before it makes its functions.
        built = all(getattr(metric, "built", True) for metric in found)
        return found if runs or built else []

    # Runs of its own that are under way, and whether it was called within
    # something else, as far as Keras shows it.
    _runs = 0
    _is_part = False

    @contextlib.contextmanager
    def _running(self):
        # Past Keras, which would track it.
        object.__setattr__(self, "_runs", self._runs + 1)
        try:
            yield
        finally:
            object.__setattr__(self, "_runs", self._runs - 1)

    def call(self, inputs, training=None, mask=None, **kwargs):
        # Wrappers of Keras call this past `__call__`, and with symbols first.
        if not self._runs and is_symbolic(inputs):
            object.__setattr__(self, "_is_part", True)
        return super().call(inputs, training=training, mask=mask, **kwargs)

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
            check_frozen(backbone)
            note_base(backbone)
            if self._adapters is not None:
                self._adapters.before_training()

    def _put_in_place(self):
        """The weights, and of several adapters the active one."""
        # On jax, `fit` keeps the variables elsewhere between two batches.
        if hasattr(self, "jax_state_sync"):
            self.jax_state_sync()
            check_here(self.weights)
        if self._adapters is not None:
            self._adapters.restore()

    # Of a task without named adapters.
    _contract = Contract()

    @property
    def contract(self):
        """`keras_pointpeft.data.Contract`: what this task was trained on.

        `training.train` and `load_adapter` set it; after `fit` of arrays it
        knows these, and `model.contract = model.contract.told(class_names=...)`
        adds what arrays do not say. Of several adapters, the active one's.
        """
        if self._adapters is not None:
            return self._adapters.contracts[self._adapters.active]
        return self._contract

    @contract.setter
    def contract(self, contract):
        if self._adapters is not None:
            self._adapters.contracts[self._adapters.active] = contract
        else:
            object.__setattr__(self, "_contract", contract)

    # Whether it compares the clouds of a batch, and so cannot learn from one.
    compares_clouds = False

    @property
    def fewest_points(self):
        """How many points a cloud must have."""
        return self.backbone.fewest_points

    # Whether every point has a label, and how far a coordinate may reach.
    labels_per_point = False
    largest_coordinate = 100.0

    @property
    def door(self):
        """What comes in must pass it, see `keras_pointpeft.data.incoming`.

        A model that this task is a part of does not ask it: points that are
        at hand are looked at as they come here, but labels are not, nor
        points in a compiled step. `outer.fit(*task.door.source(x, y))` looks
        at both.
        """
        return Door(
            self.num_classes,
            self.fewest_points,
            self.labels_per_point,
            getattr(self, "num_categories", None),
            channels=self.backbone.input.shape[-1],
            largest=self.largest_coordinate,
            integer_labels=integer_labels(self.loss) if self.compiled else None,
        )

    def _warning_door(self):
        """Behind it, clouds that cannot be as in training are warned of."""
        door = self.door
        door.watch = self.contract.warn
        return door

    def _learn_about(self, x):
        """What arrays say of the clouds that are trained on."""
        points = x.get("points") if isinstance(x, dict) else x
        if not (isinstance(points, np.ndarray) and points.ndim == 3):
            return
        seen = look(points)
        kind = "unit_sphere" if seen.unit_sphere else "none"
        self.contract = self.contract.told(
            num_points=points.shape[1],
            stored_points=points.shape[1],
            normalization=kind,
            appearance=seen,
        )

    def check_batches(self, clouds, batch_size):
        """Raises ValueError if clouds of a batch are compared, of one.

        Args:
            clouds: int, how many are trained on.
            batch_size: int.
        """
        if not self.compares_clouds:
            return
        if min(clouds, batch_size) == 1:
            raise ValueError(
                "The BatchNorms in this model's head compare the clouds of a "
                "batch: of a batch of one nothing is learnt. Take "
                "batch_size=2 or more (gradient_accumulation makes one update "
                "of several batches), or build the model with "
                f"head_norm=False. Received: {clouds} clouds in batches of "
                f"{batch_size}"
            )

    def _check_arrays(self, x, batch_size):
        points = x.get("points") if isinstance(x, dict) else x
        if not hasattr(points, "shape") or len(points.shape) != 3:
            return
        count, batch_size = len(points), batch_size or 32
        self.check_batches(count, batch_size)
        if self.compares_clouds and count % batch_size == 1:
            warnings.warn(
                "The last batch of each epoch has one cloud, of which the "
                "BatchNorms in this model's head learn nothing; another "
                f"batch_size avoids it. Received: {count} clouds in batches "
                f"of {batch_size}",
                stacklevel=3,
            )

    def fit(self, x=None, y=None, **kwargs):
        self._check_arrays(x, kwargs.get("batch_size"))
        self.make_ready(training=True)
        self.check_class_weight(kwargs.get("class_weight"))
        if not self.compiled:
            self.compile()
        if isinstance(x, keras.utils.PyDataset):
            # Keras would shuffle its batches by global random state.
            kwargs.setdefault("shuffle", False)
        door = self.door
        x, y = door.source(x, y)
        held = kwargs.get("validation_data")
        if isinstance(held, (tuple, list)):
            kwargs["validation_data"] = (*door.source(*held[:2]), *held[2:])
        elif held is not None:
            kwargs["validation_data"], _ = door.source(held)
        self._learn_about(x)
        with door.telling(), self._running():
            return keras.Model.fit(self, x, y, **kwargs)

    def check_class_weight(self, class_weight):
        """Raises ValueError where Keras would weigh something else."""

    def evaluate(self, x=None, y=None, **kwargs):
        self.make_ready()
        door = self._warning_door()
        x, y = door.source(x, y)
        with door.telling(), self._running():
            return keras.Model.evaluate(self, x, y, **kwargs)

    def predict(self, x=None, **kwargs):
        self.make_ready()
        door = self._warning_door()
        x, _ = door.source(x)
        with door.telling(), self._running():
            if one_batch.suits(self, x, kwargs):
                verbose = kwargs.get("verbose", "auto")
                return one_batch.predict(self, x, verbose)
            return keras.Model.predict(self, x, **kwargs)

    def train_on_batch(self, x, y=None, **kwargs):
        if hasattr(x, "shape") and len(x.shape) == 3:
            self.check_batches(len(x), len(x))
        self.make_ready(training=True)
        self.check_class_weight(kwargs.get("class_weight"))
        x, y = self.door.source(x, y)
        with self._running():
            return keras.Model.train_on_batch(self, x, y, **kwargs)

    def test_on_batch(self, x, y=None, **kwargs):
        self.make_ready()
        x, y = self.door.source(x, y)
        with self._running():
            return keras.Model.test_on_batch(self, x, y, **kwargs)

    def predict_on_batch(self, x):
        self.make_ready()
        x, _ = self.door.source(x)
        with self._running():
            return keras.Model.predict_on_batch(self, x)

    def clone(self, weights=True, compile=True, **changes):
        """A task like this one, with a backbone of its own.

        Args:
            weights: bool. Whether to copy the weights that both have, see
                `keras_pointpeft.models.PointBackbone.clone`. A head of
                another shape, or that reads other tokens, starts fresh. Of
                several adapters, the clone has the active one.
            compile: bool. Whether to compile it as this one is, if the same
                variables train; else it is as a new one. What the optimizer
                has gathered stays here.
            **changes: constructor arguments of backbone or task that differ,
                such as `peft`, `dtype` or `num_classes`.

        Returns:
            A new task of the same class.

        Raises:
            TypeError: for an unknown argument.
            ValueError: if a change gives weights of the backbone another
                shape.

        Example:
        ```python
        teacher = model.clone()
        deeper = model.clone(peft=keras_pointpeft.peft.DAPT(rank=16))
        ```
        """
        self._put_in_place()
        old = self.backbone
        ours, theirs = split_arguments(changes, type(old), type(self))
        before = self.get_config()
        new = old.clone(weights, **ours)
        config = {**before, "name": None, "backbone": new}
        # What was the backbone's choice is now the new one's.
        for name, choice in (
            ("pooling", "head_inputs"),
            ("blocks", "dense_blocks"),
            ("head_dtype", "dtype_policy"),
        ):
            if getattr(self, name, None) == getattr(old, choice):
                config[name] = getattr(new, choice)
        twin = type(self).from_config({**config, **theirs})
        if weights and not changes_head(before, twin.get_config()):
            copy_head(self, twin)
            twin.contract = self.contract
        twin.preset = getattr(self, "preset", None)
        same = _trained(self) == _trained(twin)
        if compile and same and self.compiled:
            twin.compile_from_config(self.get_compile_config())
        return twin

    def get_config(self):
        config = super().get_config()
        config["head_dtype"] = keras.dtype_policies.serialize(
            keras.dtype_policies.get(self.head_dtype)
        )
        return config

    def save_to_preset(self, preset_dir, **kwargs):
        """Saves backbone and task, of several adapters the active one.

        The directory is written whole, with checksums of its files.
        """
        self._put_in_place()
        save = super().save_to_preset

        def write(folder):
            save(folder, **kwargs)
            text = json.dumps(self.contract.to_dict(), indent=2)
            (folder / CONTRACT).write_text(text, encoding="utf-8")

        preset_folder.write(preset_dir, write, self)

    def save_assets(self, inner_path):
        """Saves what it was trained on, so that copies know it, too."""
        if self.contract != Contract():
            text = json.dumps(self.contract.to_dict(), indent=2)
            place = pathlib.Path(inner_path) / CONTRACT
            place.write_text(text, encoding="utf-8")

    def load_assets(self, inner_path):
        # Keras gives None where a file has no assets of this model.
        place = pathlib.Path(inner_path or "") / CONTRACT
        if inner_path and place.is_file():
            text = place.read_text(encoding="utf-8")
            self.contract = Contract.from_dict(json.loads(text))

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
        Sampling and neighbours are in the file, and so is what the task
        expects, its `contract`; a SavedModel has it as `contract.json`, a
        LiteRT file beside it. On torch, `"onnx"` and
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
        backend = keras.config.backend()
        writers = WRITERS.get(format, (backend,))
        if backend not in writers:
            raise ValueError(
                f"{format!r} is written with KERAS_BACKEND={writers[0]}, "
                "which loads the same presets and adapters. "
                f"Received: format={format!r} on {backend}"
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

            with Progress(f"exporting {filepath}"), self._running():
                return task.export(
                    self, filepath, format, input_signature, **kwargs
                )
        with Progress(f"exporting {filepath}"), self._running():
            found = super().export(
                filepath,
                format=format,
                verbose=verbose,
                input_signature=input_signature,
                **kwargs,
            )
        # These formats have no room for it.
        place = pathlib.Path(filepath)
        place = place / CONTRACT if place.is_dir() else f"{place}.{CONTRACT}"
        with open(place, "w", encoding="utf-8") as file:
            json.dump(self.contract.to_dict(), file, indent=2)
        return found

    def save(self, filepath, *args, **kwargs):
        """Saves the whole model, see `keras.Model.save`."""
        self._put_in_place()
        super().save(filepath, *args, **kwargs)

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

    def __call__(self, *args, **kwargs):
        # Both also within another model.
        if keras.config.backend() == "torch":
            check_not_compiled()
        if args:
            self.door.check_call(args[0])
        # Not put in place here: a call may be traced.
        if self._adapters is not None:
            self._adapters.check_in_place()
        return super().__call__(*args, **kwargs)

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


def _trained(task):
    ours = weights_of(task).items()
    return [path for path, variable in ours if variable.trainable]
