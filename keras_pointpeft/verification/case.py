"""Compares our models with recorded outputs of the published ones.

A case is a directory of `manifest.json` (configuration, names, shapes) and
`data.npz` (inputs, outputs, gradients). Weights are not stored: they are
regenerated from their names by `reference_weights`.
"""

import dataclasses
import fnmatch
import importlib
import json
import pathlib

import keras
import numpy as np
from keras import ops

from keras_pointpeft.checkpoints.layouts import layout_of
from keras_pointpeft.checkpoints.names import to_reference
from keras_pointpeft.checkpoints.transfer import fill_layout
from keras_pointpeft.files.progress import telling
from keras_pointpeft.peft.method import weights_of
from keras_pointpeft.verification import weights
from keras_pointpeft.verification.gradients import forward
from keras_pointpeft.verification.gradients import value_and_gradients

LOGITS, TOKENS, LOSS, GRADIENT = 2e-5, 5e-5, 1e-5, 1e-3


@dataclasses.dataclass
class Check:
    """One comparison: what, how far apart, and how far it may be."""

    what: str
    difference: float
    tolerance: float

    @property
    def ok(self):
        return bool(self.difference <= self.tolerance)


class Case:
    """A recorded case, read from its directory.

    Args:
        directory: path of the case.
        gradients: bool. Whether gradients are compared too.

    Attributes:
        manifest: the parsed `manifest.json`.
        data: dict of all arrays of `data.npz`.
        checks: the list of `Check`s made so far.
    """

    def __init__(self, directory, gradients=True):
        self.directory = pathlib.Path(directory)
        self.gradients = gradients
        self.name = self.directory.name
        with open(self.directory / "manifest.json") as stream:
            self.manifest = json.load(stream)
        with np.load(self.directory / "data.npz") as archive:
            self.data = {name: archive[name] for name in archive.files}
        self.config = self.manifest.get("config", {})
        self.checks = []

    def weights(self, replaced=()):
        """Their state dict, regenerated and checked against its digest.

        Args:
            replaced: entries `[name, shape, dtype]` that stand in for those
                of the same name.
        """
        entries = self.manifest["state_dict"]
        prefix = "override/"
        overrides = {
            name[len(prefix) :]: value
            for name, value in self.data.items()
            if name.startswith(prefix)
        }
        # Manifests come in two kinds.
        record = self.manifest.get("weights", {})
        salt = record.get("salt", self.manifest.get("salt"))
        kinds = record.get("kind_overrides", {})
        for name, shape, _ in entries:
            if name in kinds:
                overrides[name] = weights.fill(
                    name, shape, kinds[name], salt
                )
        expected = record.get("digest", self.manifest.get("weights_sha256"))
        digest = weights.digest(entries, salt, overrides)
        if digest != expected:
            raise ValueError(
                f"The regenerated weights of {self.name} are not those that "
                f"were recorded. Received: sha256 {digest}"
            )
        replaced = {entry[0]: entry for entry in replaced}
        entries = [replaced.get(entry[0], entry) for entry in entries]
        return weights.fill_all(entries, salt, overrides)

    def close(self, what, ours, tolerance, theirs=None):
        """Compares with array `what`: absolute plus relative tolerance."""
        ours, theirs = self._pair(what, ours, theirs)
        difference = np.abs(ours - theirs) / (1.0 + np.abs(theirs))
        self._add(what, difference.max(initial=0.0), tolerance)

    def close_sets(self, what, ours, tolerance, theirs=None):
        """Compares patches `(patches, points, 3)`, points in any order.

        Each point of either side is compared with its nearest of the other
        (what is sorted by coordinates falls apart where two are nearly equal),
        and both sides must have every point equally often.
        """
        ours, theirs = self._pair(what, ours, theirs)

        def apart(a, b):
            return np.abs(a[:, :, None] - b[:, None]).max(axis=-1)

        pairs = apart(theirs, ours)
        for axis in (1, 2):
            self._add(what, pairs.min(axis=axis).max(initial=0.0), tolerance)
        often = [
            np.sum(found <= tolerance, axis=2).tolist()
            for found in (pairs, apart(theirs, theirs))
        ]
        self.equal(f"{what}, how often", *often)

    def close_stream(self, what, ours, theirs=None):
        """Compares tokens inside a trunk, in units of their spread.

        The residual stream grows from block to block, to hundreds in the
        recorded cases, and so does what float32 leaves of small entries.
        """
        theirs = self.data[what] if theirs is None else theirs
        scale = max(1.0, float(np.std(theirs)))
        ours = ops.convert_to_numpy(ours) / scale
        self.close(what, ours, TOKENS, theirs / scale)

    def equal(self, what, ours, theirs):
        """Compares two values that must be the same."""
        self._add(what, 0.0 if ours == theirs else np.inf, 0.0)

    def equal_arrays(self, what, ours):
        """Compares index arrays, element by element."""
        ours = ops.convert_to_numpy(ours)
        same = np.array_equal(ours, self.data[what])
        self._add(what, 0.0 if same else np.inf, 0.0)

    def same_sets(self, what, ours, theirs=None):
        """Compares index sets along the last axis."""
        theirs = self.data[what] if theirs is None else theirs
        ours = np.sort(ops.convert_to_numpy(ours), axis=-1)
        same = np.array_equal(ours, np.sort(theirs, axis=-1))
        self._add(what, 0.0 if same else np.inf, 0.0)

    def _pair(self, what, ours, theirs):
        theirs = self.data[what] if theirs is None else theirs
        ours = np.asarray(ops.convert_to_numpy(ours), "float64")
        theirs = np.asarray(theirs, "float64")
        if ours.shape != theirs.shape:
            raise ValueError(
                f"{what}: expected shape {theirs.shape}. Received: {ours.shape}"
            )
        return ours, theirs

    def _add(self, what, difference, tolerance):
        self.checks.append(Check(what, float(difference), tolerance))

    # === Comparisons that most cases share ===

    def check_counts(self, model, names):
        """All, trainable and decayed parameters, by their names."""
        from keras_pointpeft.step.optimizer import decay_groups

        trainable = {names(v.path) for v in model.trainable_variables}
        expected = self.manifest.get("trainable")
        if not expected:
            return
        counted = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
        self.equal("trainable parameters", counted, expected["count"])
        if "names" in expected:
            self.equal("trainable names", trainable, set(expected["names"]))
        if "weight_decay" in expected:
            decayed, _ = decay_groups(model)
            decayed = {names(v.path) for v in decayed}
            theirs = set(expected["weight_decay"])
            self.equal("decayed names", decayed, theirs)

    def check_gradients(self, model, names, loss_fn, training=False):
        """Loss, gradients and, in training, the statistics that moved."""
        if not self.gradients:
            return
        loss, gradients = value_and_gradients(model, loss_fn, training)
        self.close("loss", loss, LOSS)
        shapes = {n: s for n, s, _ in self.manifest["state_dict"]}
        record = self.manifest["grad"]
        zero = record.get("mathematically_zero") or ()
        ours = {
            names(path): to_reference(path, value, shapes[names(path)])
            for path, value in gradients.items()
        }
        worst = 0.0
        norms = self.data.get("grad_norms64", self.data.get("grad_norms"))
        norms = dict(zip(record["names"], norms))
        for name, norm in norms.items():
            if name in zero:
                continue
            if name not in ours:
                worst = max(worst, np.inf if norm > 0 else 0.0)
                continue
            mine = ours[name]
            if f"grad/{name}" in self.data:
                theirs = self.data[f"grad/{name}"]
            elif f"grad_every7/{name}" in self.data:
                theirs = self.data[f"grad_every7/{name}"]
                mine = mine.reshape(-1)[::7]
            else:
                theirs, mine = np.array(norm), np.linalg.norm(mine)
            scale = np.abs(theirs).max()
            difference = np.abs(mine - theirs).max()
            worst = max(worst, difference / scale if scale else difference)
        self._add("gradients", worst, GRADIENT)
        after = {k[6:]: v for k, v in self.data.items() if k[:6] == "after/"}
        if after:
            worst = 0.0
            for path, variable in weights_of(model).items():
                if "/moving_" in path:
                    mine = ops.convert_to_numpy(variable)
                    difference = np.abs(mine - after[names(path)]).max()
                    worst = max(worst, difference)
            self._add("moved statistics", worst, TOKENS)

    def check_parts(self, model, outputs):
        """Compares named intermediate tensors of a functional model.

        Args:
            model: the model.
            outputs: dict from array name to symbolic tensor.
        """
        parts = keras.Model(model.input, outputs)
        values = forward(parts, self.data["points"])
        for name, value in values.items():
            self.close(name, value, TOKENS)


