"""Text: every byte that is no UTF-8 is named, windows are slices of the text, and nothing crosses from one part into another."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hubel.core.errors import UnreadableData
from hubel.data import (
    BUILTIN,
    alphabet_of,
    assign_parts,
    cut_text,
    from_text,
    load,
    load_text,
    read_like,
    read_text,
    symbols_of,
    synonyms,
    text_of,
)
from hubel.data import text as text_module
from hubel.data.batches import Batches
from hubel.data.preprocessing import scaling_of
from hubel.data.text import in_alphabet, windows_of
from hubel.data.texts import text_file

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
        apart = step if part == "train" and step else length  # no symbol is scored twice
        assert starts == list(range(begins[part], ends[part] - length, apart))


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
    batch = next(Batches(data=data, scaling=scaling_of(data), batch_size=8).epoch(1))
    assert batch.inputs.dtype == torch.int64
    assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1].long())
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


texts = st.text(st.sampled_from("ab cé\n.,🙂\t"), max_size=60)


@given(text=texts)
def test_words_put_together_are_the_text(text):
    cut = cut_text(text, "words")
    assert "".join(cut) == text
    alphabet = alphabet_of(cut)
    assert text_of(symbols_of(cut, alphabet), alphabet) == text
    assert symbols_of(cut, alphabet).tolist() == [alphabet.index(symbol) for symbol in cut]


@given(text=texts, least=st.integers(1, 4))
def test_rare_symbols_are_not_in_the_alphabet(text, least):
    alphabet = alphabet_of(text, least)
    assert set(alphabet[:-1]) == {c for c in text if text.count(c) >= least}
    shown = "".join(c if c in alphabet else "�" for c in text)
    assert text_of(symbols_of(text, alphabet), alphabet) == shown


def test_words_and_functions_of_the_users_own():
    text = ("the light, the dark; the light. " * 20).strip()
    words = from_text(text, length=8, tokens="words", validation=0, test=0)
    assert words.alphabet == (
        " dark",
        " light",
        " the",
        ",",
        ".",
        ";",
        "�",
    )  # "the" without its space occurs once
    assert words.reading["tokens"] == "words"
    assert text_of(words.inputs[0], words.alphabet) == "� light, the dark; the light"
    assert "1 words (the) do not occur in the training part often enough" in words.notes[1]
    own = from_text(text, length=8, tokens=lambda t: t.split(" "), validation=0, test=0)
    assert own.alphabet == ("dark;", "light,", "light.", "the", "�")
    assert own.reading["tokens"] == "own"
    with pytest.raises(TypeError, match="answered 3 among its symbols; expected strings"):
        from_text(text, tokens=lambda t: [3, 4])
    with pytest.raises(
        ValueError, match='tokens is \'letters\'; expected "characters", "words", or a function'
    ):
        from_text(text, tokens="letters")


def test_variants_of_the_training_part_are_trained_on_as_well():
    text = "the light bends. " * 30
    asked = []

    def variants(training):
        asked.append(training)
        return [synonyms(training, {"light": ["ray"]}, share=1.0)]

    data = from_text(text, length=10, variants=variants, validation=0.2, test=0.2)
    plain = from_text(text, length=10, validation=0.2, test=0.2)
    first = round(len(text) * 0.6)
    assert asked == [text[:first]]
    added = np.char.startswith(data.ids, "variant")
    assert set(data.part[added]) == {"train"}
    assert set(data.alphabet) == {*plain.alphabet, *"ray"}
    shown = "".join(text_of(row, data.alphabet) for row in data.inputs[added])
    assert text[:first].replace("light", "ray").startswith(shown)
    assert len(shown) > first * 0.8
    for part in ("train", "validation", "test"):
        rows = ~added & (data.part == part)
        assert [text_of(r, data.alphabet) for r in data.targets[rows]] == [
            text_of(r, plain.alphabet) for r in plain.targets[plain.part == part]
        ]
    assert data.notes[1] == f"{added.sum()} windows of variants of the training part are trained on as well."


def test_numbers_in_another_alphabet():
    data = from_text("abcd" * 20, length=4, validation=0, test=0)
    other = in_alphabet(data, ("b", "d", "z", "�"))
    assert text_of(other.inputs[0], other.alphabet) == "�b�d"
    assert text_of(other.targets[0], other.alphabet) == "b�d�"
    assert in_alphabet(data, data.alphabet) is data


@given(num=st.integers(2, 40), length=st.integers(1, 9))
def test_windows_of_a_whole_text_foretell_every_symbol_once(num, length):
    symbols = np.arange(num, dtype=np.uint8)
    pieces = windows_of(symbols, length)
    assert np.concatenate([targets.ravel() for _, targets in pieces]).tolist() == list(range(1, num))
    for inputs, targets in pieces:
        assert np.array_equal(inputs + 1, targets)
        assert inputs.shape[1] == length or inputs.shape == (1, (num - 1) % length)


def test_new_texts_are_read_like_the_training_text(tmp_path):
    reading = from_text("abcab" * 20, length=4, validation=0, test=0).reading
    (tmp_path / "new.txt").write_text("cabzabcab", encoding="utf-8")
    rows = read_like(tmp_path / "new.txt", reading)
    assert [text_of(row, reading["alphabet"]) for row in rows] == ["cab�", "abca"]
    assert len(read_like([tmp_path / "new.txt"] * 2, reading)) == 4
    assert read_like(torch.tensor([0, 1, 2]), reading).tolist() == [[0, 1, 2]]
    with pytest.raises(ValueError, match="run from 0 to 4; the alphabet has 0 to 3"):
        read_like(np.array([[0, 4]]), reading)
    with pytest.raises(ValueError, match=r"received \[2\] float64; expected numbers of symbols"):
        read_like(np.array([0.5, 1.0]), reading)
    (tmp_path / "short.txt").write_text("abc", encoding="utf-8")
    with pytest.raises(ValueError, match=r"short\.txt is shorter than a window of 4 symbols"):
        read_like(tmp_path / "short.txt", reading)
    (tmp_path / "one.txt").write_text("a", encoding="utf-8")
    with pytest.raises(UnreadableData, match=r"one\.txt has 1 symbols; expected at least 2"):
        read_like(tmp_path / "one.txt", reading)
    with pytest.raises(ValueError, match="a function of your own, which a folder does not hold"):
        read_like(tmp_path / "new.txt", reading | {"tokens": "own"})


def test_loading_a_text_by_its_name_and_what_means_nothing_for_it(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("to be or not to be " * 20, encoding="utf-8")
    data = load(path, length=10, step=5, validation=0, test=0.2)
    assert (data.shape, data.name, set(data.part)) == ((10,), "a", {"train", "test"})
    assert load(path, tokens="words", length=5).alphabet[1:4] == (" not", " or", " to")
    for option in (
        {"target": "label2"},
        {"size": 8},
        {"channels": "rgb"},
        {"task": "classes"},
        {"symmetries": []},
    ):
        with pytest.raises(ValueError, match=r"a.md is a text, whose target is the symbol that follows"):
            load(path, **option)
    for option in ({"length": 5}, {"tokens": "words"}, {"test": 0.1}):
        with pytest.raises(
            ValueError, match=r"says how a text becomes windows, but digits is no text \(.txt, "
        ):
            load("digits", **option)
    with pytest.raises(FileNotFoundError, match=r"b.md does not exist. Did you mean \"a.md\""):
        load(tmp_path / "b.md", length=5)
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(ValueError, match=r"empty.txt is empty: expected a text of at least 101 symbols"):
        load(tmp_path / "empty.txt")


def test_the_embedded_text_is_that_of_the_book():
    """Its length and checksum, and what a reader knows it by."""
    data = load("Opticks", length=200)
    text = read_text(text_file("opticks"))
    assert data.source.startswith("built-in opticks: the Queries of I. Newton")
    assert hashlib.sha256(text.encode()).hexdigest() == (
        "7947ae45ac1fd1c2c556929d7ab64522cf0e77372cf005e7212278d8ed136dc0"
    )
    assert text.startswith(
        "Query 1. Do not Bodies act upon Light at a distance, and by their action bend its Rays;"
    )
    for number in range(2, 30):
        assert text.count(f"\n\nQu. {number}. ") == 1
    assert text.count("\n\nQuest. 3") == 2
    assert "_" not in text
    assert "Gutenberg" not in text
    assert BUILTIN["opticks"].licence == "public domain"


def test_symbols_are_looked_up_in_pieces(monkeypatch):
    text = "abc🙂é" * 7 + "z"
    alphabet = alphabet_of(text[:-1])
    whole = symbols_of(text, alphabet)
    monkeypatch.setattr(text_module, "AT_ONCE", 3)
    assert symbols_of(text, alphabet).tolist() == whole.tolist()
    assert whole[-1] == len(alphabet) - 1


def test_windows_that_are_scored_share_no_symbol():
    data = from_text("abcdefgh" * 50, length=10, step=3, validation=0.2, test=0.2)
    for part, apart in (("train", 3), ("validation", 10), ("test", 10)):
        starts = data.ids[data.part == part].astype(int)
        assert set(np.diff(starts).tolist()) == {apart}


@pytest.mark.parametrize(
    "option",
    [
        {"kind": "series"},
        {"nan": "zero"},
        {"columns": ["a"]},
        {"ignore": "a"},
        {"categories": ["a"]},
        {"missing": ["?"]},
        {"skip_unreadable": True},
        {"resize": "crop"},
        {"time": "t"},
        {"season": 4},
    ],
)
def test_words_of_other_data_are_refused(tmp_path, option):
    (tmp_path / "a.txt").write_text("to be or not to be " * 20, encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"a.txt is a text, whose target is the symbol that follows: leave it out"
    ):
        load(tmp_path / "a.txt", length=5, **option)


def test_a_text_of_numbers_is_said_to_look_like_one(tmp_path):
    (tmp_path / "a.txt").write_text("date flux\n" + "2026-01-01 1.5\n" * 40, encoding="utf-8")
    assert "say forecast= (--forecast)" in load(tmp_path / "a.txt", length=5).notes[-1]
    (tmp_path / "b.txt").write_text("1\n\nIt was a dark night, and 3 men came.\n" * 40, encoding="utf-8")
    assert not any("forecast" in note for note in load(tmp_path / "b.txt", length=5).notes)


def test_a_text_in_place_of_its_path_is_no_file():
    reading = from_text("abcab" * 20, length=4, validation=0, test=0).reading
    for text in ("abcabcabc", "abc\n" * 200, "ab\0c"):
        with pytest.raises(
            FileNotFoundError, match=r"is no file\. A text that is no file is given as the numbers"
        ):
            read_like(text, reading)


def test_a_text_in_place_of_a_path_is_told_how_to_be_fitted():
    with pytest.raises(FileNotFoundError, match=r"^'to be.{1,60}…' is no path; .*from_text\(text\)"):
        load("to be or not to be, " * 50)
