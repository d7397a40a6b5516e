"""Runs of presets: their splits, their model, their row in a result file."""

import dataclasses
import datetime

import keras
import numpy as np

from keras_pointpeft import data
from keras_pointpeft import presets
from keras_pointpeft.adapters.copying import copy_weights
from keras_pointpeft.data import augmentation
from keras_pointpeft.data import procedural
from keras_pointpeft.peft import PriorBank
from keras_pointpeft.peft.point_peft.prior import prior_layer
from keras_pointpeft.presets import results
from keras_pointpeft.step import losses
from keras_pointpeft.training import budget
from keras_pointpeft.training import segmentation
from keras_pointpeft.training.recipe import Recipe
from keras_pointpeft.version import __version__

WEIGHTS = ("backbone", "random")


def load_split(
    preset, split, data_dir=None, dataset=None, limit=None, **options
):
    """Loads a split of a preset's data set.

    Args:
        preset: `keras_pointpeft.presets.PresetDescription`, or None with
            `dataset`.
        split: string, such as `"train"` or `"test"`.
        data_dir: string or None, where the files are. The procedural shapes
            have none.
        dataset: string or None, one of `keras_pointpeft.data.list_datasets()`
            in place of the preset's: own clouds are `"h5"` or `"folder"`.
        limit: int or None. At most so many clouds, spread over the split.
        **options: arguments of the data set's loader.

    Returns:
        `keras_pointpeft.data.Split`; of scenes, a list of
        `keras_pointpeft.data.Room`.

    Raises:
        ValueError: if `data_dir` is missing, or not wanted.
        FileNotFoundError: names the files that were expected.
    """
    dataset = dataset or preset.loader
    # Made one by one: those that are not wanted need not be made.
    if dataset == "shapes" and limit is not None:
        count = min(limit, procedural.SPLITS[split][0])
        options = {**options, "num_clouds": count}
    if dataset == "rooms" and limit is not None:
        count = min(limit, procedural.ROOM_SPLITS[split][0])
        options = {**options, "num_rooms": count}
    loaded = data.load(dataset, data_dir, split, **options)
    if limit is not None and limit < len(loaded):
        chosen = np.linspace(0, len(loaded) - 1, limit).round().astype(int)
        if isinstance(loaded, list):
            return [loaded[i] for i in chosen]
        loaded = loaded.take(chosen)
    return loaded


def load_splits(preset, data_dir=None, dataset=None, limit=None, **options):
    """Training and test split, in which labels and colours mean the same.

    Args:
        preset, data_dir, dataset, limit, **options: see `load_split`.

    Returns:
        `(train, test)`. Classes of the test split have the numbers of the
        training split, and its colours are scaled like those.
    """
    where = (data_dir, dataset, limit)
    train = load_split(preset, "train", *where, **options)
    source = (train[0] if isinstance(train, list) else train).source or {}
    if source.get("color_range") is not None:
        options = {**options, "color_range": source["color_range"]}
    test = load_split(preset, "test", *where, **options)
    return train, matched(test, train)


def recipe_for(preset, **changes) -> Recipe:
    """The recipe of a preset.

    Args:
        preset: `keras_pointpeft.presets.PresetDescription`.
        **changes: arguments of `Recipe` that replace the preset's, see
            `Recipe.from_dict`; None leaves them.
    """
    changes = {k: v for k, v in changes.items() if v is not None}
    changes.setdefault("num_points", preset.num_points)
    return Recipe.from_dict(preset.recipe, **changes)


def for_own_data(recipe, split, changes) -> Recipe:
    """A preset's recipe for own clouds: small sets need another one.

    Args:
        recipe: `Recipe`, the preset's.
        split: the training split; of scenes, columns count.
        changes: dict, what a user has chosen of it; that stays.
    """
    return budget.suited(
        recipe,
        budget.size_of(split, recipe),
        length=not {"epochs", "updates"} & set(changes),
        batches="batch_size" not in changes,
    )


def matched(split, train_split):
    """A split with the labels of the training split, class by class."""
    if isinstance(split, list):
        return split
    return split.with_classes(train_split.class_names, train_split.part_names)


def names_of_points(preset, num_classes=None) -> dict:
    """Names of the classes of points in a preset's scenes, if they are its."""
    own = preset.task_config.get("num_classes")
    scenes = preset.task_class == "SemanticSegmenter"
    if not scenes or num_classes not in (None, own) or not preset.class_names:
        return {}
    return {"part_names": preset.class_names}


def contract_for(model, preset=None):
    """What a model was trained on, by itself or else by its preset's card."""
    contract = model.contract
    known = preset is not None and preset.weights is not None
    names = () if preset is None else preset.class_names
    if contract.class_names or not known or len(names) != model.num_classes:
        return contract
    return contract.told(
        class_names=tuple(names),
        num_points=contract.num_points or preset.num_points,
        preset=preset.name,
    )