CASES = {}
# The modules that register cases, with `case`.
CASE_MODULES = (
    "cases_point_mae",
    "cases_gft",
    "cases_methods",
    "cases_most",
    "cases_point_m2ae",
    "cases_point_peft",
    "cases_pretraining",
    "cases_segmentation",
    "cases_stag",
    "cases_trunks",
)


def case(pattern):
    """Registers the function that checks all cases named like `pattern`."""

    def register(function):
        CASES[pattern] = function
        return function

    return register


@telling("comparing with the recorded case")
def verify(directory, gradients=True):
    """Runs one case.

    Args:
        directory: path of the case.
        gradients: bool. Whether gradients are compared too, which takes most
            of the time.

    Returns:
        A list of `Check`s, or None if no code knows this case.
    """
    for module in CASE_MODULES:
        importlib.import_module(f"keras_pointpeft.verification.{module}")

    directory = pathlib.Path(directory)
    for pattern, function in CASES.items():
        if fnmatch.fnmatch(directory.name, pattern):
            recorded = Case(directory, gradients)
            function(recorded)
            return recorded.checks
    return None


def backbone_arguments(config):
    """Constructor arguments that all published configurations name."""
    # Of pre-training, they stand one level deeper.
    config = {**config, **config.get("transformer_config", {})}
    return {
        "num_groups": config["num_group"],
        "group_size": config["group_size"],
        "dim": config.get("trans_dim", config.get("embed_dim")),
        "depth": config["depth"],
        "num_heads": config["num_heads"],
        "skip_origin": True,
    }


