"""A limited number of tries within a window of time, with growing pauses."""

from collections import deque


class Tries:
    """Counts the tries of the last `window_s` seconds. The budget resets after a quiet window."""

    def __init__(self, limit: int, window_s: float, first_pause_s: float = 1.0):
        self.limit = limit
        self._window_s = window_s
        self._first_pause_s = first_pause_s
        self._taken: deque[float] = deque()

    def take(self, now_s: float) -> float | None:
        """Count a try and return the pause before it, 0 for the first one; None when no try is left."""
        while self._taken and self._taken[0] <= now_s - self._window_s:
            self._taken.popleft()
        count = len(self._taken)
        if count == self.limit:
            return None
        self._taken.append(now_s)
        return self._first_pause_s * float(2 ** (count - 1)) if count else 0.0

    @property
    def count(self) -> int:
        """Number of tries within the window before the last one."""
        return len(self._taken)
