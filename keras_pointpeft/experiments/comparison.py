"""Methods compared: the same start, splits and budget for all."""

import ast
import math
import tempfile
import time
from dataclasses import dataclass
from dataclasses import field

import keras
import numpy as np
from rich.table import Table

from keras_pointpeft import peft
from keras_pointpeft import presets
from keras_pointpeft.experiments import cost
from keras_pointpeft.experiments import runs
from keras_pointpeft.files.progress import telling
from keras_pointpeft.presets import cards
from keras_pointpeft.presets import construction
from keras_pointpeft.presets import results
from keras_pointpeft.training import trainer

# The figure of the selected epoch that methods are compared by.
FIGURES = {
    "PointCloudClassifier": "best_accuracy",
    "PartSegmenter": "instance_miou",
    "SemanticSegmenter": "miou",
}


@dataclass(frozen=True)
class Entrant:
    """What takes part in a comparison.

    Attributes:
        preset: `keras_pointpeft.presets.PresetDescription`.
        changes: dict, arguments of the method that replace the preset's.
    """

    preset: presets.PresetDescription
    changes: dict = field(default_factory=dict)

    @classmethod
    def from_text(cls, text, backbone, dataset):
        """Reads `"pointpeft"`, or `"pointpeft:prior=False:bank_size=64"`.

        Args:
            text: string, a method of the zoo and, behind colons, arguments of
                its class. What is no Python literal is a string.
            backbone: string, a backbone of the zoo.
            dataset: string, a data set of the zoo.

        Raises:
            ValueError: for an unknown method, or text of another form.
            TypeError: for an argument that the method does not take.
        """
        method, *pairs = text.split(":")
        changes = {}
        for pair in pairs:
            name, equals, value = pair.partition("=")
            if not (name and equals and value):
                raise ValueError(
                    "A method with other arguments is written "
                    f"'method:argument=value'. Received: {text!r}"
                )
            changes[name] = _literal(value)
        preset = presets.resolve(f"{method}_{backbone}_{dataset}")
        entrant = cls(preset, changes)
        entrant.method()  # Errors show now, not after hours.
        return entrant

    def method(self):
        """A new instance of the method."""
        found = construction.find_class(self.preset.method_class, peft)
        return found(**{**self.preset.method_config, **self.changes})

    def model(
        self,
        recipe,
        train_split,
        test_split,
        weights="backbone",
        backbone_dir=None,
        num_classes=None,
    ):
        """A task with the method, as it starts; for the arguments see `run`."""
        return runs.build_model(
            self.preset,
            recipe,
            weights=weights,
            backbone_dir=backbone_dir,
            peft=self.method(),
            **runs.task_arguments(
                self.preset, train_split, test_split, num_classes
            ),
        )

    @property
    def text(self):
        """The preset's name, and what replaces the arguments of its method."""
        return " ".join(filter(None, (self.preset.name, self.changes_text)))

    @property
    def changes_text(self):
        return ", ".join(f"{k}={v}" for k, v in self.changes.items())


def _literal(text):
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def columns_for(preset) -> tuple:
    """The columns of a comparison's file on a preset's data set."""
    if preset.task_class == "PointCloudClassifier":
        return results.COMPARED
    return results.SEGMENTATION


def methods_for(backbone, dataset) -> list[str]:
    """The methods that the zoo has for a backbone and a data set."""
    names = presets.list_presets(f"*_{backbone}_{dataset}")
    found = [presets.resolve(name) for name in names]
    return [
        preset.method
        for preset in found
        if (preset.backbone, preset.dataset) == (backbone, dataset)
    ]


def backbone_of(directory) -> str:
    """The zoo's name of the backbone in a preset directory.

    Raises:
        ValueError: if the zoo has none like it.
    """
    model = presets.from_preset(directory, load_weights=False)
    model = getattr(model, "backbone", model)
    config = model.get_config()
    for name, card in cards.read_cards("backbones").items():
        same = card["class"] == type(model).__name__ and all(
            key in ("drop_path_rate", "skip_origin")
            or _plain(config[key]) == _plain(value)
            for key, value in card["config"].items()
        )
        if same:
            return name
    raise ValueError(
        "The zoo has no backbone of this kind and size. "
        f"Received: {str(directory)!r} with a {type(model).__name__}"
    )


def _plain(value):
    return list(value) if isinstance(value, tuple) else value


