"""Lists presets: a method, a backbone and a data set in one name.

    keras-pointpeft presets 'dapt_*'
    keras-pointpeft presets --card=dapt_pointmae_scanobjectnn

A preset that is a backbone alone, such as pointmae_shapenet, is what methods
start from.
"""

from absl import app
from absl import flags

from keras_pointpeft import presets
from keras_pointpeft.commands import shared

FLAGS = flags.FlagValues()
CARD = shared.definer(FLAGS)(
    "card", "string", "Print the model card of this preset instead."
)
GROUPS = {"What to print": ["card"]}
USAGE = "[PATTERN...]"


def main(words):
    if CARD.value is not None:
        print(presets.card(CARD.value))
        return
    patterns = words[1:] or ["*"]
    names = sorted({n for p in patterns for n in presets.list_presets(p)})
    if not names:
        raise app.UsageError(f"No preset has such a name. Received: {patterns}")
    print(table(names))


def table(names):
    """The presets as lines: name, points, classes, what trains, weights."""
    rows = [("preset", "points", "classes", "trained", "weights")]
    for name in names:
        preset = presets.resolve(name)
        weights = preset.weights or {}
        trained = preset.trained_parameters
        rows.append(
            (
                name,
                str(preset.num_points or ""),
                str(preset.task_config.get("num_classes", "")),
                f"{trained:,}" if trained else "",
                _where(weights),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip()
        for row in rows
    )


def _where(weights):
    if "file" in weights:
        return "in this package"
    return "the authors' release" if weights else "of its backbone"
