"""Damage to files, one kind after the other."""

import numpy as np

REFUSALS = (ValueError, OSError, KeyError, RuntimeError)


def mutations(content, rng, count=12):
    """Names and contents: cut off, empty, garbage, single bytes changed."""
    yield "empty", b""
    yield "garbage", rng.bytes(len(content))
    for part in (0.1, 0.5, 0.9, 0.999):
        yield "cut off", content[: int(part * len(content))]
    for place in rng.integers(0, len(content), count):
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        yield "one bit", bytes(changed)


def report(title, table):
    print(f"\n{title}")
    for fault, (tried, refused) in table.items():
        print(f"  {fault:10} {tried:3} tried, {refused:3} refused")


def inject(path, load, unchanged):
    """Tries all mutations of a file; fault to (tried, refused)."""
    content, table = path.read_bytes(), {}
    for fault, damaged in mutations(content, np.random.default_rng(0)):
        path.write_bytes(damaged)
        tried, refused = table.get(fault, (0, 0))
        try:
            load()
        except REFUSALS as error:
            refused += 1
            assert str(error), fault
            unchanged()
        # Never written to, whatever it was.
        assert path.read_bytes() == damaged
        table[fault] = (tried + 1, refused)
    path.write_bytes(content)
    load()
    for fault in ("empty", "garbage", "cut off"):
        assert table[fault][0] == table[fault][1], fault
    return table