@telling("preparing a run")
def run(
    entrant,
    recipe,
    train_split,
    test_split,
    dataset,
    weights="backbone",
    backbone_dir=None,
    num_classes=None,
    limit=None,
    log_dir=None,
) -> dict:
    """Trains and measures one method from one seed.

    Args:
        entrant: `Entrant`.
        recipe: `Recipe`; its seed decides what is drawn at random.
        train_split: `keras_pointpeft.data.Split`, or a list of rooms.
        test_split: the same.
        dataset: string, the data set's name in the result.
        weights: see `runs.build_model`.
        backbone_dir: likewise.
        num_classes: optional int, see `runs.task_arguments`.
        limit: int or None, what the splits were limited to, for the result.
        log_dir: optional directory for the run's state, from which it goes on
            if it was interrupted, see `trainer.train`. The seconds of the
            result are then those of its epochs' training alone.

    Returns:
        A row with the columns of `columns_for`.
    """
    preset = entrant.preset
    model = entrant.model(
        recipe, train_split, test_split, weights, backbone_dir, num_classes
    )
    runs.prepare(model, train_split, recipe)
    begin = time.perf_counter()
    start = backbone_dir or weights
    result = trainer.train(
        model,
        train_split,
        test_split,
        recipe,
        log_dir=log_dir,
        about={"backbone": start},
    )
    seconds = time.perf_counter() - begin
    if log_dir is not None:
        # Some of them may have been in an earlier process.
        seconds = sum(epoch["seconds"] for epoch in result.history)
    with tempfile.TemporaryDirectory() as folder:
        adapter_bytes = model.save_adapter(folder)
    row = runs.result_row(
        preset,
        recipe,
        result,
        dataset,
        adapter_bytes,
        seconds,
        start,
        limit,
    )
    row["changes"] = entrant.changes_text
    row["best_epoch"] = result.best_epoch + 1
    if columns_for(preset) is not results.COMPARED:
        return row
    steps = math.ceil(result.train_clouds / recipe.batch_size)
    return {
        **row,
        "mean_class_accuracy": round(100 * result.mean_class_accuracy, 2),
        "step_seconds": round(result.seconds_per_epoch / steps, 4),
        "memory_bytes": _memory(model, train_split, recipe),
    }


def _memory(model, split, recipe):
    if keras.backend.backend() != "torch":
        return None
    points = split.points[: recipe.batch_size, : recipe.num_points]
    if split.channels is not None:
        beside = split.channels[: recipe.batch_size, : recipe.num_points]
        points = np.concatenate([points, beside], axis=-1)
    return cost.kept_for_backward(
        model, points, split.labels[: recipe.batch_size]
    )


def known(rows, entrant, recipe, dataset, weights, limit=None) -> bool:
    """Whether there is a row of this run, by the arguments of `run`."""
    wanted = {
        "preset": entrant.preset.name,
        "changes": entrant.changes_text,
        "dataset": dataset,
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "selection": recipe.selection,
        "protocol": runs.protocol_of(recipe, entrant.preset, limit),
        "weights": weights,
    }
    return results.find(rows, wanted) is not None


def summary(rows, figure="best_accuracy") -> list[dict]:
    """One entry per method, averaged over the seeds, best first.

    Args:
        rows: list of dicts, as `results.read` gives.
        figure: string, the column of the selected epoch's figure; there is
            one of the last epoch for accuracy alone.

    Returns:
        The groups of `results.summarise`, each with `"method"` (the preset's
        first word and what was changed), `"best_epoch"`, `"step_seconds"` and
        `"memory_bytes"` (means), and `"mean"` and `"std"` of the last epoch
        if it is known, else of the selected one.
    """
    entries = []
    last = "last_accuracy" if figure == "best_accuracy" else None
    for group in results.summarise(rows, last, figure):
        kind = "last" if last else "best"
        group["mean"], group["std"] = (
            group[f"{kind}_mean"],
            group[f"{kind}_std"],
        )
        own = [
            row
            for row in rows
            if all(str(row[k]) == group[k] for k in results.GROUP)
        ]
        for name in ("best_epoch", "step_seconds", "memory_bytes"):
            values = [float(row[name]) for row in own if row.get(name)]
            group[name] = sum(values) / len(values) if values else None
        name = group["preset"].partition("_")[0]
        changes = group["changes"]
        group["method"] = f"{name} ({changes})" if changes else name
        entries.append(group)
    return sorted(entries, key=lambda entry: -entry["mean"])


def table(entries, title) -> Table:
    """A summary as a table to print."""
    shown = Table(title=title)
    heads = (
        "method",
        "last epoch",
        "best epoch",
        "at",
        "trained",
        "adapter kB",
        "step ms",
        "memory MB",
    )
    for head in heads:
        shown.add_column(head, justify="left" if head == "method" else "right")
    for entry in entries:
        shown.add_row(
            entry["method"],
            spread(entry["last_mean"], entry["last_std"]),
            spread(entry["best_mean"], entry["best_std"]),
            _number(entry["best_epoch"], 1, ".1f"),
            f"{int(entry['trained_parameters']):,}",
            _number(float(entry["adapter_bytes"]), 1e-3, ",.0f"),
            _number(entry["step_seconds"], 1e3, ",.0f"),
            _number(entry["memory_bytes"], 1e-6, ",.0f"),
        )
    return shown


def _number(value, factor, form):
    return "-" if value is None else format(value * factor, form)


def spread(mean, std):
    """A mean and its deviation, each of which may be None, in words."""
    if mean is None:
        return "-"
    return f"{mean:.2f}" if std is None else f"{mean:.2f} ± {std:.2f}"


def figure_entries(entries) -> list[dict]:
    """A summary as `keras_pointpeft.reports.pareto` takes it."""
    return [
        {
            "name": entry["method"],
            "trained_parameters": int(entry["trained_parameters"]),
            "mean": entry["mean"],
            "std": entry["std"],
        }
        for entry in entries
    ]
