"""Reports of run folders, as `scripts/train.py` writes them, and of tasks."""

import csv
import dataclasses
import importlib.util
import pathlib

import numpy as np

from keras_pointpeft import presets
from keras_pointpeft.data.contract import Contract
from keras_pointpeft.experiments import runs
from keras_pointpeft.files.preset_folder import read_json
from keras_pointpeft.files.progress import telling
from keras_pointpeft.files.whole import whole_folder
from keras_pointpeft.reports import findings
from keras_pointpeft.reports import html
from keras_pointpeft.reports import png
from keras_pointpeft.training.recipe import Recipe

# Modules that a report imports, and the packages that they come with.
NEEDED = {
    "matplotlib": "matplotlib",
    "plotly": "plotly",
    "sklearn": "scikit-learn",
}


def missing_packages():
    """Names of the packages that a report needs and that are missing."""
    return [
        package
        for module, package in NEEDED.items()
        if importlib.util.find_spec(module) is None
    ]


def read_run(folder) -> dict:
    """What `result.json` of a run folder says.

    Args:
        folder: path.

    Returns:
        dict.

    Raises:
        FileNotFoundError: if it is no run folder, or the run has not ended.
        ValueError: if its `result.json` is damaged, or was written by a
            version without reports.
    """
    folder = pathlib.Path(folder)
    for name in ("result.json", "adapter"):
        if not (folder / name).exists():
            raise FileNotFoundError(
                f"A run folder has a {name}; scripts/train.py writes it at "
                f"the end of a run. Received: {str(folder)!r}"
            )
    run = read_json(folder / "result.json")
    if "arguments" not in run:
        raise ValueError(
            "This run does not say what it was started with: it was written "
            "before there were reports. Train it again. Received: "
            f"{str(folder / 'result.json')!r}"
        )
    return run


def load_splits(run, data_dir=None):
    """Training and test split of a run.

    Args:
        run: dict, see `read_run`.
        data_dir: string or None, where the files are now. By default where
            they were.

    Raises:
        ValueError: if the run does not say what it was started with.
    """
    preset, told = presets.resolve(run["preset"]), run["arguments"]
    names = ("test_area", "on_bad", "num_points", "up_axis")
    names += ("bin_columns", "class_names", "channels")
    options = {name: told.get(name) for name in names}
    options = {k: v for k, v in options.items() if v is not None}
    return runs.load_splits(
        preset,
        data_dir or told["data"],
        told["dataset"],
        told["limit"],
        **options,
    )


def describe(folder, train_split, test_split):
    """Rebuilds a run's model as it was before and after, and looks at it.

    Args:
        folder: path of the run folder.
        train_split: the split that it was trained on.
        test_split: the split that it was measured on.

    Returns:
        `keras_pointpeft.reports.findings.Findings`.
    """
    folder = pathlib.Path(folder)
    run = read_run(folder)
    preset, told = presets.resolve(run["preset"]), run["arguments"]
    recipe = Recipe.from_dict(run["recipe"])
    model = runs.build_model(
        preset,
        recipe,
        weights=told["weights"],
        backbone_dir=told["backbone"],
        **runs.task_arguments(
            preset, train_split, test_split, told["num_classes"]
        ),
    )
    # Full fine-tuning changes the backbone itself, so that its features are
    # computed before the tuned weights are loaded.
    contract = Contract.from_dict(run.get("contract"))
    names = contract.part_names if run.get("contract") else preset.class_names
    given = findings.samples(model, test_split, recipe, names)
    before = _features(model.backbone, given, recipe)
    live = findings.live_parts_of(model.backbone, given)
    model.load_adapter(folder / "adapter")
    return findings.collect(
        model,
        given,
        before,
        train_split,
        recipe,
        f"{run['preset']}, seed {recipe.seed}",
        live=live,
        facts=[
            *_facts(run, contract),
            ("adapter", f"{run['adapter_bytes'] / 1e6:.2f} MB"),
            ("started from", told["backbone"] or told["weights"]),
        ],
        history=read_log(folder / "log.csv"),
    )


