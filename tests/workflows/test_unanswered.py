"""Files without an answer: named at the end, or soon where nothing can be read at all."""

import pytest

from hubel.core.errors import UnreadableData
from hubel.workflows.unanswered import HOPELESS, Unanswered


def answers(told, num, good=None):
    for k in range(num):
        told.append(k)
        yield {"file": f"{k}.png", "class": "a"} if k == good else {"file": f"{k}.png", "unreadable": "grey"}


def test_where_nothing_can_be_read_the_others_are_not_tried():
    told = []
    with pytest.raises(
        UnreadableData, match=f"{HOPELESS} files can not be read and have no answer .the others"
    ):
        list(Unanswered().apart(answers(told, 10_000)))
    assert len(told) == HOPELESS


def test_one_that_can_be_read_is_hope():
    told, unanswered = [], Unanswered()
    assert list(unanswered.apart(answers(told, 1000, good=3))) == [{"file": "3.png", "class": "a"}]
    assert len(told) == 1000 and len(unanswered.why) == 999
    with pytest.raises(UnreadableData, match="999 files"):
        unanswered.refuse()
