"""Text: every byte that is no UTF-8 is named, windows are slices of the text, and nothing crosses from one part into another."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hubel.core.errors import UnreadableData
from hubel.data import alphabet_of, assign_parts, from_text, load_text, read_text, symbols_of, text_of
from hubel.data.batches import Batches
from hubel.data.preprocessing import Scaling

characters = st.characters(codec="utf-8")


@given(text=st.text(characters, max_size=60))
def test_utf_8_is_read_as_it_was_written(text, tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "a.txt"
    for mark in ("", "\ufeff"):
        path.write_bytes((mark + text).encode("utf-8"))
        expected = text.removeprefix("\ufeff") if not mark else text
        assert read_text(path) == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"caf\xe9 au lait",
            r"byte 3 \(0xE9, line 1\): invalid continuation byte.*Where it is Latin-1: iconv -f LATIN1",
        ),
        (b"one\ntwo\n\xff", r"byte 8 \(0xFF, line 3\): invalid start byte"),
        (b"end\xe2\x82", r"byte 3 \(0xE2, line 1\): unexpected end of data"),
        (b"\xef\xbb\xbfab\x80", r"byte 5 \(0x80, line 1\): invalid start byte"),
        ("hello".encode("utf-16"), r"byte 0 \(0xFF, line 1\).*It begins as UTF-16 does: iconv -f UTF-16"),
        (b"\xed\xa0\x80", r"byte 0 \(0xED"),  # a lone surrogate
        (b"\xc0\xaf", r"byte 0 \(0xC0"),  # an overlong form
    ],
)
def test_the_first_byte_that_is_no_utf_8_is_named(tmp_path, content, said):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(UnreadableData, match=f"a.txt is not UTF-8: {said}"):
        load_text(path)


@given(
    text=st.text(st.sampled_from("abcde\n🙂é�"), min_size=40, max_size=120),
    length=st.integers(1, 6),
    step=st.none() | st.integers(1, 9),
)
def test_windows_are_slices_of_the_text_and_stay_in_their_part(text, length, step):
    data = from_text(text, length=length, step=step, validation=0.25, test=0.25)
    alphabet = data.alphabet
    quarter = round(len(text) * 0.5), round(len(text) * 0.75), len(text)
    ends = dict(zip(("train", "validation", "test"), quarter, strict=True))
    begins = dict(zip(("train", "validation", "test"), (0, *quarter), strict=False))
    trained = set(text[: quarter[0]])
    assert set(alphabet) == trained | {"�"}
    seen = {part: [] for part in ends}
    for row in range(len(data)):
        start, part = int(data.ids[row]), str(data.part[row])
        shown = "".join(c if c in trained else "�" for c in text)
        assert text_of(data.inputs[row], alphabet) == shown[start : start + length]
        assert text_of(data.targets[row], alphabet) == shown[start + 1 : start + length + 1]
        assert begins[part] <= start
        assert start + length + 1 <= ends[part]
        seen[part].append(start)
    for part, starts in seen.items():
        assert starts == list(range(begins[part], ends[part] - length, step or length))


@given(text=st.text(characters, max_size=80))
def test_symbols_and_text_are_inverse_and_in_order_of_code_points(text):
    alphabet = alphabet_of(text)
    assert text_of(symbols_of(text, alphabet), alphabet) == text
    assert alphabet == (*sorted(set(text) - {"�"}), "�")
    symbols = symbols_of(text + "\x00", alphabet)
    assert symbols[-1] == (alphabet.index("\x00") if "\x00" in text else len(alphabet) - 1)


def test_the_type_of_symbols_is_the_smallest_that_suffices():
    for num, dtype in ((255, np.uint8), (256, np.int16), (2**15 - 1, np.int16), (2**15, np.int32)):
        alphabet = alphabet_of("".join(chr(0x10000 + k) for k in range(num)))
        assert len(alphabet) == num + 1
        symbols = symbols_of(alphabet, alphabet)
        assert symbols.dtype == dtype
        assert symbols.tolist() == list(range(num + 1))
    for wrong in ("abc", "ba�", "aab�", ""):
        with pytest.raises(ValueError, match="an alphabet has every symbol once, in order"):
            symbols_of("a", wrong)


def test_characters_that_the_training_part_has_not_are_counted(tmp_path):
    path = tmp_path / "poem.txt"
    path.write_text("ab" * 40 + "axbyab" + "ab" * 7, encoding="utf-8")
    data = load_text(path, length=4, validation=0.1, test=0.1)
    assert data.name == "poem"
    assert data.source == str(path)
    assert data.notes[0].startswith(
        "100 characters, 2 different ones in the training part; windows in order of the text: train 19,"
    )
    assert data.notes[1] == "2 characters (xy) do not occur in the training part; they are read as �."
    parts = assign_parts(data, seed=0)
    assert (data.part[parts.test] == "test").all()
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (19, 2, 2)


def test_windows_travel_as_batches():
    data = from_text("hello world, " * 30, length=10, validation=0, test=0)
    whole_numbers = Scaling(mean=(0.0,) * 10, std=(1.0,) * 10, dtype=str(data.inputs.dtype), shape=data.shape)
    batch = next(Batches(data=data, scaling=whole_numbers, batch_size=8).epoch(1))
    assert torch.equal(batch.inputs[:, 1:].long(), batch.targets[:, :-1].long())
    assert not data.is_multilabel


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"length": 0}, "length, step and least must be positive; received length=0, step=0"),
        ({"length": 5, "step": 0}, "received length=5, step=0"),
        ({"validation": 0.5, "test": 0.5}, "leave something to train on; received 0.5 and 0.5"),
        ({"validation": -0.1}, "received -0.1 and 0.1"),
        (
            {"length": 80},
            r"the train part has 80 symbols; expected at least 81.*Give more text, a smaller length$",
        ),
        (
            {"length": 10},
            "the validation part has 10 symbols; expected at least 11.*a smaller length, or validation=0",
        ),
        ({"length": 10, "validation": 0.2}, "the test part has 10 symbols; .*or test=0"),
    ],
)
def test_refusals(options, said):
    with pytest.raises(ValueError, match=said):
        from_text("ab" * 50, **options)
