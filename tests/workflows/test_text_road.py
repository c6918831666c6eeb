"""Text, the whole road: fitted, resumed, evaluated, predicted, written; and what is refused."""

import json
import math
import signal
import threading
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from small_runs import quick, same_weights

import hubel
from hubel import fitting, nets, workflows
from hubel.core.errors import UnreadableData
from hubel.data import from_text, read_text, symbols_of
from hubel.workflows import training
from hubel.workflows.write import written

SAYING = "to be or not to be, that is the question. whether it is nobler to read, or to write. "


def small(inputs, outputs):
    return nets.character_lm("gru", 24, layers=1, dropout=0.0, inputs=inputs, outputs=outputs)


def recipe(**changes):
    return quick(
        **{"optimizer": fitting.AdamW(learning_rate=0.02), "max_grad_norm": 1.0, "epochs": 8, **changes}
    )


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "book.txt"
    path.write_text(SAYING * 40, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(book):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hubel.show, "report", lambda folder: "<html></html>")
        return hubel.fit(
            book, net=small, recipe=recipe(), options={"length": 20}, out=book.parent / "run", quiet=True
        )


def test_a_text_is_fitted_as_pictures_are(run, book):
    assert list(run.test) == ["bits_per_symbol", "perplexity", "accuracy", "top_5_accuracy"]
    bits = run.test["bits_per_symbol"]
    symbols = symbols_of(SAYING * 40, run.objective.alphabet)
    shares = np.bincount(symbols) / len(symbols)
    memoryless = -sum(p * math.log2(p) for p in shares if p)
    assert 0 < bits["low"] <= bits["value"] <= bits["high"] < memoryless - 1
    assert bits["count"] == len(run.split["test"])
    about = run.about
    assert about["net"]["name"] == "hubel.nets.character_lm"
    assert about["expected_initial_loss"] == pytest.approx(math.log(len(run.objective.alphabet)))
    assert about["loading"]["options"] == {"length": 20}
    assert len(about["written"]["text"]) == 600
    assert set(about["written"]["text"]) <= set(SAYING)
    assert [row["validation"]["bits_per_symbol"] for row in run.curves][-1] < memoryless
    assert run.curves[-1]["validation_loss"] == pytest.approx(
        run.curves[-1]["validation"]["bits_per_symbol"] * math.log(2)
    )


def test_what_is_stored_is_what_is_scored(run):
    with np.load(run.folder / "predictions.npz", allow_pickle=False) as stored:
        bits, values, targets = stored["surprisals"], stored["values"], stored["targets"]
        worst, entering = stored["worst_rows"], stored["entering_symbols"]
    assert bits.mean(dtype=np.float64) == pytest.approx(run.test["bits_per_symbol"]["value"], rel=1e-6)
    assert (values == targets).mean() == pytest.approx(run.test["accuracy"]["value"])
    means = bits.mean(1)
    assert all(means[a] >= means[b] for a, b in pairwise(worst))
    assert means[worst[0]] == means.max()
    assert entering.shape == (16, 20)
    assert workflows.evaluate(run)["bits_per_symbol"].value == run.test["bits_per_symbol"]["value"]


def test_another_text_is_read_in_the_alphabet_of_the_run(run, book, tmp_path):
    (tmp_path / "other.txt").write_text(SAYING.replace("nobler", "NOBLER") * 3, encoding="utf-8")
    found = hubel.evaluate(run.folder, tmp_path / "other.txt")
    assert found["bits_per_symbol"].count == (len(SAYING) * 3 - 1) // 20
    same = from_text(SAYING * 3, length=20, validation=0, test=0)
    assert found["bits_per_symbol"].value > run.evaluate(same)["bits_per_symbol"].value
    with pytest.raises(
        ValueError, match="fitted to foretell the next symbol of a text, but arrays holds features"
    ):
        run.evaluate(np.zeros((4, 20), "float32"), [0, 1, 0, 1])


def test_the_bits_of_each_file(run, tmp_path):
    texts = {"same.txt": SAYING * 2, "strange.txt": "xyz! " * 30, "short.txt": SAYING[:9]}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = list(workflows.predict_files(run, [tmp_path / name for name in texts]))
    assert [answer["symbols"] for answer in found] == [len(text) for text in texts.values()]
    assert [answer["unknown"] for answer in found] == [0, 30 * 4, 0]
    assert found[0]["bits_per_symbol"] < found[1]["bits_per_symbol"]
    symbols = torch.from_numpy(symbols_of(texts["short.txt"], run.objective.alphabet)).long()
    scores = run.net(symbols[None, :-1])[0] / run.objective.temperature
    nats = torch.nn.functional.cross_entropy(scores, symbols[1:]).item()
    assert found[2]["bits_per_symbol"] == pytest.approx(nats / math.log(2), rel=1e-5)
    assert found[2]["perplexity"] == pytest.approx(math.exp(nats), rel=1e-5)
    (tmp_path / "bad.txt").write_bytes(b"caf\xe9")
    with pytest.raises(UnreadableData, match="not UTF-8: byte 3"):
        list(workflows.predict_files(run, [tmp_path / "bad.txt"]))
    skipped = list(
        workflows.predict_files(run, [tmp_path / "bad.txt", tmp_path / "same.txt"], skip_unreadable=True)
    )
    assert "not UTF-8" in skipped[0]["unreadable"]
    assert skipped[1] == found[0] | {"unreadable": "", "file": str(tmp_path / "same.txt")}
    with pytest.raises(ValueError, match="is a folder; name the texts in it"):
        list(workflows.predict_files(run, [tmp_path]))


