"""Errors with names of their own. A user's mistake is a `ValueError` or `TypeError` that says what was
received, what was expected and what to do; the classes here add what a caller may want to catch.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ContractError(ValueError):
    """Network, objective and data contradict each other; refused before the first step."""


class UnreadableData(ValueError):
    """Files that could not be read; the message counts and names them."""


class NoRule(ValueError):
    """A method of explanation has no rule for an operation of the network; the message names it and its place."""


class NonFiniteLoss(RuntimeError):
    """The loss or its gradient became NaN or infinite. Weights and buffers are those before the step.

    `step` and `epoch` say when; `ids` are the rows of the batch.
    """

    def __init__(self, message: str, *, step: int, epoch: int, ids: tuple[int, ...] = ()):
        super().__init__(message)
        self.step = step
        self.epoch = epoch
        self.ids = ids


class RunBusy(RuntimeError):
    """Another process is writing this run folder."""


class DamagedRun(RuntimeError):
    """A run folder, or every generation of its checkpoint, can not be read."""


class MissingExtra(ImportError):
    """An optional dependency is not installed; the message has the line that installs it."""


class MemoryRanOut(RuntimeError):
    """A training that had run for long did not get its memory any more; its last checkpoint is whole."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory, of the processor or of a GPU, did not suffice.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError("shape"))
    (True, False)
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in ALLOCATOR_SAYS)


ALLOCATOR_SAYS = ("can't allocate memory", "not enough memory", "out of memory")


def missing_extra(package: str, extra: str, purpose: str) -> MissingExtra:
    """The error for an optional `package` that `purpose` needs.

    >>> print(missing_extra("h5py", "science", "reading HDF5 files"))
    reading HDF5 files needs h5py, which is not installed: pip install "hubel[science]"
    """
    return MissingExtra(f'{purpose} needs {package}, which is not installed: pip install "hubel[{extra}]"')


def nearest(word: str, known: Iterable[str]) -> str:
    """A suggestion for a misspelt `word`, ready to append to a message, or the list of what exists.

    >>> nearest("lable", ["label", "path"])
    ' Did you mean "label"? There are: label, path.'
    >>> nearest("stm", ["net.stem", "net.head"])
    ' Did you mean "net.stem"? There are: net.stem, net.head.'
    """
    known = [str(k) for k in known]
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if not close:  # of a dotted name the last part may be what was meant
        ends = {name.rpartition(".")[2]: name for name in reversed(known)}
        close = [ends[end] for end in difflib.get_close_matches(word, ends, n=1, cutoff=0.6)]
    hint = f' Did you mean "{close[0]}"?' if close else ""
    if not known:
        return hint
    shown = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
    return f"{hint} There are: {shown}."
