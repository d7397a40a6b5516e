"""Writes the zoo's tables from its cards and result files.

    python scripts/zoo_table.py            # write them
    python scripts/zoo_table.py --check    # exit 1 if they are out of date

`zoo/README.md` and the cards in `docs/presets` are written as a whole. In
`README.md` and `docs/guides/what_holds.md` only what stands between marks such
as `<!-- results -->` and `<!-- /results -->` is replaced; a pair that is not
there is left out.
"""

import re
import statistics
from pathlib import Path

from absl import app
from absl import flags

from keras_pointpeft import presets
from keras_pointpeft.presets import cards
from keras_pointpeft.presets import model_card
from keras_pointpeft.presets import results

_CHECK = flags.DEFINE_bool("check", False, "Write nothing; exit 1 if stale.")
_ROOT = flags.DEFINE_string(
    "root", str(Path(__file__).parents[1]), "Folder of README.md and zoo/."
)
NOTHING = "No runs are recorded yet.\n"

INTRODUCTION = """# Zoo

Written by `scripts/zoo_table.py` from the cards; do not edit by hand.

A preset is a product of three cards: `<method>_<backbone>_<dataset>`, as in
`dapt_pointmae_scanobjectnn`; a backbone alone is
`<backbone>_<pretraining set>`. A new card in `backbones/`, `methods/` or
`datasets/` adds its products; no code is needed.

* `backbones/*.json`: class and arguments of a backbone; `by_num_points`
  changes them by the data set's number of points.
* `methods/*.json`: class and arguments of a method; `overrides` change them,
  the backbone, the task or the recipe `when` backbone and data set match;
  `backbones` names those that it is for, if it is not for all.
* `datasets/*.json`: classes, points, loader, recipe and protocol; `extends`
  takes over another card's fields.
* `weights.json`: which preset has weights, where from, what they have been
  through (pre-trained, post-pre-trained with labels, or fine-tuned), SHA-256,
  licence; what is `null` is not known to us: see the source.
* `results/published.csv`: figures from papers, each with its source.
* `results/measured.csv`: one row per training run; `segmentation.csv` and
  `few_shot.csv` likewise; `compared/*.csv`, those of `scripts/compare.py`;
  `corrupted.csv`, of `scripts/measure_corruptions.py`; `probes.csv`, of
  `scripts/probe.py`; `scales.csv` and, of later code,
  `scales_by_update.csv`, of `scripts/measure_scales.py`;
  `small_sets.csv`, of `scripts/measure_selection.py`; `methods.csv` and
  `methods_seconds.csv`, of `scripts/measure_methods.py`; `ablation.csv`, of
  `scripts/ablation.py`; `test_time.csv`, of `scripts/measure_test_time.py`;
  `benchmark.csv`, those of `scripts/benchmark/run.py` and
  `scripts/measure_files.py`, of which `key_cost.csv` names what the README
  shows.

A backbone and a data set form presets when their `tier` is the same.
"""

PRESETS = """Trained parameters, head included. Bold: fine-tuned weights are
released; the weights of bare backbones are listed below.

"""

COMPARED = """From the same start, with the same splits and epochs. In brackets:
what differs from the preset. Memory is what a training step keeps for its
backward pass. Rows of different dates are of different versions: seconds, in
the files, and sizes of adapters compare within a date only.

"""

RATES = """The same few for each method, chosen on a part of the training
split; the test split has no say. What each was trained with then stands in the
table above, under the same name.

"""

TEST_TIME = """By `scripts/measure_test_time.py`: the same trained model on the
same clouds, with an update before each is predicted and without.

"""

SECONDS = """By `scripts/measure_methods.py --seconds`: each method makes as
many updates, rounded up to epochs, as fit in the same seconds of training by
its measured step.

"""

PROBES = """By `scripts/probe.py`, on features of the frozen backbone: a linear
classifier (logistic regression), and the head that `linear` trains. None of
these data sets was pre-trained on.

"""

METHODS = """The same backbone and batch, in turns, in one process
(`scripts/measure_methods.py`): medians, and how many times as much as linear
probing, which is the frozen backbone with its head. Memory is what a training
step keeps for its backward pass; counted anew, without what is freed before
that pass, it is 3 % less for STAG and 2 % for STAG-sl. Accuracy is that of the
table above, after equal updates.

"""

