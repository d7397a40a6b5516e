"""Whether anybody speaks while something slow is done.

What can take minutes on large data takes no time in tests. So slow things have
a stand-in that does what they do and notes whether a line would have come,
however long it takes: whether `files.progress` is under way, or Keras' own bar.
"""

import contextlib
import functools
import importlib
import sys
from unittest import mock

from keras_pointpeft.files import progress

# Module, and what of it can take long.
SLOW = (
    ("keras", "Model.fit"),
    ("keras", "Model.evaluate"),
    ("keras", "Model.predict"),
    ("keras", "Model.predict_on_batch"),
    ("keras", "Model.save_weights"),
    ("keras", "Model.load_weights"),
    ("keras_hub.models", "Backbone.__init__"),
    ("keras_pointpeft.data.shapes.generate", "build"),
    ("keras_pointpeft.data.folder", "open_content"),
    ("keras_pointpeft.data.s3dis", "_read"),
    ("keras_pointpeft.data.geometry_files", "open_content"),
    ("keras_pointpeft.files.downloads", "_copy"),
    ("h5py", "File.__init__"),
    ("sklearn.svm", "SVC.fit"),
    ("sklearn.manifold", "TSNE.fit_transform"),
    ("matplotlib.figure", "Figure.savefig"),
    ("subprocess", "run"),
)


class Heard:
    """What was slow, and what of it went on without a word.

    Attributes:
        slow: list of strings.
        silent: list of strings, empty if all is well.
    """

    def __init__(self):
        self.slow, self.silent = [], []

    def note(self, name, arguments):
        self.slow.append(name)
        bar = arguments.get("verbose", 0)
        if not progress._running and bar not in (1, 2, "auto"):
            self.silent.append(name)


@contextlib.contextmanager
def listening():
    """A context that gives `Heard`, of all that is slow in it."""
    heard = Heard()
    with contextlib.ExitStack() as stack:
        for module, name in SLOW:
            if module.startswith("keras"):
                importlib.import_module(module)
            if module not in sys.modules:  # nobody here needs it
                continue
            owner = sys.modules[module]
            *classes, last = name.split(".")
            for each in classes:
                owner = getattr(owner, each)
            stack.enter_context(_stand_in(heard, owner, last, name))
        yield heard


def _stand_in(heard, owner, last, name):
    function = getattr(owner, last)

    @functools.wraps(function)
    def noted(self, *args, **kwargs):  # Keras looks for the first by its name
        heard.note(name, kwargs)
        return function(self, *args, **kwargs)

    return mock.patch.object(owner, last, noted)
