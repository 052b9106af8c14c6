"""Work on things that come one by one, in threads, whose results come in the order of the things.

Decides how many are under way: one for each thread and one more, so that memory does not grow with their number.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
Result = TypeVar("Result")


def ahead(work: Callable[[T], Result], things: Iterable[T], *, threads: int) -> Iterator[Result]:
    """What `map` gives, computed ahead.

    Args:
        work: what lets go of the interpreter for most of its time, as numpy and Pillow do.
        things: taken in this thread, no more of them than are under way.
        threads: how many.
    """
    under_way: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="ahead") as pool:
        for thing in things:
            under_way.append(pool.submit(work, thing))
            if len(under_way) > threads:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
