"""The code of the documentation, as its readers find it.

A fence of `python` is run: each page that has one has a test module of its
name, which takes all of `python_blocks`, so that a new one is not forgotten.
A fence of `py` needs a network or an account and is only parsed. Commands are
those of `test_commands.py`.
"""

import functools
import pathlib
import re
from dataclasses import dataclass

from markdown_it import MarkdownIt

ROOT = pathlib.Path(__file__).parents[2]


@dataclass(frozen=True)
class Block:
    """A fence.

    Attributes:
        page: string, path from the repository's root.
        line: int, where it starts.
        language: string.
        text: string.
    """

    page: str
    line: int
    language: str
    text: str


def pages():
    """Paths of all pages, from the repository's root."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    return sorted(str(path.relative_to(ROOT)) for path in found)


@functools.cache  # a page is read by several tests
def tokens(page):
    return MarkdownIt().parse((ROOT / page).read_text(encoding="utf-8"))


def blocks(page, *languages):
    """The fences of a page, those inside of lists too."""
    found = [
        Block(page, token.map[0] + 1, token.info.strip(), token.content)
        for token in tokens(page)
        if token.type == "fence"
    ]
    return [b for b in found if not languages or b.language in languages]


def inline_code(page):
    """Texts of a page between single backquotes."""
    return [
        " ".join(child.content.split())
        for token in tokens(page)
        for child in token.children or ()
        if child.type == "code_inline"
    ]


def python_blocks(page):
    return blocks(page, "python")


def run(block, names, replacements=()):
    """Runs a block in the namespace `names`, one epoch long.

    Args:
        block: `Block`.
        names: dict, what the blocks before it have defined.
        replacements: pairs of strings: what stands in the block, and what is
            run in its place.
    """
    text = re.sub(r"\b(epochs|updates)=\d+", r"\1=1", block.text)
    for old, new in replacements:
        assert old in text, f"{block.page}:{block.line} has no {old!r}"
        text = text.replace(old, new)
    # So that tracebacks name the line of the page.
    source = "\n" * block.line + text
    exec(compile(source, block.page, "exec"), names)