@telling("writing the report")
def write_report(folder, train_split, test_split, output=None):
    """Writes `report.html` and a folder `figures` of PNG files.

    Args:
        folder: path of the run folder.
        train_split: the split that it was trained on.
        test_split: the split that it was measured on.
        output: path to write to. By default the run folder.

    Returns:
        path of the page.

    Raises:
        ImportError: if a package of the extra `viz` is missing.

    Example:
    ```python
    from keras_pointpeft import reports

    splits = reports.load_splits(reports.read_run("runs/my_run"))
    reports.write_report("runs/my_run", *splits)
    ```
    """
    _check_packages()
    found = describe(folder, train_split, test_split)
    return _write(found, folder if output is None else output)


@telling("writing the report")
def write_task_report(
    model, result, train_split, test_split, recipe, output, title=None
):
    """Writes the same of a task in memory, as `train` has left it.

    Where all of the backbone was trained, nothing is left to show the features
    of before.

    Args:
        model: the task.
        result: `keras_pointpeft.training.TrainingResult` of its training.
        train_split: the split that it was trained on.
        test_split: the split that it was measured on.
        recipe: `keras_pointpeft.training.Recipe`, of its training.
        output: path of the folder to write to.
        title: optional string.

    Returns:
        path of the page.

    Raises:
        ImportError: if a package of the extra `viz` is missing.

    Example:
    ```python
    from keras_pointpeft import reports

    result = training.train(model, train, test, recipe)
    reports.write_task_report(model, result, train, test, recipe, "report")
    ```
    """
    _check_packages()
    given = findings.samples(model, test_split, recipe)
    before, peft = None, model.backbone.peft
    if peft is not None and not peft.replaces_base:
        with model.disable_adapters() as base:
            before = _features(base, given, recipe)
    found = findings.collect(
        model,
        given,
        before,
        train_split,
        recipe,
        title or f"{model.name}, seed {recipe.seed}",
        facts=_facts(dataclasses.asdict(result), model.contract),
        history=result.history,
    )
    return _write(found, output)


def _features(backbone, given, recipe):
    # It sees places alone, without what points have beside them.
    points = given.points[given.some][..., :3]
    return backbone.frozen_pass().predict(
        points, batch_size=recipe.batch_size, verbose=0
    )


def _check_packages():
    if missing := missing_packages():
        raise ImportError(
            "A report needs `pip install keras-pointpeft[viz]`. "
            f"Received: no {', '.join(missing)}"
        )


def _write(found, output):
    with whole_folder(output) as made:
        html.write(found, made / "report.html")
        png.write(found, made / "figures")
    return pathlib.Path(output) / "report.html"


def read_log(path) -> list:
    """The epochs of a `log.csv`, as dicts of floats; empty cells left out."""
    with open(path, newline="", encoding="utf-8") as file:
        return [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(file)
        ]


def _facts(run, contract):
    """What the page says first: figures, epochs, and where they are from."""
    selection = {
        "held_out": "the best on a held-out part of the training split",
        "best_on_test": "the best on the test split, which flatters",
        "last": "the last",
    }[run["selection"]]
    last, chosen = len(run["history"]), run["best_epoch"] + 1
    rows = []
    for name, value in run["figures"].items():
        text = f"{100 * value:.2f} %"
        if chosen != last:
            other = 100 * run["last_figures"][name]
            text += f" (after the last epoch, {last}: {other:.2f} %)"
        rows.append((name.replace("_", " "), text))
    seconds = np.round(run["seconds_per_epoch"], 2)
    known = {
        "data set": contract.data or contract.dataset,
        "protocol": contract.protocol,
        "date": contract.date,
        "command": contract.command,
        "version of keras_pointpeft": contract.version,
    }
    return [
        *rows,
        ("weights", f"of epoch {chosen} of {last}, {selection}"),
        *((name, text) for name, text in known.items() if text),
        ("votes", str(run["votes"])),
        ("test clouds or rooms", f"{run['test_clouds']:,}"),
        ("training clouds or rooms", f"{run['train_clouds']:,}"),
        ("seconds per epoch", str(seconds)),
    ]
