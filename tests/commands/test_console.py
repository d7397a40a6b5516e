"""The console command: its verbs, their flags and what they say."""

import importlib
import subprocess
import sys

import pytest

from keras_pointpeft.commands import console as run
from keras_pointpeft.commands.completion import script

pytestmark = pytest.mark.once


def module_of(verb):
    return importlib.import_module(f"keras_pointpeft.commands.{verb}")


@pytest.mark.parametrize("verb", run.VERBS)
def test_every_flag_is_explained_under_a_title(verb):
    module = module_of(verb)
    listed = [name for group in module.GROUPS.values() for name in group]
    own = {
        name
        for name in module.FLAGS
        if not module.FLAGS[name].help.startswith("Alias for")
    }
    assert sorted(listed) == sorted(own - {"help", "flagfile", "undefok"})
    text = run.help_text(module, f"keras-pointpeft {verb}")
    assert module.USAGE in text
    for name in listed:
        assert f"--{name}" in text
        assert module.FLAGS[name].help[0].isupper() or "'" in text


def test_the_guide_names_every_verb(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["keras-pointpeft"])
    run.main()
    text = capsys.readouterr().out
    assert all(f"  {verb}" in text for verb in run.VERBS)


@pytest.mark.parametrize(
    "words, message",
    [
        (["fly"], "the verbs are train, predict"),
        (["train"], "--preset"),
        (["train", "--presets=x"], "Did you mean"),
        (["predict", "--adapter=x"], "Name the files"),
        (["predict", "x.ply"], "--adapter=DIR or --model_dir=DIR"),
        (["presets", "nothing*"], "No preset has such a name"),
        (["compare", "--seeds=0,a"], "--seeds.*integers from 0"),
        (["compare", "--seeds="], "--seeds.*integers from 0"),
    ],
)
def test_mistakes_are_explained(words, message, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["keras-pointpeft", *words])
    with pytest.raises(SystemExit, match=message):
        run.main()


def test_presets_are_listed(capsys):
    run.run("presets", ["dapt_pointmaetiny*"], "keras-pointpeft presets")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "preset",
        "points",
        "classes",
        "trained",
        "weights",
    ]
    assert any("dapt_pointmaetiny_shapes " in line for line in lines)


def test_completion_is_a_script_for_bash():
    text = script()
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    asked = f"{text}\nCOMP_WORDS=(keras-pointpeft train --lea); COMP_CWORD=2\n"
    asked += "_keras_pointpeft; echo ${COMPREPLY[@]}"
    found = subprocess.run(
        ["bash", "-c", asked], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["--learning_rate="]
