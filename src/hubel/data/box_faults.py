"""What is wrong with labels of boxes, box by box, is collected and said at once: whoever has forty wrong boxes need not load forty times."""

from __future__ import annotations

from types import TracebackType

from hubel.core.errors import UnreadableData

MOST_OF_FILE = 10  # that are told of each file; the others are counted
MOST_FILES = 10


class Faults:
    """Errors inside `with faults.of(file):` are kept, and `refuse` raises them all.

    >>> faults = Faults()
    >>> for row in range(12):
    ...     with faults.of("a.txt"):
    ...         raise ValueError(f"a.txt, line {row}: no number")
    >>> try:
    ...     faults.refuse()
    ... except ValueError as error:
    ...     lines = str(error).splitlines()
    >>> print(lines[0], lines[1], lines[-1], sep="")
    12 faults in the labels:  a.txt, line 0: no number  and 2 more in a.txt
    """

    def __init__(self) -> None:
        self._told: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}
        self._unreadable = True
        self._file = ""

    def of(self, file: str) -> Faults:
        """Itself, for errors in a file of labels."""
        self._file = file
        return self

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, ValueError):
            return False
        self._unreadable &= isinstance(error, UnreadableData)
        self._counts[self._file] = self._counts.get(self._file, 0) + 1
        if self._counts[self._file] <= MOST_OF_FILE:
            self._told.setdefault(self._file, []).append(str(error))
        return True

    def refuse(self) -> None:
        """Raise `ValueError` that tells and counts what was kept, if there is anything; `UnreadableData` where it is that alone."""
        total = sum(self._counts.values())
        if not total:
            return
        kind = UnreadableData if self._unreadable else ValueError
        if total == 1:
            raise kind(next(iter(self._told.values()))[0])
        lines = [f"{total:,} faults in the labels:"]
        for file in list(self._told)[:MOST_FILES]:
            lines += self._told[file]
            if more := self._counts[file] - len(self._told[file]):
                lines.append(f"and {more:,} more in {file}")
        if others := list(self._told)[MOST_FILES:]:
            lines.append(
                f"and {sum(self._counts[file] for file in others):,} more in {len(others):,} other files"
            )
        raise kind("\n  ".join(lines))
