"""Tells what a published checkpoint is, by the names in it."""

from keras_pointpeft.checkpoints import layouts  # noqa: F401 (registers)
from keras_pointpeft.checkpoints.layouts.registry import METHODS
from keras_pointpeft.checkpoints.layouts.registry import SOURCES
from keras_pointpeft.checkpoints.layouts.registry import Source
from keras_pointpeft.checkpoints.layouts.registry import method_in
from keras_pointpeft.checkpoints.transfer import CheckpointMismatch

__all__ = ["Source", "identify", "method_of"]

# What training code that wraps a model puts before all names, or, if the
# loss has parameters too, before those of the model.
WRAPPERS = ("base_model.", "model.", "_orig_mod.", "module.")
# Only if all names have it: some published names begin so too.
PARTS = ("encoder.", "backbone.", "network.", "net.", "student.")


def identify(state, backbone=None):
    """Says what kind of checkpoint a state dict is.

    Args:
        state: dict from name to array, as `read_checkpoint` returns it.
        backbone: optional string, a backbone's class. A kind that fits it is
            preferred to one that does not.

    Returns:
        A `Source`, and the state dict with published names: without what a
        wrapper such as `model.` has put before them.

    Raises:
        CheckpointMismatch: if no known kind has such names.
    """
    for names in _unwrapped(state):
        found = {names[name]: value for name, value in state.items()}
        kinds = [source for source in SOURCES if source.fits(found)]
        fitting = [kind for kind in kinds if backbone in kind.backbones]
        if kinds:
            return (fitting or kinds)[0], found
    known = ", ".join(source.title for source in SOURCES)
    raise CheckpointMismatch(
        f"This is no checkpoint of a known kind ({known}). Received: "
        f"{len(state)} tensors, among them {sorted(state)[:8]}"
    )


def _unwrapped(state):
    """Dicts from the names to what they may stand for, the plainest first."""
    names = {name: name for name in state}
    yield names
    changed = True
    while changed:
        changed = False
        for prefix in (*WRAPPERS, *PARTS):
            have = [n for n in names.values() if n.startswith(prefix)]
            if not have or (prefix in PARTS and len(have) < len(names)):
                continue
            shorter = {k: n.removeprefix(prefix) for k, n in names.items()}
            if len(set(shorter.values())) < len(shorter):
                continue  # two tensors of one name
            names, changed = shorter, True
            yield names


def method_of(state):
    """The title of the fine-tuning method that left its tensors, or None."""
    name = method_in(state)
    return None if name is None else METHODS[name].title
