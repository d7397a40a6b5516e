"""The cards of the zoo: where they are and what they say."""

import functools
import json
from pathlib import Path

KINDS = ("backbones", "methods", "datasets")
# Fields of a card: those it must have, and those it may have.
FIELDS = {
    "backbones": (
        ("title", "class", "pretrained_on", "tier", "tasks", "config"),
        ("paper", "by_num_points", "by_task", "parameters", "note"),
    ),
    "methods": (
        ("title", "class", "tasks", "config"),
        ("paper", "backbones", "overrides", "trained_parameters", "note"),
    ),
    "datasets": (
        ("title", "task", "tier", "num_points", "num_classes", "recipe"),
        (
            "paper",
            "class_names",
            "loader",
            "protocol",
            "model",
        ),
    ),
    "weights": (
        ("format",),
        (
            "file",
            "url",
            "browser",
            "stage",
            "sha256",
            "licence",
            "source",
            "accuracy",
            "protocol",
            "note",
        ),
    ),
    "overrides": (
        ("when",),
        ("config", "backbone", "model", "recipe", "note"),
    ),
}
FORMATS = ("pth", "keras", "adapter")
# What a file of weights has been through.
STAGES = ("pre-trained", "post-pre-trained", "fine-tuned")
# Folders like the zoo's that stand beside it; see `presets.add_cards`.
_added = []


@functools.cache  # asked several times for each preset
def zoo_directory():
    """Returns the folder of the zoo, installed or in the repository."""
    package = Path(__file__).parents[1]
    for folder in (package / "zoo", package.parent / "zoo"):
        if (folder / "weights.json").is_file():
            return folder
    raise FileNotFoundError(
        "The zoo's cards are missing from this installation of "
        f"keras_pointpeft. Received: no zoo beside or in {package}"
    )


def folders():
    """Returns the zoo's folder and those that were added, as a tuple."""
    return (zoo_directory(), *_added)


def add(folder):
    """Adds a folder of cards; see `keras_pointpeft.presets.add_cards`."""
    folder = Path(folder).resolve()
    if not any((folder / kind).is_dir() for kind in KINDS):
        raise ValueError(
            f"A folder of cards has one of the folders {KINDS}. "
            f"Received: {str(folder)!r}"
        )
    if folder in _added:
        return
    _added.append(folder)
    try:
        for kind in KINDS:
            read_cards(kind)
        read_weights()
    except ValueError:
        _added.remove(folder)
        raise


def read_cards(kind):
    """Returns all cards of one kind.

    A data set's card may say `"extends"` and another card's name: it then
    has that card's fields, except those that it names itself.

    Args:
        kind: `"backbones"`, `"methods"` or `"datasets"`.

    Returns:
        dict from a card's name to its fields, sorted by name.

    Raises:
        ValueError: if a card lacks a field or has an unknown one, or if two
            cards have the same name.
    """
    return _read_cards(folders(), kind)


def read_weights():
    """Returns `weights.json`: dict from a preset's name to its entry."""
    return _read_weights(folders())


@functools.cache
def _read_cards(folders, kind):
    paths = {}
    for folder in folders:
        for path in (folder / kind).glob("*.json"):
            _add_once(paths, path.stem, path)
    cards = {name: _read_json(paths[name]) for name in sorted(paths)}
    for name, card in cards.items():
        where = f"{kind}/{name}.json"
        parent = card.pop("extends", None)
        if parent is not None:
            if parent not in cards or "extends" in cards[parent]:
                raise ValueError(
                    f"The card {where} must extend a card that stands for "
                    f"itself. Received: extends={parent!r}"
                )
            cards[name] = card = {**cards[parent], **card}
        _check_fields(where, card, *FIELDS[kind])
        for override in card.get("overrides", ()):
            _check_fields(where, override, *FIELDS["overrides"])
    return cards


@functools.cache
def _read_weights(folders):
    entries = {}
    for folder in folders:
        path = folder / "weights.json"
        found = _read_json(path) if path.is_file() else {}
        for name, entry in found.items():
            _add_once(entries, name, entry)
    for name, entry in entries.items():
        where = f"weights.json ({name})"
        _check_fields(where, entry, *FIELDS["weights"])
        if sum(key in entry for key in ("file", "url", "browser")) != 1:
            raise ValueError(
                f"{where} must name a `file`, a `url` or a `browser` page. "
                f"Received: {sorted(entry)}"
            )
        if entry.get("stage", STAGES[0]) not in STAGES:
            raise ValueError(
                f"{where}: `stage` must be one of {STAGES}. "
                f"Received: stage={entry['stage']!r}"
            )
        if entry["format"] not in FORMATS:
            raise ValueError(
                f"{where}: `format` must be one of {FORMATS}. "
                f"Received: format={entry['format']!r}"
            )
    return entries


def _add_once(known, name, value):
    if name in known:
        raise ValueError(
            f"{name!r} is there already. Received: {value}, beside "
            f"{known[name]}"
        )
    known[name] = value


def _read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"The card {path} is not valid JSON. Received: {error}"
        ) from error


def _check_fields(where, card, required, optional):
    missing = [field for field in required if field not in card]
    unknown = sorted(set(card) - set(required) - set(optional))
    if missing or unknown:
        raise ValueError(
            f"The card {where} lacks the fields {missing} and has the "
            f"unknown fields {unknown}. Received: {sorted(card)}"
        )