def test_prediction_of_windows(run, book):
    prediction = run.predict(book)
    assert prediction.values.shape == ((len(SAYING) * 40 - 1) // 20, 20)
    assert prediction.probabilities.sum(2) == pytest.approx(1, abs=1e-5)
    assert len(prediction.labels[0]) == 20


class TestWriting:
    def test_the_seed_decides(self, run):
        one, same, other = ("".join(hubel.write(run, "to ", length=60, seed=seed)) for seed in (1, 1, 2))
        assert len(one) == 60
        assert one == same != other

    def test_symbols_come_as_they_are_made(self, run):
        text = hubel.write(run, length=10**9)
        assert [next(text) for _ in range(3)] == list(hubel.write(run, length=3))

    def test_without_temperature_the_likeliest_is_written(self, run):
        text = "to be or n"
        for symbol in hubel.write(run, text, length=20, temperature=0):
            numbers = torch.from_numpy(symbols_of(text, run.objective.alphabet)).long()
            assert symbol == run.objective.alphabet[int(run.net(numbers[None])[0, -1, :-1].argmax())]
            text += symbol

    def test_drawn_as_often_as_the_network_believes(self, run):
        """Frequencies of the first symbol over many seeds, at two temperatures, against the softmax."""
        prompt = symbols_of("to be o", run.objective.alphabet)
        net, objective = run.net, run.objective
        scores = (
            net(torch.from_numpy(prompt).long()[None])[0, -1, :-1].detach().double() / objective.temperature
        )
        for temperature, top in ((1.0, None), (3.0, None), (3.0, 2)):
            drawn = [
                next(
                    written(net, objective, prompt, run.device, context=20, length=1,
                            temperature=temperature, top=top, seed=seed)
                )
                for seed in range(400)
            ]  # fmt: skip
            kept = (
                scores if top is None else scores.masked_fill(scores < scores.sort().values[-top], -math.inf)
            )
            expected = (kept / temperature).softmax(0)
            for number, p in enumerate(expected.tolist()):
                share = drawn.count(objective.alphabet[number]) / 400
                assert share == pytest.approx(p, abs=4.5 * math.sqrt(p * (1 - p) / 400) + 1e-9)

    def test_strange_symbols_of_a_prompt_are_said(self, run):
        with pytest.warns(UserWarning, match="the prompt has 'é', 'ü', which the alphabet .* read as �"):
            text = "".join(hubel.write(run, "über é", length=30))
        assert "�" not in text

    def test_a_network_of_the_users_own_reads_again(self, tmp_path):
        class Own(torch.nn.Module):
            """[N, L] to [N, L, K]: of the last symbol alone."""

            def __init__(self, size):
                super().__init__()
                self.table = torch.nn.Embedding(size, size)

            def forward(self, x):
                assert x.shape[1] <= 20
                return self.table(x)

        data = from_text(SAYING * 10, length=20)
        net = Own(len(data.alphabet))
        run = hubel.fit(data, net=net, recipe=recipe(epochs=1), out=tmp_path / "own", quiet=True)
        assert len("".join(hubel.write(run, SAYING, length=40))) == 40

    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            ({"length": 0}, "length is 0; expected a whole number"),
            ({"temperature": -1.0}, "temperature is -1.0; expected 0"),
            ({"temperature": math.nan}, "temperature is nan"),
            ({"top": 0}, "top is 0; expected"),
        ],
    )
    def test_refusals(self, run, asked, said):
        with pytest.raises(ValueError, match=said):
            hubel.write(run, **asked)

    def test_what_was_not_fitted_to_a_text_can_not_write(self, tmp_path):
        x = np.random.default_rng(0).normal(size=(40, 5)).astype("float32")
        run = hubel.fit(x, (x[:, 0] > 0).astype(int), recipe=quick(), out=tmp_path / "run", quiet=True)
        with pytest.raises(ValueError, match="was not fitted to a text, so it can not write one"):
            hubel.write(run)