def task_arguments(preset, train_split, test_split, num_classes=None) -> dict:
    """What a preset's task must be told of the data, if they are others.

    Args:
        preset: `keras_pointpeft.presets.PresetDescription`.
        train_split: `keras_pointpeft.data.Split`, or a list of rooms.
        test_split: the same. Of parts, it may have some that the training
            split has not.
        num_classes: optional int. Of scenes, the preset's by default.

    Returns:
        dict of constructor arguments of the preset's task and backbone.
    """
    scenes = isinstance(train_split, list)
    beside = (train_split[0] if scenes else train_split).channels
    told = {} if beside is None else {"extra_channels": beside.shape[-1]}
    if preset.task_class == "PartSegmenter":
        return {**told, **part_arguments(train_split, test_split)}
    if preset.task_class == "SemanticSegmenter":
        labels = [room.labels for room in train_split]
        count = num_classes or preset.task_config["num_classes"]
        return {
            **told,
            "num_classes": count,
            "class_weights": losses.class_weights(labels, count),
        }
    return {**told, "num_classes": train_split.num_classes}


def part_arguments(*splits) -> dict:
    """Numbers of parts and categories, and which has which, of splits."""
    categories = splits[0].num_classes
    parts = [set() for _ in range(categories)]
    for split in splits:
        if split.part_labels is None:
            raise ValueError(
                "Part segmentation needs clouds with part labels. "
                f"Received: {split.name}, which has none"
            )
        for label, own in zip(split.labels, split.part_labels):
            parts[label].update(np.unique(own[own >= 0]).tolist())
    names = splits[0].part_names
    most = 1 + max(max(own, default=0) for own in parts)
    return {
        "num_classes": most if names is None else len(names),
        "num_categories": categories,
        # A category without clouds still needs a part.
        "category_parts": tuple(tuple(sorted(own)) or (0,) for own in parts),
    }


def build_model(
    preset,
    recipe,
    num_classes=None,
    weights="backbone",
    backbone_dir=None,
    **arguments,
):
    """Builds a preset's model as training starts from it.

    Args:
        preset: `keras_pointpeft.presets.PresetDescription`.
        recipe: `Recipe`; its seed decides what is drawn at random.
        num_classes: optional int. The preset's by default.
        weights: `"backbone"` for the pre-trained backbone, `"random"` for
            none.
        backbone_dir: string or None, a preset directory of the same backbone
            whose weights are taken instead, as `scripts/pretrain.py` writes.
        **arguments: further arguments of the task, see `task_arguments`.

    Returns:
        A task such as `keras_pointpeft.models.PointCloudClassifier`.
    """
    if weights not in WEIGHTS:
        raise ValueError(
            f"`weights` must be one of {WEIGHTS}. Received: weights={weights!r}"
        )
    if num_classes is not None:
        arguments["num_classes"] = num_classes
    keras.utils.set_random_seed(recipe.seed)
    pretrained = weights == "backbone" and backbone_dir is None
    model = presets.from_preset(
        preset.name,
        load_weights="backbone" if pretrained else False,
        dtype=recipe.dtype,
        **arguments,
    )
    model.backbone.remat = recipe.remat
    if backbone_dir is not None:
        source = presets.from_preset(backbone_dir)
        source = getattr(source, "backbone", source)
        _check_same_backbone(source, model.backbone, backbone_dir)
        copy_weights(source, model.backbone)
    return model


def build_bank(model, split, recipe, source=None, **options):
    """Makes Point-PEFT's bank from a split, sampled as in evaluation.

    Args:
        model: a task.
        split: `keras_pointpeft.data.Split`; of rooms, random columns.
        recipe: `Recipe`.
        source: string or None, the split's name for the bank's recipe.
        **options: arguments of `keras_pointpeft.peft.PriorBank.build`.

    Returns:
        `keras_pointpeft.peft.PriorBank`.
    """
    if isinstance(split, list):
        split = columns(split, recipe)
    clouds = data.PointCloudDataset(
        split.points,
        split.labels,
        batch_size=options.pop("batch_size", recipe.batch_size),
        num_points=recipe.num_points,
        sampling=recipe.evaluation_sampling,
    )
    return PriorBank.build(model, clouds, source=source, **options)


def columns(rooms, recipe) -> data.Split:
    """An epoch's random columns of rooms as clouds, all of one class."""
    points, _ = segmentation.fixed_columns(rooms, recipe)
    return data.Split(points, np.zeros(len(points)), ("column",))


def prepare(model, split, recipe):
    """Gives a model's method what it needs of the training set.

    That is Point-PEFT's bank, if the model reads one and has none yet. If it
    has not room for all clouds, as many of each class are taken.

    Args:
        model: a task.
        split: the training split.
        recipe: `Recipe`.
    """
    layer = prior_layer(model.backbone)
    if layer is None or layer.filled:
        return
    bank = build_bank(model, split, recipe, source="training split")
    if len(bank) > layer.bank_size:
        bank = bank.sample(layer.bank_size, "class_balanced", recipe.seed)
    bank.attach(model)


