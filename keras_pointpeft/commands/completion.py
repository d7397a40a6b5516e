"""Prints a script by which a shell completes verbs, flags and presets.

    eval "$(keras-pointpeft completion)"

in `~/.bashrc`, or, for zsh, after `autoload -U +X bashcompinit &&
bashcompinit`.
"""

import importlib

from absl import flags

from keras_pointpeft import presets

FLAGS = flags.FlagValues()
GROUPS = {}
USAGE = ""

SCRIPT = """\
_keras_pointpeft() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" verb="${{COMP_WORDS[1]}}" all=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{verbs}" -- "$word"))
        return
    fi
    if [ "${{COMP_WORDS[COMP_CWORD-1]}}" = "=" ]; then
        case "${{COMP_WORDS[COMP_CWORD-2]}}" in
            --preset) COMPREPLY=($(compgen -W "{presets}" -- "$word")) ;;
            *) COMPREPLY=($(compgen -f -- "$word")) ;;
        esac
        return
    fi
    case "$verb" in
{cases}
    esac
    case "$word" in
        -*) COMPREPLY=($(compgen -W "$all" -- "$word"))
            compopt -o nospace 2>/dev/null ;;
        *) COMPREPLY=($(compgen -f -- "$word")) ;;
    esac
}}
complete -F _keras_pointpeft keras-pointpeft"""


def main(_):
    print(script())


def script():
    """The text of the completion script."""
    from keras_pointpeft.commands.console import VERBS

    cases = []
    for verb in VERBS:
        module = importlib.import_module(f"keras_pointpeft.commands.{verb}")
        names = [name for group in module.GROUPS.values() for name in group]
        words = [
            f"--{name}" if module.FLAGS[name].boolean else f"--{name}="
            for name in names
        ]
        cases.append(f'        {verb}) all="{" ".join([*words, "--help"])}" ;;')
    return SCRIPT.format(
        verbs=" ".join(VERBS),
        presets=" ".join(presets.list_presets()),
        cases="\n".join(cases),
    )