def test_shares_are_those_of_the_text(book, tmp_path):
    """`validation` and `test` of `fit` say where the text is parted, and are remembered for a resume."""
    run = hubel.fit(
        book, net=small, recipe=recipe(epochs=1), options={"length": 20}, validation=0.2, test=0.3,
        out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    assert run.about["loading"]["options"] == {"length": 20, "validation": 0.2, "test": 0.3}
    sizes = {name: len(rows) for name, rows in run.split.items()}
    assert sizes == {"train": 84, "validation": 33, "test": 50}


def test_an_interrupted_run_ends_as_one_that_was_not(book, tmp_path, monkeypatch):
    options = {"net": small, "options": {"length": 20}, "quiet": True}
    whole = hubel.fit(book, recipe=recipe(epochs=3), out=tmp_path / "whole", **options)
    steps = training.Training._scores

    def interrupting(self, part):
        if self.position.epoch == 2:
            assert threading.current_thread() is threading.main_thread()
            signal.raise_signal(signal.SIGINT)
        return steps(self, part)

    monkeypatch.setattr(training.Training, "_scores", interrupting)
    half = hubel.fit(book, recipe=recipe(epochs=3), out=tmp_path / "half", **options)
    monkeypatch.setattr(training.Training, "_scores", steps)
    assert half.status == "interrupted"
    resumed = hubel.resume(half.folder, quiet=True)
    assert resumed.status == "finished"
    assert same_weights(whole, resumed)
    assert resumed.about["written"] == whole.about["written"]


def test_like_another_run(run, book, tmp_path):
    again = hubel.fit(book, like=run, options={"length": 20}, out=tmp_path / "again", quiet=True)
    assert same_weights(again, run)
    assert again.objective == run.objective
    (tmp_path / "other.txt").write_text("a rose is a rose. " * 60, encoding="utf-8")
    other = hubel.fit(
        tmp_path / "other.txt", like=run.folder, options={"length": 20}, out=tmp_path / "o", quiet=True
    )
    assert other.objective.alphabet == (*" .aeiors", "�")
    assert other.about["net"]["arguments"] == run.about["net"]["arguments"] | {"inputs": 9, "outputs": 9}
    assert other.recipe == run.recipe


def test_words(book, tmp_path):
    run = hubel.fit(
        book, net=small, recipe=recipe(epochs=12), options={"length": 8, "tokens": "words"},
        out=tmp_path / "words", quiet=True,
    )  # fmt: skip
    assert " question" in run.objective.alphabet
    text = hubel.write(run, "whether it", length=6, temperature=0)
    assert "".join(text).startswith(" is nobler to read, or")
    (answer,) = workflows.predict_files(run, [book])
    assert answer["symbols"] == len(SAYING.split()) * 40 + 40 * 4 + 1


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("", {}, "a.txt is empty: expected a text of at least 101 symbols"),
        ("abc" * 20, {}, "the train part has 48 symbols; expected at least 101.*a smaller length"),
        ("a" * 2000, {}, "the training part of a has one symbol only, 'a': there is nothing to foretell"),
        ("ab" * 900, {"validation": 0.9, "test": 0.2}, "leave something to train on"),
    ],
)
def test_texts_that_are_refused(tmp_path, text, options, said):
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        hubel.fit(tmp_path / "a.txt", recipe=recipe(), options=options, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_symbols_with_classes_need_a_network():
    data = from_text(SAYING * 10, length=20, validation=0, test=0)
    labelled = hubel.data.Dataset(
        inputs=data.inputs, targets=np.arange(len(data)) % 2, classes=("a", "b"), alphabet=data.alphabet
    )
    with pytest.raises(ValueError, match=r"default network for the next symbol only.*answers \[N, 2\]"):
        hubel.fit(labelled, recipe=recipe(), quiet=True)


def test_a_symbol_that_only_the_test_part_has(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("to be or not " * 60 + "ζ" + "to be or not " * 4, encoding="utf-8")
    run = hubel.fit(
        path, net=small, recipe=recipe(epochs=2), options={"length": 10}, out=tmp_path / "run", quiet=True
    )
    assert "ζ" not in run.objective.alphabet
    assert (
        run.about["data"]["notes"][1]
        == "1 characters (ζ) do not occur in the training part; they are read as �."
    )
    assert np.isfinite(run.test["bits_per_symbol"]["value"])


def test_nothing_is_warned_of(book, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = hubel.fit(
            book, recipe=recipe(epochs=1, precision=None), options={"length": 20}, out=tmp_path / "run", quiet=True,
            net=small,
        )  # fmt: skip
    assert (
        json.loads((run.folder / "run.json").read_text())["objective"]["is"] == "hubel.objectives.NextSymbol"
    )
    assert read_text(book) == SAYING * 40
