"""Model cards: what a preset is, for people, from the zoo's cards."""

from keras_pointpeft.presets import cards
from keras_pointpeft.presets import names

LIMITS = """* It is made for {points} points of one object, centred and scaled
  to the unit sphere, as the data set's loader does. Other sensors, densities
  and orientations than those it was trained on lower its accuracy; measure it
  on data of your own before you rely on it.
* It knows its own classes only, and gives each cloud one of them, with a
  confidence that was not calibrated.
* Data sets have licences of their own, which are not part of this package's.
"""
ROOMS = """* It is made for {points} points of one column of a room, as the data
  set's loader cuts it. Measure it on scans of your own before you rely on it.
* It knows its own classes only, and gives each point one of them.
* Data sets have licences of their own, which are not part of this package's.
"""


def card(name):
    """The model card of a built-in preset, as Markdown.

    Args:
        name: string, one of `keras_pointpeft.list_presets()`.

    Returns:
        string: what the preset is, how to use it, how it is trained, where
        its weights come from, what was published and measured, its limits.

    Raises:
        ValueError: if there is no such preset.

    Example:
    ```python
    print(keras_pointpeft.presets.card("dapt_pointmae_scanobjectnn"))
    ```
    """
    preset = names.resolve(name)
    parts = [f"# {name}", _summary(preset), _facts(preset), _use(preset)]
    if preset.method is not None:
        parts += [_training(preset), _results(preset)]
    parts.append("## Weights\n\n" + _weights(preset))
    if preset.method is not None:
        parts.append("## Limits\n\n" + _limits(preset))
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def page(backbone):
    """What there is on one backbone, as Markdown: it, and its presets.

    Args:
        backbone: string, a card in `zoo/backbones`.
    """
    trunk = cards.read_cards("backbones")[backbone]
    alone = f"{backbone}_{trunk['pretrained_on']}"
    methods = cards.read_cards("methods")
    rows = []
    for name in names.list_presets(f"*_{backbone}_*"):
        preset = names.resolve(name)
        released = "-" if preset.weights is None else "yes"
        count = preset.trained_parameters
        title = methods[preset.method]["title"]
        config = _config(preset.method_config)
        rows.append((f"`{name}`", title, config, _number(count), released))
    header = ("preset", "method", "settings", "trained", "weights")
    note = (
        "## Presets on it\n\nThe card of each: "
        "`keras_pointpeft.presets.card(name)`. Trained parameters include "
        "the head; weights are those that are released tuned.\n\n"
    )
    return card(alone) + "\n" + note + markdown_table(header, rows)


def _summary(preset):
    trunk = cards.read_cards("backbones")[preset.backbone]
    base = linked(trunk["title"], trunk.get("paper"))
    if preset.method is None:
        text = f"{base}, a point-cloud backbone, pre-trained on "
        return text + f"{trunk['pretrained_on']}. {trunk.get('note', '')}"
    how = cards.read_cards("methods")[preset.method]
    data = cards.read_cards("datasets")[preset.dataset]
    method = linked(how["title"], how.get("paper"))
    aim = data["task"].replace("_", " ")
    text = f"{method} on {base}, for {aim} on "
    text += f"{linked(data['title'], data.get('paper'))}"
    return f"{text} with {data['num_classes']} classes."


def _facts(preset):
    trunk = cards.read_cards("backbones")[preset.backbone]
    rows = [
        ("backbone", f"`{preset.backbone_class}`, `{preset.pretrained}`"),
        ("its settings", _config(preset.backbone_config)),
        ("its parameters", _number(trunk.get("parameters"))),
        ("input", "float32 `(batch, points, 3)`"),
    ]
    if preset.method is not None:
        rows += [
            ("points", preset.num_points),
            ("task", f"`{preset.task_class}`; {_config(preset.task_config)}"),
            ("method", f"`{preset.method_class}`"),
            ("its settings", _config(preset.method_config)),
            ("trained parameters", _number(preset.trained_parameters)),
        ]
        if preset.class_names:
            rows.append(("classes", ", ".join(preset.class_names)))
    return markdown_table(("", ""), rows)


