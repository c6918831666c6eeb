"""Files that can not be read have no answer: they are kept apart, and named when all others are answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from hubel.core.errors import UnreadableData

MOST_NAMED = 100
HOPELESS = 256  # files of which none can be read: what is wrong is wrong of all


class Unanswered:
    """What of many answers says only why a file could not be read.

    >>> unanswered = Unanswered()
    >>> list(unanswered.apart([{"file": "a.png", "unreadable": "a.png is empty"}, {"file": "b.png", "class": "star"}]))
    [{'file': 'b.png', 'class': 'star'}]
    >>> unanswered.why
    {'a.png': 'a.png is empty'}
    """

    def __init__(self) -> None:
        self.why: dict[str, str] = {}

    def apart(self, answers: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The others, in order, without the word `unreadable`; raises `UnreadableData` where there are none, at the end or after `HOPELESS` files."""
        num = 0
        for answer in answers:
            if answer.get("unreadable"):
                self.why[answer["file"]] = answer["unreadable"]
                if not num and len(self.why) == HOPELESS:
                    self.refuse(" (the others were not tried)")
                continue
            num += 1
            yield {name: value for name, value in answer.items() if name != "unreadable"}
        if not num:
            self.refuse()

    def refuse(self, remedy: str = "") -> None:
        """Raise `UnreadableData` naming the files that were kept apart, if there are any."""
        if not self.why:
            return
        told = [why if name in why else f"{name}: {why}" for name, why in self.why.items()]
        if len(told) == 1:
            raise UnreadableData(f"{told[0]}{remedy}")
        lines = "".join(f"\n  {line}" for line in told[:MOST_NAMED])
        more = f"\n  and {len(told) - MOST_NAMED:,} more" if len(told) > MOST_NAMED else ""
        raise UnreadableData(f"{len(told):,} files can not be read and have no answer{remedy}:{lines}{more}")
