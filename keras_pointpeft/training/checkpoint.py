"""Exact continuation of a training run that was interrupted."""

import json
import os
import zipfile
import zlib

import keras
import numpy as np

from keras_pointpeft.adapters.settings import settings_of
from keras_pointpeft.files.whole import sweep
from keras_pointpeft.files.whole import whole_file
from keras_pointpeft.peft.freezing import note_base
from keras_pointpeft.step.running import masks_of
from keras_pointpeft.training.callbacks import assign
from keras_pointpeft.training.callbacks import snapshot

FORMAT = 1
# What a finished run may have other values of, to be extended.
LENGTHS = {"epochs", "updates", "warmup_epochs", "cosine_epochs"}
# How runs were trained whose files, of earlier versions, do not say it.
LATER = {
    "balanced_sampling": False,
    "precision": "float32",
    "schedule": "epoch",
}
# What training began from; whoever calls `train` need not tell it.
START = "start.weights"
# Settings that filling a bank changes: they do not tell runs apart.
OF_A_BANK = ("peft.bank_size", "peft.bank_recipe")


def data_digest(split) -> str:
    """A short fingerprint of a split's clouds and labels, or of rooms."""
    if isinstance(split, list):
        what = "rooms"
        arrays = (x for r in split for x in (r.points, r.labels, r.channels))
    else:
        what, arrays = "clouds", (split.labels, split.points, split.channels)
    digest = 0
    for array in arrays:
        # Part by part, for clouds may be mapped from a file.
        for start in range(0, 0 if array is None else len(array), 256):
            part = np.ascontiguousarray(array[start : start + 256])
            digest = zlib.crc32(part, digest)
    return f"{len(split)} {what}, {digest:08x}"


def identity(model, recipe, split, start=None) -> dict:
    """What must be the same for a run to go on: model, recipe and data.

    Args:
        model: what trains.
        recipe: `Recipe`.
        split: the training split.
        start: optional string, what the weights were before training.
    """
    variables = [
        f"{v.name}{tuple(v.shape)}{'' if v.trainable else ' frozen'}"
        for v in model.variables
    ]
    digest = zlib.crc32("\n".join(variables).encode())
    settings = settings_of(model)
    for name in OF_A_BANK:
        settings.pop(name, None)
    if start is not None:
        settings[START] = os.fspath(start)
    parts = getattr(split, "part_labels", None)
    if parts is not None:
        digest_of_parts = zlib.crc32(np.ascontiguousarray(parts))
        settings["data.part_labels"] = f"{digest_of_parts:08x}"
    return {
        "model": f"{len(variables)} variables, {digest:08x}",
        "data": data_digest(split),
        **settings,
        **recipe.to_dict(),
        "schedule": recipe.moves_by,
    }


def schedule_of(path):
    """`"epoch"` or `"update"`, how the run of a state file moves its rate.

    None if there is no file. Raises ValueError if it is no checkpoint.
    """
    if not os.path.exists(path):
        return None
    meta = json.loads(_open(path, ("meta",))["meta"].tobytes())
    return meta["identity"].get("schedule", LATER["schedule"])


