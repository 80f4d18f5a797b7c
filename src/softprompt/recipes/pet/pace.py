"""How long the rest of a recipe may take, at the rate of what this session has done.

Work is counted in rows that pass the network forwards and backwards; a row that is only scored counts a
third. Knows numbers, not what they are of.
"""

from __future__ import annotations

import time

SCORED = 1 / 3
"""A forward pass, in passes forwards and backwards."""


class Pace:
    """What is done of a total, and when it began.

    Args:
        total: rows of all that is not done yet.
    """

    def __init__(self, total: float):
        self._began = time.monotonic()
        self._left, self._done = total, 0.0

    def done(self, rows: float) -> None:
        """So many more are behind us."""
        self._done += rows
        self._left = max(0.0, self._left - rows)

    @property
    def left(self) -> str:
        """`, about 2:10 left`; empty before anything was done."""
        if not self._done:
            return ""
        seconds = round((time.monotonic() - self._began) / self._done * self._left)
        return f", about {seconds // 60}:{seconds % 60:02} left"
