"""`keras-pointpeft VERB`: finds the verb, parses its flags, explains it."""

import importlib
import inspect
import re
import sys
import textwrap

from absl import app
from absl import flags
from absl import logging

from keras_pointpeft.version import __version__

VERBS = {
    "train": "Fine-tune a preset on labelled clouds, and measure it.",
    "predict": "Say what new scans are, or what their points belong to.",
    "evaluate": "Measure an adapter or a preset on a test split.",
    "compare": "Train several methods alike and compare them.",
    "report": "Write a finished run as a page to look at.",
    "convert": "Turn a published checkpoint into a preset directory.",
    "presets": "List what there is to start from.",
    "completion": "Print a script by which bash or zsh complete all this.",
}
PROGRAM = "keras-pointpeft"

GUIDE = f"""\
{PROGRAM}: fine-tune point-cloud transformers on your own scans.

From a folder of scans to the classes of new ones:

  1. Put labelled scans into my_scans/train/CLASS/ and my_scans/test/CLASS/.
  2. {PROGRAM} train --preset=dapt_pointmaetiny_shapes \\
         --dataset=folder --data=my_scans --output=runs/my_scans
  3. {PROGRAM} predict --adapter=runs/my_scans/adapter \\
         --output=found.csv new_scans

Verbs:

{{verbs}}

`{PROGRAM} VERB --help` explains a verb and its flags.
"""


def main():
    """The entry point of the console command."""
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help", "help"):
        verbs = "\n".join(f"  {v:<11}{text}" for v, text in VERBS.items())
        print(GUIDE.format(verbs=verbs))
        return
    if words[0] == "--version":
        print(__version__)
        return
    if words[0] not in VERBS:
        raise SystemExit(
            f"{PROGRAM}: the verbs are {', '.join(VERBS)}. "
            f"Received: {words[0]!r}"
        )
    run(words[0], words[1:], f"{PROGRAM} {words[0]}")


def run(verb, words=None, program=None):
    """Runs one verb.

    Args:
        verb: string, one of `VERBS`.
        words: list of strings, its arguments. Those of the process by
            default.
        program: string, what the user has called it by.
    """
    program = program or sys.argv[0]
    words = sys.argv[1:] if words is None else words
    module = importlib.import_module(f"keras_pointpeft.commands.{verb}")
    if {"-h", "--help", "--helpfull"} & set(words):
        print(help_text(module, program))
        return
    for name in module.FLAGS:  # values of an earlier call in this process
        module.FLAGS[name].unparse()
    try:
        rest = module.FLAGS([program, *words])
        # absl's own, such as those of its log, keep their values.
        flags.FLAGS([program])
        logging.use_absl_handler()
        logging.set_verbosity(logging.INFO)
        module.main(rest)
    except (flags.Error, app.UsageError) as error:
        raise SystemExit(f"{error}\n`{program} --help` explains.") from None


def help_text(module, program):
    """A verb's guide: its docstring, and its flags by subject."""
    parts = [inspect.getdoc(module), f"Usage: {program} {module.USAGE}"]
    for title, names in module.GROUPS.items():
        lines = [f"{title}:"]
        for name in names:
            flag = module.FLAGS[name]
            lines.append(f"  {_spelled(flag)}")
            # absl repeats the values of an enum in front of its help.
            text = re.sub(r"^<[^>]*>: ", "", flag.help)
            if flag.default not in (None, [], False, True):
                text += f" By default {flag.default_as_str.strip(chr(39))}."
            lines += textwrap.wrap(
                text, 78, initial_indent=" " * 6, subsequent_indent=" " * 6
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _spelled(flag):
    if flag.boolean:
        return f"--{flag.name}, --no{flag.name}"
    choices = getattr(flag.parser, "enum_values", None)
    value = "|".join(choices) if choices else flag.name.upper()
    return f"--{flag.name}={value}"
