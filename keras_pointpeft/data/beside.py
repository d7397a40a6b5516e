"""What points have beside their place: colours, normals, intensity."""

import numpy as np

from keras_pointpeft.data.checks import check_choice
from keras_pointpeft.data.formats.content import CHANNELS
from keras_pointpeft.data.normalization import check_finite

WIDTHS = {"colors": 3, "normals": 3, "intensity": 1}


class Beside:
    """Collects the channels of a set's clouds, one cloud after the other.

    Where the files do not tell what the brightest colour is, it is decided
    for all clouds that are loaded together: 1, 255 or 65535, the least that
    no colour of theirs exceeds. So a dark cloud among others stays dark.

    Args:
        names: sequence of "colors", "normals" and "intensity".
        color_range: optional float, what the brightest colour is, where the
            files do not tell.

    Raises:
        ValueError: an unknown name.
    """

    def __init__(self, names, color_range=None):
        for name in names:
            check_choice("channels", name, CHANNELS)
        if color_range is not None and not color_range > 0:
            raise ValueError(
                "`color_range` is the number of the brightest colour. "
                f"Received: {color_range}"
            )
        self.names = tuple(names)
        self.color_range = color_range
        self._rows, self._open, self._most = [], [], 0.0
        self._told = set()

    def brightest(self, content):
        """The largest number of a whole cloud's colours, for `add`.

        None where nothing depends on it.
        """
        if "colors" not in self.names or content.colors is None:
            return None
        if self._range(content) is not None:
            return None
        return float(np.max(content.colors))

    def add(self, content, up_axis=None, to="y", brightest=None):
        """Takes the channels of one cloud; without any there is nothing to do.

        Args:
            content: `formats.content.Content`.
            up_axis, to: see `clouds.turned`; normals are turned.
            brightest: optional float, the largest number of the cloud's
                colours, where some of its points alone are added.

        Raises:
            ValueError: it has none of a name, or NaN or infinity in it.
        """
        if not self.names:
            return
        known = self._range(content)
        row = content.channels(self.names, up_axis, known or 1.0, to)
        check_finite(row)
        if "colors" in self.names:
            self._told.add(known)
            if known is None:
                most = float(np.max(content.colors))
                # A point that is not added may have NaN.
                if brightest is not None and np.isfinite(brightest):
                    most = max(most, brightest)
                self._most = max(self._most, most)
                self._open.append(len(self._rows))
        self._rows.append(row)

    def _range(self, content):
        return content.color_range or self.color_range

    def settle(self):
        """All channels, a list of float32 arrays `(points, channels)`."""
        if self._open:
            self.color_range = color_range(self._most)
            begin = sum(
                WIDTHS[name]
                for name in self.names[: self.names.index("colors")]
            )
            for number in self._open:
                self._rows[number][:, begin : begin + 3] /= self.color_range
        elif self.color_range is None and len(self._told) == 1:
            (self.color_range,) = self._told
        return self._rows

    @property
    def source(self):
        """What a contract keeps of it, a dict; empty without channels."""
        if not self.names:
            return {}
        return {"channels": self.names, "color_range": self.color_range}


def color_range(most):
    """The brightest colour of a set whose largest number is `most`.

    Fractions, numbers of one byte, or of two, as .las has them.
    """
    if most <= 1:
        return 1.0
    return 255.0 if most < 256 else 65535.0