COST = """Ratios within one run of `scripts/benchmark/run.py`, both sides in
turns, medians. `plain` is the published arithmetic in plain PyTorch, operation
by operation, with the classic sampling loop
(`scripts/benchmark/plain_torch.py`), or, with `sampling=cuda`, one compiled for
CUDA, as the published code has it (`plain_cuda.py`). `size=tiny` leaves next to
nothing to compute: what takes the time is the host. `fit` is an epoch against
as many steps with a batch that is there. `input` is the making of a training
batch, from clouds in memory. `stem=kept` is training behind a cache of what it
does not change. With `malloc=returning`, glibc's malloc gives memory back at
once: what is needed, where else it is what the process holds. `adapter` and
`weights` are what `save_adapter` and `save_weights` write; `without=bank`
leaves Point-PEFT's bank out, which are features of the training set and no
parameters. `read, draw` and a scene of a square kilometre are measured by
`scripts/measure_files.py`: CPU time of scans of 100,000 points against that of
reading them, where a ratio below 1 says that reading alone gave its memory back
to the system, scan by scan, and asked for it anew (a .las then takes 8 ms in
place of 2); and the memory of the process against 2 GB, with all that is
installed and, `without TensorFlow`, as on a lean installation of torch. Where
sizes differ, the goal is the order of the algorithm: linear,
but for groups, which look at each other, quadratic;
[drawn](results/growth.png).

"""


# Files with tables between marks.
MARKED = ("README.md", "docs/guides/what_holds.md")


def main(_):
    root = Path(_ROOT.value)
    tables = readme_tables()
    texts = {root / "zoo" / "README.md": zoo_readme(tables)}
    for backbone in cards.read_cards("backbones"):
        path = root / "docs" / "presets" / f"{backbone}.md"
        texts[path] = model_card.page(backbone)
    for path in (root / name for name in MARKED):
        if path.exists():
            texts[path] = replaced(path.read_text(encoding="utf-8"), tables)
    stale = [
        path
        for path, text in texts.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        print(f"{'out of date' if _CHECK.value else 'wrote'}: {path}")
        if not _CHECK.value:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts[path], encoding="utf-8")
    return 1 if stale and _CHECK.value else 0


def readme_tables():
    """Text by the name that stands in the README's marks."""
    from keras_pointpeft.experiments import comparison_tables
    from keras_pointpeft.experiments import robustness

    corrupted = recorded("corrupted", results.CORRUPTED)
    return {
        "presets": preset_table(["scanobjectnn"]),
        "datasets": dataset_table(),
        "results": measured_table(),
        "segmentation": segmentation_table(),
        "few shots": few_shot_table(),
        "corrupted": robustness.markdown(corrupted),
        "compared": comparison_tables.compared(),
        "cost": cost_table(),
        "key cost": key_cost_table(),
        "against linear": comparison_tables.against_linear(),
        "ablation": comparison_tables.ablation(),
        "probes": probe_table(),
        "methods": method_table(),
        "rates": comparison_tables.rates(),
        "seconds": comparison_tables.seconds(),
        "test time": comparison_tables.updates_at_test_time(),
    }


