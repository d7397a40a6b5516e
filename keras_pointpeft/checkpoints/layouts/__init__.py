"""How published files name what they hold: a file per backbone and method."""