def result_row(
    preset,
    recipe,
    result,
    dataset,
    adapter_bytes,
    seconds,
    weights,
    limit=None,
) -> dict:
    """A run as a row for `keras_pointpeft.presets.results.append_row`.

    Of segmentation, it has the columns `results.SEGMENTATION`.
    """
    # What goes on from a state may have kept another schedule.
    run = dataclasses.replace(recipe, schedule=result.schedule)
    figures = {
        "last_accuracy": round(100 * result.last_accuracy, 2),
        "best_accuracy": round(100 * result.best_accuracy, 2),
    }
    if preset.task_class != "PointCloudClassifier":
        figures = {
            name: round(100 * value, 2)
            for name, value in result.figures.items()
        }
    return {
        "preset": preset.name,
        "dataset": dataset,
        "seed": recipe.seed,
        "epochs": len(result.history),
        **figures,
        "selection": result.selection,
        "protocol": protocol_of(run, preset, limit),
        "trained_parameters": result.trained_parameters,
        "adapter_bytes": adapter_bytes,
        "seconds": round(seconds, 1),
        "train_clouds": result.train_clouds,
        "test_clouds": result.test_clouds,
        "weights": weights,
        **origin(),
    }


def result_columns(preset) -> tuple:
    """The columns of the result file that a preset's runs belong to."""
    if preset.task_class == "PointCloudClassifier":
        return results.MEASURED
    return results.SEGMENTATION


# What decides a figure and has no column: told where it is not the preset's.
_TOLD_IF_CHANGED = (
    "sampling",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "gradient_accumulation",
    "dtype",
    "precision",
)


def protocol_of(recipe, preset, limit=None) -> str:
    """How a run was trained and measured, in words for a result file.

    Args:
        recipe: `Recipe` of the run.
        preset: `keras_pointpeft.presets.PresetDescription`, whose own recipe
            goes without saying.
        limit: int or None, see `load_split`.
    """
    own = recipe_for(preset)
    classifies = preset.task_class == "PointCloudClassifier"
    scenes = preset.task_class == "SemanticSegmenter"
    protocol = augmentation.in_words(recipe.augmentation)
    if not classifies or recipe.num_points != own.num_points:
        protocol += f", {recipe.num_points} points"
    if scenes:
        protocol += f", columns of {recipe.column_size:g} m, whole rooms"
    if recipe.double_step:
        protocol += ", two steps per batch"
    if recipe.votes > 1:
        protocol += f", {recipe.votes} votes"
    if recipe.moves_by == "update":
        protocol += ", rate by update"
    for name in _TOLD_IF_CHANGED:
        value = getattr(recipe, name)
        if value != getattr(own, name):
            protocol += f", {name.replace('_', ' ')} {value}"
    if recipe.class_weights is not None:
        protocol += ", weighted classes"
    if recipe.balanced_sampling:
        protocol += ", classes equally often"
    if limit is not None:
        protocol += f", of {limit} {'rooms' if scenes else 'clouds'}"
    return protocol


def dataset_name(dataset, test_area=None) -> str:
    """A data set's name in a result file, with the area tested on if given."""
    return dataset if test_area is None else f"{dataset}_area{test_area}"


def origin() -> dict:
    """Columns of a result that say where, when and by what it was measured."""
    return {
        "backend": keras.backend.backend(),
        "device": device_name(),
        "version": __version__,
        "date": datetime.date.today().isoformat(),
    }


def device_name() -> str:
    """The kind of device that the backend computes on."""
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name()
    elif backend == "tensorflow":
        import tensorflow as tf

        devices = tf.config.list_physical_devices("GPU")
        if devices:
            details = tf.config.experimental.get_device_details(devices[0])
            return details.get("device_name", "gpu")
    elif backend == "jax":
        import jax

        if jax.default_backend() != "cpu":
            return jax.devices()[0].device_kind
    return "cpu"


def _check_same_backbone(source, target, where):
    theirs, ours = source.get_config(), target.get_config()
    ignored = (
        "peft",
        "name",
        "trainable",
        "dtype",
        "drop_path_rate",
        "use_class_token",
        # What is computed does not depend on it.
        "remat",
    )
    if not theirs.get("extra_channels"):
        # What they are worth is learnt from nothing.
        ignored += ("extra_channels",)
    different = [
        f"{name}: {theirs.get(name)!r} there, {value!r} here"
        for name, value in ours.items()
        if name not in ignored and theirs.get(name) != value
    ]
    if type(source) is not type(target):
        different = [f"{type(source).__name__}, not {type(target).__name__}"]
    if different:
        raise ValueError(
            "The backbone in the directory is not the preset's. "
            f"Received: {where} with {'; '.join(different)}"
        )