def zoo_readme(tables):
    sections = (
        ("Data sets", tables["datasets"]),
        ("Presets", PRESETS + preset_table()),
        ("Recipes", recipe_table()),
        ("Weights", weights_table()),
        ("Measured with this package", tables["results"]),
        ("Methods compared with this package", COMPARED + tables["compared"]),
        ("Learning rates, chosen on held-out clouds", RATES + tables["rates"]),
        ("Updates at test time", TEST_TIME + tables["test time"]),
        ("Parts of methods, with few clouds", tables["ablation"]),
        ("Backbones judged by linear probes", PROBES + tables["probes"]),
        ("What methods cost", METHODS + tables["methods"]),
        ("Accuracy after equal seconds", SECONDS + tables["seconds"]),
        ("Segmentation, measured with this package", tables["segmentation"]),
        ("Few shots, measured with this package", tables["few shots"]),
        ("Corrupted clouds, measured with this package", tables["corrupted"]),
        ("Cost, measured with this package", COST + tables["cost"]),
        ("Published", published_table()),
        ("Segmentation, published", published_segmentation_table()),
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


def preset_table(datasets=None):
    """Trained parameters of every preset: a table for each data set."""
    zoo = {kind: cards.read_cards(kind) for kind in cards.KINDS}
    table = {}
    for name in presets.list_presets():
        preset = presets.resolve(name)
        if preset.method is not None:
            place = table.setdefault(preset.dataset, {})
            place[preset.method, preset.backbone] = preset
    parts = []
    for dataset in datasets or table:
        found = table[dataset]
        methods, backbones = (sorted(set(names)) for names in zip(*found))
        trunks = [zoo["backbones"][name] for name in backbones]
        rows = [
            (
                "",
                *(
                    model_card.linked(t["title"], t.get("paper"))
                    for t in trunks
                ),
            )
        ]
        for method in methods:
            how = zoo["methods"][method]
            title = model_card.linked(how["title"], how.get("paper"))
            rows.append(
                (
                    f"`{method}` {title}",
                    *(cell(found.get((method, b))) for b in backbones),
                )
            )
        header = "", *(f"`{name}`" for name in backbones)
        title = f"`{dataset}`: {zoo['datasets'][dataset]['title']}"
        parts.append(
            f"**{title}**\n\n{model_card.markdown_table(header, rows)}"
        )
    return "\n".join(parts)


def cell(preset):
    """Trained parameters; bold if there are trained weights to be had."""
    if preset is None:
        return "-"
    count = preset.trained_parameters
    count = "-" if count is None else f"{count:,}"
    return count if preset.weights is None else f"**{count}**"


def dataset_table():
    rows = [
        (f"`{name}`", card["title"], card["task"].replace("_", " "))
        for name, card in cards.read_cards("datasets").items()
    ]
    return model_card.markdown_table(("name", "data set", "task"), rows)


def recipe_table():
    rows = []
    for name, card in cards.read_cards("datasets").items():
        recipe = ", ".join(f"{k} {v}" for k, v in card["recipe"].items())
        rows.append((f"`{name}`", card["num_points"], recipe))
    return model_card.markdown_table(("data set", "points", "recipe"), rows)


def weights_table():
    rows = []
    for name, entry in cards.read_weights().items():
        where = entry.get("url") or entry.get("browser")
        where = where or f"weights/{entry['file']}"
        rows.append(
            (
                f"`{name}`",
                f"`{where}`" if "file" in entry else f"<{where}>",
                entry.get("stage", "-"),
                entry.get("accuracy", "-"),
                entry.get("licence") or "see source",
                model_card.linked("source", entry.get("source")),
                (entry.get("sha256") or "not known")[:16],
            )
        )
    header = ("preset", "file", "stage", "accuracy %", "licence", "source")
    header += ("SHA-256",)
    return model_card.markdown_table(header, rows)


def recorded(name, columns=results.MEASURED):
    """The rows of a result file of the zoo."""
    path = cards.zoo_directory() / "results" / f"{name}.csv"
    return results.read(path, columns)


def measured_table():
    """Mean and standard deviation over seeds, and the weights started from."""
    from keras_pointpeft.experiments import comparison

    groups = results.summarise(recorded("measured"))
    if not groups:
        return NOTHING
    rows = []
    for group in groups:
        rows.append(
            (
                f"`{group['preset']}`",
                group["dataset"],
                group["epochs"],
                comparison.spread(group["last_mean"], group["last_std"]),
                comparison.spread(group["best_mean"], group["best_std"]),
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
    return model_card.markdown_table(header, rows)


def cost_table():
    """Time and memory against a baseline, a row for each measurement."""
    rows = recorded("benchmark", results.COST)
    if not rows:
        return NOTHING
    rows = [row for row in rows if _is_largest(row, rows)]
    columns = "side baseline quantity ratio wanted batch_size backend device"
    header = "what against quantity ratio goal clouds backend device threads"
    return model_card.markdown_table(
        header.split(),
        [[row[name] for name in [*columns.split(), "threads"]] for row in rows],
    )


def key_cost_table():
    """What matters of it, each row with its sentence."""
    rows = recorded("benchmark", results.COST)
    shown = []
    for key in recorded("key_cost", results.KEY_COST):
        same = [
            row
            for row in rows
            if row["backend"] == "torch"
            and all(row[n] == key[n] for n in ("benchmark", "quantity"))
        ]
        # Of what was measured again, the last.
        row = [row for row in same if row["side"] == same[0]["side"]][-1]
        device = row["device"]
        if device == "cpu":
            device = f"CPU, threads: {row['threads']}"
        shown.append((key["what"], row["ratio"], row["wanted"], device))
    header = ("what", "ratio", "goal", "where")
    return model_card.markdown_table(header, shown)


def _is_largest(row, rows):
    """Of growth, measured at rising sizes, the table has the largest."""
    if "_growth_" not in row["benchmark"]:
        return True
    names = ("benchmark", "quantity", "backend", "device", "threads")
    same = [r for r in rows if all(r[n] == row[n] for n in names)]
    return same[-1] is row


def published_table():
    """Accuracies from papers, one row per method and backbone."""
    groups, columns = {}, []
    for row in recorded("published", results.PUBLISHED):
        if row["metric"] != "accuracy":
            continue
        vote = " vote" if row["protocol"].endswith("vote") else ""
        value = " ± ".join(filter(None, (row["value"], row["deviation"])))
        column = row["dataset"] + vote
        if column not in columns:
            columns.append(column)
        key = row["backbone"], row["method"], row["trained_millions"]
        mark = " (r)" if row["protocol"].startswith("rotate") else ""
        source = row["source"]
        if row["measured_by"]:
            source += f", run again by the {row['measured_by']}"
        entry = groups.setdefault((*key, source), {})
        entry[column] = value + mark
    rows = [
        (*key[:3], *(entry.get(c, "-") for c in columns), key[3])
        for key, entry in groups.items()
    ]
    header = "backbone", "method", "trained M", *columns, "source"
    note = (
        "Accuracy in percent, best epoch on the test set, augmented by scale "
        "and translation; (r) by rotation, which is not comparable. What "
        "others have run again is a mean over runs.\n\n"
    )
    return note + model_card.markdown_table(header, rows)


def probe_table():
    """Results of `scripts/probe.py`: mean and deviation over seeds."""
    groups = {}
    for row in recorded("probes", results.PROBES):
        key = row["backbone"], row["parameters"], row["dataset"]
        groups.setdefault(key, []).append(row)
    if not groups:
        return NOTHING
    rows = [
        (
            f"`{backbone}`",
            number(parameters),
            dataset,
            over_runs(runs, "linear"),
            over_runs(runs, "head"),
            len(runs),
        )
        for (backbone, parameters, dataset), runs in groups.items()
    ]
    header = ("backbone", "parameters", "data set", "linear %", "head %")
    return model_card.markdown_table((*header, "seeds"), rows)


def method_table():
    """Costs of methods beside their accuracy, best first."""
    from keras_pointpeft.experiments import method_costs

    costs = recorded("methods", results.METHODS)
    if not costs:
        return NOTHING
    path = cards.zoo_directory() / "results" / "methods.csv"
    about, *rows = method_costs.rows_in_words(costs, path.parent / "compared")
    plot = path.with_suffix(".png")
    if plot.is_file():
        about += f"; [plot](results/{plot.name})"
    return f"{about}\n\n{model_card.markdown_table(rows[0], rows[1:])}"


def segmentation_table():
    """Figures of parts and scenes: mean and deviation over seeds."""
    figures = results.SEGMENTATION[4:9]
    groups = {}
    for row in recorded("segmentation", results.SEGMENTATION):
        key = tuple(row[name] for name in ("preset", *COMMON))
        groups.setdefault(key, []).append(row)
    if not groups:
        return NOTHING
    rows = [
        (
            f"`{key[0]}`",
            *(over_runs(runs, name) for name in figures),
            len(runs),
            number(runs[-1]["trained_parameters"]),
            *key[1:],
        )
        for key, runs in groups.items()
    ]
    titles = ("instance mIoU", "class mIoU", "mIoU", "mAcc", "OA")
    header = ("preset", *titles, "seeds", "trained", *COMMON)
    return model_card.markdown_table(header, rows)


# Runs that differ in these are not averaged with each other.
COMMON = ("epochs", "selection", "protocol", "train_clouds", "weights")


def over_runs(runs, name):
    return mean_and_spread([float(run[name]) for run in runs if run[name]])


def mean_and_spread(values):
    from keras_pointpeft.experiments import comparison

    mean = statistics.fmean(values) if values else None
    std = statistics.stdev(values) if len(values) > 1 else None
    return comparison.spread(mean, std)


def few_shot_table():
    """Mean and standard deviation over the episodes of all seeds."""
    common = [name for name in COMMON if name != "train_clouds"]
    names = ("preset", "dataset", "ways", "shots", *common)
    groups = {}
    for row in recorded("few_shot", results.FEW_SHOT):
        key = tuple(row[name] for name in names)
        accuracies = groups.setdefault(key, [])
        accuracies.extend(map(float, row["accuracies"].split()))
    if not groups:
        return NOTHING
    rows = [
        (
            f"`{preset}`",
            dataset,
            f"{ways} ways, {shots} shots",
            mean_and_spread(accuracies),
            len(accuracies),
            *rest,
        )
        for (preset, dataset, ways, shots, *rest), accuracies in (
            groups.items()
        )
    ]
    header = "preset", "data set", "kind", "accuracy %", "episodes"
    return model_card.markdown_table((*header, *common), rows)


def published_segmentation_table():
    """mIoU from papers, one row per method and backbone."""
    groups = {}
    for row in recorded("published", results.PUBLISHED):
        if row["metric"] == "accuracy":
            continue
        names = ("dataset", "backbone", "method", "trained_millions", "source")
        entry = groups.setdefault(tuple(row[name] for name in names), {})
        entry[row["metric"]] = row["value"]
    metrics = ("class_miou", "instance_miou", "miou")
    rows = [
        (*key[:4], *(entry.get(name, "-") for name in metrics), key[4])
        for key, entry in groups.items()
    ]
    header = ("data set", "backbone", "method", "trained M", *metrics, "source")
    return model_card.markdown_table(header, rows)


def number(text):
    return f"{int(float(text)):,}" if text else "-"


if __name__ == "__main__":
    app.run(main)