def mean_cross_entropy(labels):
    """A loss function factory for `Case.check_gradients`."""

    def of(logits):
        losses = keras.losses.sparse_categorical_crossentropy(
            labels, logits, from_logits=True
        )
        return ops.mean(losses)

    return of


def check_classifier(recorded, model, training=False, **parts):
    """What every classification case compares.

    Args:
        recorded: the `Case`.
        model: our `PointCloudClassifier`, filled here.
        training: bool. Whether the case was recorded in training mode.
        **parts: further symbolic tensors by array name.
    """
    layout = layout_of(model)
    names = layout.parameter
    fill_layout(model, recorded.weights(), layout)
    recorded.check_counts(model, names)
    points = recorded.data["points"]
    backbone = model.backbone
    parts = {
        f"block_{i}": backbone.get_layer(f"block_{i}").output
        for i in range(backbone.depth)
    } | parts
    if not training:
        parts = {k: v for k, v in parts.items() if k in recorded.data}
        parts["pooled"] = model.token_pooling(backbone.output)
        recorded.check_parts(backbone, parts)
        recorded.close("logits", forward(model, points), LOGITS)
    if "grad_norms" in recorded.data:
        entropy = mean_cross_entropy(recorded.data["labels"])
        recorded.check_gradients(
            model, names, lambda call: entropy(call(points)), training
        )