def _use(preset):
    lines = ["## Use\n\n```python", "import keras_pointpeft\n"]
    if preset.method is None:
        lines.append(
            f'backbone = keras_pointpeft.from_preset("{preset.name}")\n'
            'features = backbone.extract(points)["pooled"]'
        )
    elif preset.weights is not None:
        lines.append(
            f'model = keras_pointpeft.from_preset("{preset.name}")\n'
            "labels = model.predict(points).argmax(axis=-1)"
        )
    else:
        lines.append(
            "model = keras_pointpeft.from_preset(\n"
            f'    "{preset.name}", load_weights="backbone"\n)\n'
            "model.fit(points, labels, epochs=10)\n"
            'model.save_adapter("my_task")'
        )
    return "\n".join((*lines, "```"))


def _training(preset):
    lines = [_config(preset.recipe)]
    if preset.protocol:
        lines.append(f"Published figures: {_config(preset.protocol)}.")
    return "## Training\n\n" + "\n\n".join(lines)


def _results(preset):
    from keras_pointpeft.presets import results

    folder = cards.zoo_directory() / "results"
    rows = []
    for row in results.read(folder / "published.csv", results.PUBLISHED):
        if row["preset"] == preset.name:
            what = f"{row['metric'].replace('_', ' ')}, {row['protocol']}"
            if row["measured_by"]:
                what += f", run again by the {row['measured_by']}"
            value = " ± ".join(filter(None, (row["value"], row["deviation"])))
            rows.append((what, value, row["source"]))
    measured = results.read(folder / "measured.csv")
    own = [row for row in measured if row["preset"] == preset.name]
    for group in results.summarise(own):
        what = f"accuracy, {group['protocol']}, {group['seeds']} seed(s)"
        value = f"{group['last_mean']:.2f}"
        rows.append((what, value, f"this package, {group['epochs']} epochs"))
    scenes = results.read(folder / "segmentation.csv", results.SEGMENTATION)
    for row in scenes:
        if row["preset"] == preset.name:
            own.append(row)
            for metric in results.SEGMENTATION[4:9]:
                what = f"{metric.replace('_', ' ')}, {row['protocol']}"
                source = f"this package, seed {row['seed']}"
                if row[metric]:
                    rows.append((what, row[metric], source))
    text = markdown_table(("figure", "value", "source"), rows) if rows else ""
    if not own:
        text += "\nNothing has been measured on it with this package yet."
    return "## Results\n\n" + text.lstrip("\n")


def _weights(preset):
    entry = preset.weights
    if entry is None:
        return (
            "None are released tuned: the backbone's are loaded, and the "
            "method starts fresh."
            if preset.method is not None
            else "None are known to us: convert a checkpoint of your own with "
            "`scripts/convert_checkpoint.py`."
        )
    where = entry.get("url") or entry.get("browser") or entry["file"]
    rows = [
        ("file", f"`{where}`"),
        ("SHA-256", f"`{entry.get('sha256') or 'not known to us'}`"),
        ("licence", entry.get("licence") or "not stated; see the source"),
        ("source", entry.get("source", "-")),
    ]
    if "note" in entry:
        rows.append(("note", entry["note"]))
    return markdown_table(("", ""), rows)


def _limits(preset):
    points = f"{preset.num_points:,}"
    rooms = preset.task_class == "SemanticSegmenter"
    return (ROOMS if rooms else LIMITS).format(points=points)


def _config(config):
    return ", ".join(f"{k} {v}" for k, v in config.items()) or "-"


def _number(count):
    return "-" if count is None else f"{count:,}"


def linked(text, url):
    """`text` as a link in Markdown; words, instead of an address, stay."""
    if url and not url.startswith("http"):
        return url
    return f"[{text}]({url})" if url else text


def markdown_table(header, rows):
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in lines)
