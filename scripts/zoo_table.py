"""Writes the zoo's tables from its cards and result files.

    python scripts/zoo_table.py            # write zoo/README.md and README.md
    python scripts/zoo_table.py --check    # exit 1 if they are out of date

`zoo/README.md` is written as a whole. In `README.md` only what stands between
`<!-- presets -->` and `<!-- /presets -->`, and `<!-- results -->` and
`<!-- /results -->`, is replaced; a pair that is not there is left out.
"""

import re
from pathlib import Path

from absl import app
from absl import flags

from keras_pointpeft import presets
from keras_pointpeft import zoo_data
from keras_pointpeft.training import results

_CHECK = flags.DEFINE_bool("check", False, "Write nothing; exit 1 if stale.")
_ROOT = flags.DEFINE_string(
    "root", str(Path(__file__).parents[1]), "Folder of README.md and zoo/."
)

INTRODUCTION = """# Zoo

Written by `scripts/zoo_table.py` from the cards; do not edit by hand.

A preset is a product of three cards: `<method>_<backbone>_<dataset>`, as in
`dapt_pointmae_scanobjectnn`; a backbone alone is
`<backbone>_<pretraining set>`. A new card in `backbones/`, `methods/` or
`datasets/` adds its products; no code is needed.

* `backbones/*.json`: class and arguments of a backbone; `by_num_points`
  changes them by the data set's number of points.
* `methods/*.json`: class and arguments of a method; `overrides` change them,
  the backbone, the task or the recipe `when` backbone and data set match.
* `datasets/*.json`: classes, points, loader, recipe and protocol; `extends`
  takes over another card's fields.
* `weights.json`: which preset has weights, where from, SHA-256, licence; what
  is `null` is not known to us: see the source.
* `results/published.csv`: figures from papers, each with its source.
* `results/measured.csv`: one row per training run.

A backbone and a data set form presets when their `tier` is the same.
"""


def main(_):
    root = Path(_ROOT.value)
    tables = {"presets": preset_table(), "results": measured_table()}
    texts = {root / "zoo" / "README.md": zoo_readme(tables)}
    readme = root / "README.md"
    if readme.exists():
        texts[readme] = replaced(readme.read_text(encoding="utf-8"), tables)
    stale = [
        path
        for path, text in texts.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        print(f"{'out of date' if _CHECK.value else 'wrote'}: {path}")
        if not _CHECK.value:
            path.write_text(texts[path], encoding="utf-8")
    return 1 if stale and _CHECK.value else 0


def zoo_readme(tables):
    sections = (
        ("Presets", tables["presets"]),
        ("Recipes", recipe_table()),
        ("Weights", weights_table()),
        ("Measured with this package", tables["results"]),
        ("Published", published_table()),
    )
    body = "".join(f"\n## {title}\n\n{text}" for title, text in sections)
    return INTRODUCTION + body


def replaced(text, tables):
    """`text` with each `<!-- name --> ... <!-- /name -->` filled anew."""
    for name, table in tables.items():
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda match: f"{match[1]}{table}{match[2]}",
            text,
            flags=re.DOTALL,
        )
    return text


def preset_table():
    """All presets: what they are made of, and whether they have weights."""
    cards = {kind: zoo_data.read_cards(kind) for kind in zoo_data.KINDS}
    rows = []
    for name in presets.list_presets():
        preset = presets.resolve(name)
        trunk = cards["backbones"][preset.backbone]
        method, data, trained = "-", f"({trunk['pretrained_on']})", None
        if preset.method is not None:
            how = cards["methods"][preset.method]
            method = linked(how["title"], how.get("paper"))
            data = cards["datasets"][preset.dataset]["title"]
            trained = preset.trained_parameters
        rows.append(
            (
                f"`{name}`",
                method,
                linked(trunk["title"], trunk.get("paper")),
                data,
                "-" if trained is None else f"{trained:,}",
                weights_word(preset),
            )
        )
    header = "preset", "method", "backbone", "data set", "trained", "weights"
    return markdown(header, rows)


def weights_word(preset):
    if preset.weights is None:
        if preset.method is None:
            return "none"
        pretrained = zoo_data.read_weights().get(preset.pretrained)
        return "backbone only" if pretrained else "none"
    return "shipped" if "file" in preset.weights else "authors' release"


def recipe_table():
    rows = []
    for name, card in zoo_data.read_cards("datasets").items():
        recipe = ", ".join(f"{k} {v}" for k, v in card["recipe"].items())
        rows.append((f"`{name}`", card["num_points"], recipe))
    return markdown(("data set", "points", "recipe"), rows)


def weights_table():
    rows = []
    for name, entry in zoo_data.read_weights().items():
        where = entry.get("url") or entry.get("browser")
        where = where or f"weights/{entry['file']}"
        rows.append(
            (
                f"`{name}`",
                f"`{where}`" if "file" in entry else f"<{where}>",
                entry.get("accuracy", "-"),
                entry.get("licence") or "see source",
                linked("source", entry.get("source")),
                (entry.get("sha256") or "not known")[:16],
            )
        )
    header = "preset", "file", "accuracy %", "licence", "source", "SHA-256"
    return markdown(header, rows)


def measured_table():
    """Mean and standard deviation over seeds, and the weights started from."""
    path = zoo_data.zoo_directory() / "results" / "measured.csv"
    groups = results.summarise(results.read(path))
    if not groups:
        return "No runs are recorded yet.\n"
    rows = []
    for group in groups:
        rows.append(
            (
                f"`{group['preset']}`",
                group["dataset"],
                group["epochs"],
                spread(group["last_mean"], group["last_std"]),
                spread(group["best_mean"], group["best_std"]),
                group["seeds"],
                number(group["trained_parameters"]),
                number(group["adapter_bytes"]),
                group["weights"] or "-",
                group["protocol"],
            )
        )
    header = (
        "preset",
        "data set",
        "epochs",
        "last epoch %",
        "best epoch %",
        "seeds",
        "trained",
        "adapter bytes",
        "started from",
        "protocol",
    )
    return markdown(header, rows)


def published_table():
    """Accuracies from papers, one row per method and backbone."""
    path = zoo_data.zoo_directory() / "results" / "published.csv"
    groups, columns = {}, []
    for row in results.read(path, results.PUBLISHED):
        vote = " vote" if row["protocol"].endswith("vote") else ""
        column = row["dataset"] + vote
        if column not in columns:
            columns.append(column)
        key = row["backbone"], row["method"], row["trained_millions"]
        mark = " (r)" if row["protocol"].startswith("rotate") else ""
        entry = groups.setdefault((*key, row["source"]), {})
        entry[column] = row["value"] + mark
    rows = [
        (*key[:3], *(entry.get(c, "-") for c in columns), key[3])
        for key, entry in groups.items()
    ]
    header = "backbone", "method", "trained M", *columns, "source"
    note = (
        "Accuracy in percent, best epoch on the test set, augmented by scale "
        "and translation; (r) by rotation, which is not comparable.\n\n"
    )
    return note + markdown(header, rows)


def spread(mean, std):
    if mean is None:
        return "-"
    return f"{mean:.2f}" if std is None else f"{mean:.2f} ± {std:.2f}"


def number(text):
    return f"{int(float(text)):,}" if text else "-"


def linked(text, url):
    return f"[{text}]({url})" if url else text


def markdown(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in lines)


if __name__ == "__main__":
    app.run(main)
