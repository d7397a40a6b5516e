"""Pages of the site that are made from the package; a hook of mkdocs.

The API reference has every name in `__all__` of the public modules, the first
page is the README, and so on: nothing is written twice.
"""

import importlib
import inspect
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODULES = (
    "models",
    "peft",
    "adapters",
    "presets",
    "data",
    "training",
    "experiments",
    "reports",
    "checkpoints",
    "commands",
    "layers",
    "ops",
)
COPIES = {
    "index.md": "README.md",
    "zoo.md": "zoo/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}


def public_names():
    """Module and names, for every page of the reference."""
    found = {
        "keras_pointpeft": (
            "from_adapter",
            "from_preset",
            "list_presets",
            "predict_files",
            "step_report",
        )
    }
    for module in MODULES:
        imported = importlib.import_module(f"keras_pointpeft.{module}")
        found[module] = tuple(sorted(imported.__all__))
    return found


def reference():
    """Address and text of every page of the reference."""
    texts = {}
    for module, names in public_names().items():
        full = "keras_pointpeft"
        if module != full:
            full += f".{module}"
        imported = importlib.import_module(full)
        about = inspect.getdoc(imported)
        parts = [f"# {full}", about]
        for name in names:
            value = getattr(imported, name)
            if inspect.ismodule(value):
                parts.append(f"## `{name}`\n\n{inspect.getdoc(value)}")
            elif isinstance(value, (tuple, dict)):
                parts.append(f"## `{name}`\n\n`{value}`")
            else:
                parts.append(f"::: {value.__module__}.{value.__qualname__}")
        texts[f"api/{full.rpartition('.')[2]}.md"] = "\n\n".join(parts) + "\n"
    return texts


def on_files(files, config):
    from mkdocs.structure.files import File

    texts = reference()
    for address, path in COPIES.items():
        texts[address] = (ROOT / path).read_text(encoding="utf-8")
    for address, text in texts.items():
        files.append(File.generated(config, address, content=text))
    for address, folder in (("zoo.md", "zoo"), ("index.md", ".")):
        for image in re.findall(r"\]\(([^:)]+\.png)\)", texts[address]):
            # What stands under docs/ is there already.
            if not image.startswith("docs/"):
                path = str(ROOT / folder / image)
                files.append(File.generated(config, image, abs_src_path=path))
    return files


def on_page_markdown(markdown, page, config, files):
    """Mends links: what is copied stands elsewhere in the repository."""
    up = "../" * page.file.src_uri.count("/")
    for address, path in COPIES.items():
        markdown = re.sub(
            rf"\]\((?:\.\./)*{re.escape(path)}(#[^)]*)?\)",
            rf"]({up}{address}\1)",
            markdown,
        )
    return markdown.replace("](docs/", "](")
