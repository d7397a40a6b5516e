"""The model card of a saved adapter, and the names of its files."""

import json

CARD_FILE = "README.md"
CONFIG_FILE = "adapter.json"
WEIGHTS_FILE = "adapter.weights.h5"


def write_card(file, config):
    """Writes the model card of an adapter.

    Args:
        file: `pathlib.Path`.
        config: dict, the contents of `adapter.json`.
    """
    peft = config["peft"]
    method = "full fine-tuning" if peft is None else peft["class_name"]
    base = config["base_preset"] or "a backbone without a name"
    task = json.dumps(config["task_config"], indent=2)
    text = f"""---
library_name: keras
tags:
- point-cloud
- peft
- {method.lower().replace(" ", "-")}
---

# {method} on {config["backbone"]}

An adapter: what fine-tuning changed of a frozen point-cloud backbone, and its
head. {config["parameters"]:,} parameters, made with keras_pointpeft.

* Base: {base}
* SHA-256 of the base's frozen weights: {config["base_fingerprint"]}
* Task: {config["task"]}

```json
{task}
```

Build the same model with the base's weights, then

```python
model.load_adapter("path or hf://owner/name")
```
"""
    file.write_text(text, encoding="utf-8")
