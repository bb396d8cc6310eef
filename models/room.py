"""When memory runs out: how that is told from other errors, and the ladder that is gone down instead of ending."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from ingest.errors import Busy, TooLarge


def ran_out(error: BaseException) -> bool:
    """Whether this is want of memory: Python's word for it, torch's for a GPU, or that of its allocator for a CPU."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def down_the_ladder(tell: Callable[[int], Iterator[str]], pictures: int) -> Iterator[str]:
    """An answer about `pictures`, or as many of them as there is memory for: `tell(n)` answers about every n-th.

    The ladder: all of them, every second one, every fourth, … a single one, and then `TooLarge`. An answer that has
    begun is not begun again: when memory runs out later it ends there, with `TooLarge`.
    """
    step, first, pieces = 1, list[str](), iter(list[str]())
    while True:
        try:
            pieces = tell(step)
            first = list(islice(pieces, 1))
            break
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
            if step >= pictures:
                raise TooLarge(
                    "Not even one picture fits in this device's memory.", advice="Choose a smaller model or a CPU."
                ) from error
        step *= 2
        _give_back()  # only now: until the error was gone, its traceback held what had been computed
    yield from first
    try:
        yield from pieces
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        raise TooLarge("Memory ran out in the middle of the answer.", advice="Ask about a shorter time.") from error


def one_by_one(work: Callable[[Sequence[Any]], Iterable[Any]], items: Sequence[Any]) -> Iterable[Any]:
    """What `work` makes of `items`, of one after another where a GPU's memory runs out for all. Others have a part of
    it: where it runs out for one, `Busy` is raised, and it is tried again."""
    try:
        return work(items)
    except RuntimeError as error:
        if not _is_full(error):
            raise
    _give_back()
    try:
        return [made for item in items for made in work([item])]
    except RuntimeError as error:
        if not _is_full(error):
            raise
    _give_back()
    raise Busy("The GPU's memory is used up.", advice="It is tried again. A smaller language model leaves more of it.")


def _is_full(error: RuntimeError) -> bool:
    return type(error).__name__ == "OutOfMemoryError"


def _give_back() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
