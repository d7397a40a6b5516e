"""Downloads data sets, and says where the others must be asked for.

    python scripts/download_data.py --list
    python scripts/download_data.py --dataset=modelnet40 --output=data

A download that was interrupted goes on where it stopped. With --sha256 the
file is checked; without it, its SHA-256 is printed, to be noted. Archives are
unpacked only if everything in them stays in the folder.
"""

import pathlib
import sys

from absl import app
from absl import flags
from rich.console import Console
from rich.table import Table

DATASET = flags.DEFINE_string("dataset", None, "Which data set, see --list.")
OUTPUT = flags.DEFINE_string("output", "data", "Folder to write to.")
SHA256 = flags.DEFINE_string("sha256", None, "What the file must have.")
URL = flags.DEFINE_string(
    "url", None, "Another address of the same archive, such as a mirror's."
)
UNPACK = flags.DEFINE_bool("unpack", True, "Whether to unpack the archive.")
LIST = flags.DEFINE_bool("list", False, "List the data sets and exit.")


def main(_):
    from keras_pointpeft.data import sources

    if LIST.value:
        print_list(sources.SOURCES)
        return 0
    if DATASET.value not in sources.SOURCES:
        raise app.UsageError(
            f"--dataset must be one of {', '.join(sources.SOURCES)}. "
            f"Received: --dataset={DATASET.value}"
        )
    source = sources.SOURCES[DATASET.value]
    if source.url is None and URL.value is None:
        print(f"{source.title}: {source.ask}")
        print(f"Then load it with {source.use}")
        return 2
    if source.terms:
        print(f"{source.title}: {source.terms}")
    folder = pathlib.Path(OUTPUT.value) / DATASET.value
    archive, digest, files = sources.fetch(
        source, folder, URL.value, SHA256.value, UNPACK.value
    )
    print(f"{archive}: SHA-256 {digest}")
    if UNPACK.value:
        print(f"{len(files)} files in {folder}")
    print(f"Load it with {source.use}")
    return 0


def print_list(sources):
    table = Table("name", "data set", "how to get it")
    for name, source in sources.items():
        how = "this script" if source.url else source.ask
        table.add_row(name, source.title, how)
    Console(width=max(80, Console().width)).print(table)


if __name__ == "__main__":
    app.run(lambda argv: sys.exit(main(argv)))
