"""How work grows with its size: a ratio within one run, so that a slow or busy machine does not count."""

import time
from collections.abc import Callable
from typing import Any

LINEAR = 30.0  # for eight times the size: linear work takes about 8 times as long, quadratic work 64 times


def growth(work: Callable[[Any], object], small: Any, large: Any) -> float:
    """How many times the CPU time of `small` the work takes for `large`: the least of three each."""
    return _least(work, large) / max(_least(work, small), 1e-4)


def _least(work: Callable[[Any], object], size: Any) -> float:
    times = []
    for _ in range(3):
        began = time.thread_time()
        work(size)
        times.append(time.thread_time() - began)
    return min(times)
