"""Preset names, and what they stand for.

A preset is the product of three cards of the zoo, a method, a backbone and a
data set: `dapt_pointmae_scanobjectnn`. A backbone and the set that it was
pre-trained on is a preset too: `pointmae_shapenet`.
"""

import difflib
import fnmatch
import functools
from dataclasses import dataclass
from dataclasses import field

from keras_pointpeft.presets import cards

TASKS = {
    "classification": "PointCloudClassifier",
    "part_segmentation": "PartSegmenter",
    "semantic_segmentation": "SemanticSegmenter",
}


@dataclass(frozen=True)
class PresetDescription:
    """What a preset's name stands for, with all cards merged.

    Attributes:
        name: string, the preset.
        backbone: string, the backbone's card.
        backbone_class: string, a class of `keras_pointpeft.models`, or
            `"package>Class"` as registered with Keras.
        backbone_config: dict, its constructor arguments.
        pretrained: string, the preset of the pre-trained backbone alone.
        method: string, the method's card, or `None` for a backbone alone;
            so are all fields from here on but `num_points` and `weights`.
        method_class: string, a class of `keras_pointpeft.peft`, likewise.
        method_config: dict, its constructor arguments.
        dataset: string, the data set's card.
        task_class: string, a class of `keras_pointpeft.models`.
        task_config: dict, its constructor arguments.
        num_points: int, points per cloud that the preset is made for.
        class_names: tuple of strings; the position is the label.
        loader: string, the name for `keras_pointpeft.data.load`.
        recipe: dict, how the preset is trained.
        protocol: dict, how published figures on the data set were measured.
        trained_parameters: int or `None`, how many parameters train.
        weights: dict, the entry of `weights.json`, or `None`.

    Example:
    ```python
    preset = keras_pointpeft.presets.resolve("dapt_pointmaetiny_shapes")
    preset.method, preset.backbone_class  # "dapt", "PointMAEBackbone"
    ```
    """

    name: str
    backbone: str
    backbone_class: str
    backbone_config: dict
    pretrained: str
    method: str | None = None
    method_class: str | None = None
    method_config: dict = field(default_factory=dict)
    dataset: str | None = None
    task_class: str | None = None
    task_config: dict = field(default_factory=dict)
    num_points: int | None = None
    class_names: tuple = ()
    loader: str | None = None
    recipe: dict = field(default_factory=dict)
    protocol: dict = field(default_factory=dict)
    trained_parameters: int | None = None
    weights: dict | None = None


def list_presets(pattern="*"):
    """Lists the names of the built-in presets.

    Args:
        pattern: string with the wildcards `*`, `?` and `[...]`.

    Returns:
        A sorted list of strings.

    Example:
    ```python
    keras_pointpeft.list_presets("dapt_*")
    ```
    """
    return sorted(fnmatch.filter(products(cards.folders()), pattern))


def add_cards(folder):
    """Adds a folder of cards to those of the zoo.

    Its cards and those of the zoo multiply: a new backbone has all methods,
    and a new method all backbones. A card names classes of other packages as
    they are registered with Keras, `"package>Class"`; they must have been
    imported when a preset is built.

    Args:
        folder: path of a folder with any of `backbones/`, `methods/` and
            `datasets/`, of JSON cards like those in the zoo, and, if there
            are weights, `weights.json` and `weights/`.

    Raises:
        ValueError: if a card is not valid, or has a name that is taken. No
            card of the folder is added then.

    Example:
    ```python
    keras_pointpeft.presets.add_cards("my_zoo")
    keras_pointpeft.list_presets("mymethod_*")
    ```
    """
    cards.add(folder)


def resolve(name):
    """Says what a built-in preset's name stands for.

    Args:
        name: string, one of `list_presets()`.

    Returns:
        A `PresetDescription`.

    Raises:
        ValueError: if there is no such preset; names those that are close.

    Example:
    ```python
    preset = keras_pointpeft.presets.resolve("dapt_pointmae_modelnet40")
    preset.method_config["rank"]  # 72
    ```
    """
    known = products(cards.folders())
    if name not in known:
        raise unknown_name(name, "built-in preset")
    method, backbone, dataset = known[name]
    if method is None:
        return _describe_backbone(name, backbone)
    return _describe_product(name, method, backbone, dataset)


@functools.cache
def products(folders):
    """All presets: name to names of (method, backbone, data set)."""
    backbones, methods, datasets = map(cards.read_cards, cards.KINDS)
    made = {}
    for backbone, trunk in backbones.items():
        alone = f"{backbone}_{trunk['pretrained_on']}"
        made[alone] = (None, backbone, None)
        for dataset, data in datasets.items():
            suits = (
                data["tier"] == trunk["tier"] and data["task"] in trunk["tasks"]
            )
            for method, how in methods.items():
                known = backbone in how.get("backbones", backbones)
                if suits and known and data["task"] in how["tasks"]:
                    name = f"{method}_{backbone}_{dataset}"
                    made[name] = (method, backbone, dataset)
    return made


def unknown_name(name, what):
    names = list_presets()
    close = difflib.get_close_matches(str(name), names, n=5, cutoff=0.5)
    hint = f"Did you mean {', '.join(close)}? " if close else ""
    return ValueError(
        f"There is no {what} of this name. {hint}See "
        f"`keras_pointpeft.list_presets()`. Received: {name!r}"
    )


def _describe_backbone(name, backbone):
    card = cards.read_cards("backbones")[backbone]
    return PresetDescription(
        name=name,
        backbone=backbone,
        backbone_class=card["class"],
        backbone_config=dict(card["config"]),
        pretrained=name,
        weights=cards.read_weights().get(name),
    )


def _describe_product(name, method, backbone, dataset):
    trunk = cards.read_cards("backbones")[backbone]
    how = cards.read_cards("methods")[method]
    data = cards.read_cards("datasets")[dataset]
    # What the method's card says of this backbone and data set comes last.
    of_task = trunk.get("by_task", {}).get(data["task"], {})
    merged = {
        "config": dict(how["config"]),
        "backbone": {
            **trunk["config"],
            **trunk.get("by_num_points", {}).get(str(data["num_points"]), {}),
            **of_task.get("backbone", {}),
        },
        "model": {
            "num_classes": data["num_classes"],
            **of_task.get("model", {}),
            **data.get("model", {}),
        },
        "recipe": dict(data["recipe"]),
    }
    chosen = {"backbone": backbone, "dataset": dataset}
    for override in how.get("overrides", ()):
        if all(
            fnmatch.fnmatchcase(chosen[key], pattern)
            for key, pattern in override["when"].items()
        ):
            for part, values in merged.items():
                values.update(override.get(part, {}))
    counts = how.get("trained_parameters", {})
    return PresetDescription(
        name=name,
        backbone=backbone,
        backbone_class=trunk["class"],
        backbone_config=merged["backbone"],
        pretrained=f"{backbone}_{trunk['pretrained_on']}",
        method=method,
        method_class=how["class"],
        method_config=merged["config"],
        dataset=dataset,
        task_class=TASKS[data["task"]],
        task_config=merged["model"],
        num_points=data["num_points"],
        class_names=tuple(data.get("class_names", ())),
        loader=data.get("loader"),
        recipe=merged["recipe"],
        protocol=dict(data.get("protocol", {})),
        trained_parameters=counts.get(f"{backbone}_{dataset}"),
        weights=cards.read_weights().get(name),
    )