class TrainingCheckpoint(keras.callbacks.Callback):
    """Writes the whole state of a run after each epoch, and reads it back.

    The file holds the variables of the model, with the states of its random
    generators, and of the optimizer, the history, and the best epoch's
    variables. With `EpochSeed` and a dataset that follows the epoch, nothing
    else decides how training goes on: a run that was killed and resumed ends,
    on one machine's CPU, with the same bits as one that was not.

    A kill at any moment leaves the last whole state.

    Args:
        path: path of the file, `.npz`.
        identity: dict, see `identity`. A file of another run is refused.
        best: optional `BestEpoch` whose state is kept too.

    Attributes:
        history: list of dicts, one per epoch of all runs together.

    Raises:
        ValueError: by `restore`, for a file that is damaged or of another run.

    Example:
    ```python
    from keras_pointpeft import training

    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    state = training.TrainingCheckpoint("state.npz", {"data": "mine"})
    start = state.restore(model)
    model.fit(
        points, labels, initial_epoch=start, epochs=10, callbacks=[state]
    )
    ```
    """

    def __init__(self, path, identity, best=None):
        super().__init__()
        self.path = os.fspath(path)
        self.identity = json.loads(json.dumps(identity))
        self.best = best
        self.history = []

    def on_epoch_end(self, epoch, logs=None):
        self.note(epoch, logs)
        self.save(epoch + 1)

    def note(self, epoch, logs):
        """Adds the figures of an epoch to the history."""
        values = {name: float(value) for name, value in logs.items()}
        self.history.append({"epoch": epoch, **values})

    def save(self, epochs_done):
        """Writes the state; `epochs_done` epochs are complete."""
        optimizer = self.model.optimizer.variables
        arrays = _numbered("model", snapshot(self.model.variables))
        arrays.update(_numbered("optimizer", snapshot(optimizer)))
        meta = {
            "format": FORMAT,
            "keras_backend": keras.backend.backend(),
            "identity": self.identity,
            "epochs_done": epochs_done,
            "history": self.history,
        }
        if (masks := _masks(self.model)) is not None:
            meta["masks"] = masks.known()
        if self.best is not None and self.best.values is not None:
            meta["best"] = {"epoch": self.best.epoch, "score": self.best.score}
            for index, value in enumerate(self.best.values):
                # What is frozen is not written twice.
                if not np.array_equal(value, arrays[f"model/{index}"]):
                    arrays[f"best/{index}"] = value
        arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), "uint8")
        with whole_file(self.path) as place:
            np.savez(place, **arrays)

    def restore(self, model) -> int:
        """Puts the state of the file, if there is one, into the model.

        Args:
            model: the compiled model, built as it was for the first run.

        Returns:
            How many epochs are complete: the `initial_epoch` of `fit`.

        Raises:
            ValueError: if the file is of another model, recipe, data set or
                backend, or is no checkpoint.
        """
        sweep(self.path)
        if not os.path.exists(self.path):
            return 0
        arrays = _open(self.path)
        meta = json.loads(arrays["meta"].tobytes())
        self._check(meta)
        model.optimizer.build(model.trainable_variables)
        values = _read(arrays, "model", model.variables)
        slots = _read(arrays, "optimizer", model.optimizer.variables)
        if self.best is not None and "best" in meta:
            self.best.epoch = meta["best"]["epoch"]
            self.best.score = tuple(meta["best"]["score"])
            self.best.values = [
                arrays[f"best/{i}"] if f"best/{i}" in arrays else value
                for i, value in enumerate(values)
            ]
        if hasattr(model, "backbone"):
            note_base(model.backbone)
        assign(model.variables, values)
        assign(model.optimizer.variables, slots)
        if (masks := _masks(model)) is not None:
            device = model.variables[0].value.device
            masks.expect(meta.get("masks", ()), device)
        self.history[:] = meta["history"]
        return meta["epochs_done"]

    def _extends(self, meta):
        """Whether the file is of a finished run of the same kind, shorter."""
        theirs = meta["identity"].get("epochs")
        return theirs == meta["epochs_done"] and theirs < self.identity.get(
            "epochs", 0
        )

    def _check(self, meta):
        # Files of earlier versions do not have the settings of model and
        # method, "backbone.depth" and the like, nor the start and the labels
        # of parts: they are taken to be the same.
        believed = {k: v for k, v in self.identity.items() if "." in k}
        theirs = {
            **believed,
            **LATER,
            **meta["identity"],
            "format": meta["format"],
            "keras_backend": meta["keras_backend"],
        }
        if START not in self.identity:
            theirs.pop(START, None)
        ours = {
            **self.identity,
            "format": FORMAT,
            "keras_backend": keras.backend.backend(),
        }
        longer = LENGTHS if self._extends(meta) else set()
        differences = [
            f"{name}: {theirs.get(name)!r} there, {ours.get(name)!r} here"
            for name in sorted({*ours, *theirs} - longer)
            if theirs.get(name) != ours.get(name)
        ]
        if differences:
            raise ValueError(
                "The checkpoint belongs to another run. Take another output "
                "directory, or start over in this one (`resume=False`, "
                f"--noresume). Received: {self.path} with "
                + "; ".join(differences)
            )


def _masks(model):
    """What draws the masks of a step together, on torch; else None."""
    if keras.backend.backend() != "torch":
        return None
    return masks_of(model)


# What a damaged file can raise, in its directory of entries or in one of them.
DAMAGE = (
    OSError,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


def _open(path, names=None):
    """Arrays of a state file, all or those that are named, read whole."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in names or file.files}
        json.loads(arrays["meta"].tobytes())
        return arrays
    except DAMAGE as error:
        raise ValueError(
            "The file is no training checkpoint. Remove it to start over. "
            f"Received: {path} ({error})"
        ) from error


def _numbered(kind, values):
    return {f"{kind}/{index}": value for index, value in enumerate(values)}


def _read(arrays, kind, variables):
    values = []
    for index, variable in enumerate(variables):
        value = arrays.get(f"{kind}/{index}")
        if value is None:
            raise ValueError(
                f"The checkpoint does not fit the model: it has no value of "
                f"{variable.path}. Received: {len(arrays)} arrays"
            )
        if value.shape != tuple(variable.shape):
            raise ValueError(
                f"The checkpoint does not fit the model: {variable.path} has "
                f"the shape {tuple(variable.shape)}. Received: {value.shape}"
            )
        values.append(value)
    return values
