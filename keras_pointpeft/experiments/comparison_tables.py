"""Tables of comparisons, from the zoo's result files, in Markdown."""

import statistics

from keras_pointpeft.experiments import comparison
from keras_pointpeft.presets import cards
from keras_pointpeft.presets import model_card
from keras_pointpeft.presets import results

NOTHING = "No runs are recorded yet.\n"


def compared():
    """Results of `scripts/compare.py`, best first, a table for each file."""
    folder = _results("compared")
    header = ("method", "last epoch %", "best epoch %", "seeds", "trained")
    header += ("adapter kB", "memory MB")
    parts = []
    for path in _files(folder):
        runs = results.read(path, results.COMPARED)
        entries = comparison.summary(runs)
        rows = [
            (
                entry["method"] + _apart(entry, entries),
                comparison.spread(entry["last_mean"], entry["last_std"]),
                comparison.spread(entry["best_mean"], entry["best_std"]),
                entry["seeds"],
                f"{int(entry['trained_parameters']):,}",
                f"{float(entry['adapter_bytes']) / 1e3:,.0f}",
                f"{entry['memory_bytes'] / 1e6:,.0f}",
            )
            for entry in entries
        ]
        common = runs[0]
        parts.append(
            f"**`{path.stem}`**: {common['epochs']} epochs of "
            f"{common['train_clouds']} clouds, {_shared_words(entries)}"
            f"{_plot_of(path)}\n\n" + model_card.markdown_table(header, rows)
        )
    return "\n".join(parts) or NOTHING


def against_linear():
    """Every compared method, and how far it is from linear probing."""
    folder = _results("compared")
    rows = []
    for path in _files(folder):
        entries = comparison.summary(results.read(path, results.COMPARED))
        means = {entry["method"]: entry["last_mean"] for entry in entries}
        rows += [
            (
                path.stem,
                entry["method"] + _apart(entry, entries),
                comparison.spread(entry["last_mean"], entry["last_std"]),
                f"{entry['last_mean'] - means['linear']:+.2f}",
                entry["seeds"],
            )
            for entry in entries
            if "linear" in means and entry["method"] != "linear"
        ]
    header = ("compared on", "method", "last epoch %", "against linear")
    return model_card.markdown_table((*header, "seeds"), rows)


def rates():
    """Learning rates that a comparison by `rate_factors` tried."""
    folder = _results("compared")
    rows = []
    for path in sorted(folder.glob("*_rates.csv")):
        groups = {}
        for row in results.read(path, results.RATES):
            method = row["preset"].partition("_")[0]
            name = ", ".join(filter(None, (method, row["changes"])))
            tried = groups.setdefault((name, row["epochs"]), {})
            tried.setdefault(float(row["learning_rate"]), []).append(
                float(row["held_out"])
            )
        rows += [
            (
                path.stem.removesuffix("_rates"),
                name,
                epochs,
                ", ".join(
                    f"{rate:g}: {statistics.mean(tried[rate]):.1f}"
                    for rate in sorted(tried)
                ),
                f"{max(tried, key=lambda x: statistics.mean(tried[x])):g}",
            )
            for (name, epochs), tried in groups.items()
        ]
    if not rows:
        return NOTHING
    header = ("compared on", "method", "epochs", "held-out % by rate", "best")
    return model_card.markdown_table(header, rows)


def seconds():
    """Accuracy of methods after as many updates as fit in equal seconds."""
    runs = results.read(_results("methods_seconds.csv"), results.COMPARED)
    if not runs:
        return NOTHING
    entries = comparison.summary(runs)
    rows = [
        (
            entry["method"],
            comparison.spread(entry["last_mean"], entry["last_std"]),
            entry["seeds"],
            entry["epochs"],
        )
        for entry in entries
    ]
    about = f"{runs[0]['train_clouds']} clouds, {_shared_words(entries)}"
    header = ("method", "last epoch %", "seeds", "epochs")
    return f"{about}\n\n{model_card.markdown_table(header, rows)}"


def ablation():
    """Results of `scripts/ablation.py`: methods by clouds of each class."""
    entries = comparison.summary(
        results.read(_results("ablation.csv"), results.COMPARED)
    )
    if not entries:
        return NOTHING
    rows = [
        (
            entry["dataset"],
            entry["method"],
            comparison.spread(entry["last_mean"], entry["last_std"]),
            entry["seeds"],
            entry["epochs"],
            f"{int(entry['trained_parameters']):,}",
        )
        for entry in sorted(entries, key=lambda entry: entry["dataset"])
    ]
    header = ("data set", "method", "last epoch %", "seeds", "epochs")
    return model_card.markdown_table((*header, "trained"), rows)


def updates_at_test_time():
    """LoTT with its updates at test time and without."""
    rows = [
        (
            row["preset"].partition("_")[0],
            row["dataset"],
            " ".join(filter(None, (row["corruption"], row["severity"]))),
            row["seed"],
            row["test_clouds"],
            row["learning_rate"],
            row["without"],
            row["with_updates"],
            row["changed"],
            row["cpu_seconds"],
        )
        for row in results.read(_results("test_time.csv"), results.TEST_TIME)
    ]
    if not rows:
        return NOTHING
    header = ("method", "data set", "clouds", "seed", "how many", "rate")
    header += ("without %", "with %", "changed %", "CPU s a cloud")
    return model_card.markdown_table(header, rows)


def _files(folder):
    """Files of `scripts/compare.py`, without those of tried learning rates."""
    paths = sorted(folder.glob("*.csv"))
    return [path for path in paths if not path.stem.endswith("_rates")]


def _shared_words(entries):
    """What the protocols of all methods of a file say."""
    first, *others = [entry["protocol"].split(", ") for entry in entries]
    said = [word for word in first if all(word in words for words in others)]
    return ", ".join(said)


def _apart(entry, entries):
    """What a method's protocol says beyond, such as its rate, in brackets."""
    shared = _shared_words(entries).split(", ")
    own = [w for w in entry["protocol"].split(", ") if w not in shared]
    return f" ({', '.join(own)})" if own else ""


def _plot_of(path):
    plot = path.with_suffix(".png")
    exists = plot.is_file()
    return f"; [plot](results/compared/{plot.name})" if exists else ""


def _results(name):
    return cards.zoo_directory() / "results" / name
