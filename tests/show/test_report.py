import base64
import itertools
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from made_runs import digits_run, drawn_run, write_run

from hubel.metrics import confusion_matrix
from hubel.show import Evidence, report

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Elements with their attributes, text, and whether every element is closed in order."""

    def __init__(self, source):
        super().__init__()
        self.elements, self.words, self.open = [], [], []
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def downloads(page):
    files = {a["download"]: a["href"] for a in page.all("a") if "download" in a}
    return {name: base64.b64decode(href.split("base64,")[1]).decode() for name, href in files.items()}


def changed(source, folder, change):
    """A copy of a run whose run.json is changed."""
    shutil.copytree(source, folder)
    about = json.loads((folder / "run.json").read_text())
    change(about)
    (folder / "run.json").write_text(json.dumps(about))
    return folder


@pytest.fixture(scope="module")
def page(digits):
    return Page(report(digits))


def test_the_verdict_comes_first_with_interval_baselines_and_looks(page):
    text = page.text
    sections = [a["id"] for a in page.all("section")]
    assert sections == ["score", "data", "fit", "errors", "mistakes", "input", "recipe", "again"]
    assert re.search(r"9\d\.\d % \[9\d\.\d, 9\d\.\d\] of 360 test examples are classified correctly", text)
    assert "The whole interval lies above both. The test part was looked at once." in text
    assert (
        text.index("classified correctly")
        < text.index("Validation loss still falls")
        < text.index("The data")
    )


def test_the_page_is_one_file_that_loads_nothing(digits):
    source = report(digits)
    page = Page(source)
    assert len(source.encode()) < 300_000
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            address = attributes.get(name, "#")
            assert address.startswith(("#", "data:")), address
    assert not page.all("script")
    assert not page.all("link")
    assert "url(" not in source
    assert "@import" not in source


def test_the_page_can_be_heard(page):
    assert all(a.get("alt") for a in page.all("img"))
    assert all(a.get("aria-label") or a.get("aria-hidden") for a in page.all("svg"))
    assert all(a.get("scope") for a in page.all("th"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    assert page.all("html")[0]["lang"] == "en"


def test_the_files_inside_hold_the_numbers(digits, page):
    files = downloads(page)
    evidence = Evidence.read(digits)
    matrix = [row.split(",")[1:] for row in files["confusion.csv"].splitlines()[1:]]
    np.testing.assert_array_equal(np.array(matrix, int), confusion_matrix(*evidence.predicted, 10))
    curves = files["curves.csv"].splitlines()
    assert curves[0].startswith("epoch,step,loss,validation_loss")
    assert len(curves) == 31
    assert files["classes.csv"].startswith("class,examples,recall,recall_low,recall_high")


def test_the_curves_have_units_and_the_loss_before_learning(page):
    for words in (
        "loss (nats)",
        "before learning: 2.3",
        "accuracy (%)",
        "learning rate",
        "epoch",
        "validation",
    ):
        assert words in page.text


def test_everything_that_was_chosen_and_where_stands_on_the_page(page):
    for words in (
        "SGD(momentum 0.9, weight decay 0.0005)",
        "no symmetry was declared, so none is assumed",
        "nets.mlp(hidden=(), inputs=(1, 8, 8), outputs=10)",
        "hubel fit digits --seed 1",
        "torch 2.13.0",
        "9b3d6d0c" * 8,
        "3f9ac1d27be0",
        "7.67 GiB",
        "8 × 8 pixels, one channel in grey. Black is 0, white is 16.",
    ):
        assert words in page.text, words


def test_names_from_strangers_are_only_text(tmp_path):
    evil = '"><script>alert(1)</script><img src=http://x onerror=alert(2)>'
    folder = digits_run(tmp_path / "run", classes=[f"{evil}{k}" for k in range(10)], epochs=2)

    def spoil(about):
        about |= {"name": evil, "command": evil, "stopped": evil, "status": evil, "created": evil}
        about["data"]["notes"] = [evil]
        about["data"]["source"] = about["data"]["fingerprint"] = evil
        about["test"] = {evil: about["test"]["accuracy"]}
        about["recipe"] = {evil: {"is": evil, evil: [evil]}}
        about["reasons"] = {evil: evil}

    folder = changed(folder, tmp_path / "spoiled", spoil)
    with np.load(folder / "predictions.npz") as stored:
        arrays = dict(stored)
    arrays["ids"] = np.array([f"{evil}{row}" for row in range(len(arrays["ids"]))])
    np.savez(folder / "predictions.npz", **arrays)
    (folder / "curves.jsonl").write_text(
        json.dumps({"epoch": 1, "loss": 1.0, "validation": {evil: 0.5}}) + "\n"
    )
    (folder / "findings.jsonl").write_text(
        json.dumps({"what": evil, "remedy": evil, "evidence": {evil: evil}}) + "\n"
    )
    source = report(folder)
    page = Page(source)
    assert not page.all("script")
    assert all(a["src"].startswith("data:image/png") for a in page.all("img"))
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert page.text.count("<script>alert(1)</script>") > 20


def test_a_spreadsheet_runs_no_class_name(tmp_path):
    folder = digits_run(tmp_path / "run", classes=["=1+1", *"123456789"], epochs=2)
    assert ",'=1+1," in downloads(Page(report(folder)))["confusion.csv"]


@pytest.mark.parametrize("num_classes", [1000, 60, 2])
def test_large_pictures_and_many_classes_stay_under_two_megabytes(tmp_path, num_classes):
    classes = [f"a rather long name of class {k}" for k in range(num_classes)]
    folder = drawn_run(tmp_path / "run", classes=classes, shape=(3, 224, 224), mixed=num_classes == 60)
    source = report(folder)
    page = Page(source)
    assert len(source.encode()) < 2_000_000
    assert len(page.all("img")) == 40
    assert ("svg", "matrix") in [(tag, a.get("class")) for tag, a in page.elements] or num_classes != 60
    assert ("70 % a rather long" in page.text) == (num_classes == 60)
    assert all(path["d"].count("L") <= 1000 for path in page.all("path"))


def test_other_numbers_of_channels_are_shown_one_by_one_and_said(tmp_path):
    folder = drawn_run(
        tmp_path / "run", classes=["star", "galaxy"], shape=(4, 20, 20), dtype=np.uint16, skill=1.0
    )
    page = Page(report(folder))
    assert (
        "20 × 20 pixels, 4 channels, side by side in grey. Black to white, channel by channel: " in page.text
    )
    assert len(page.all("img")) == 4 * 24 + 4 * 8
    folder = drawn_run(tmp_path / "cube", classes=["a", "b"], shape=(40, 8, 8), dtype=np.float32, skill=1.0)
    assert "the first 6 of 40 channels" in Page(report(folder)).text


def test_real_targets_have_residuals_and_no_confusion(diabetes):
    page = Page(report(diabetes))
    assert "true progression (points)" in page.text
    assert "predicted − true" in page.text
    assert "Always answering the mean of these targets would give" in page.text
    assert "confusion" not in page.text.lower()
    assert "patient" in page.text
    assert len(downloads(page)["predictions.csv"].splitlines()) == 93


def test_several_labels_an_example(tmp_path, digits):
    about = json.loads((digits / "run.json").read_text())
    about["data"]["classes"] = ["cat", "dog", "bird"]
    about["test"] = {}
    targets = np.random.default_rng(0).integers(0, 2, (50, 3))
    write_run(tmp_path / "run", about, [(1.0, 1.0, {"macro_f1": 0.5}, 0.1)], targets=targets, values=targets)
    page = Page(report(tmp_path / "run"))
    assert "micro f1 on 50 test examples" in page.text
    assert "The scores were computed from predictions.npz" in page.text
    assert "bird" in page.text


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_a_run_that_did_not_finish_says_so_first(tmp_path, digits, status):
    folder = changed(
        digits, tmp_path / "run", lambda about: about.update(status=status, stopped="Ctrl-C in epoch 7")
    )
    text = Page(report(folder)).text
    assert 0 < text.index("Ctrl-C in epoch 7") < text.index("classified correctly")


def test_the_scored_part_is_named(tmp_path, digits):
    folder = changed(
        digits, tmp_path / "run", lambda about: about.update(scored_part="validation", test_looks=0)
    )
    text = Page(report(folder)).text
    assert "of 360 validation examples are classified correctly" in text
    assert "The test part was not looked at yet." in text
    assert "test examples" not in text


def test_a_thousand_long_names_stay_under_two_megabytes(tmp_path):
    classes = [f"{k} {'é' * 300}" for k in range(1000)]
    source = report(drawn_run(tmp_path / "run", classes=classes, shape=(1, 8, 8)))
    Page(source)
    assert len(source.encode()) < 2_000_000


def test_looks_at_the_test_part_are_counted(tmp_path, digits):
    folder = changed(digits, tmp_path / "run", lambda about: about.update(test_looks=3))
    assert "looked at 3 times; each choice made after a look" in Page(report(folder)).text


def test_a_score_no_better_than_chance_is_called_that(tmp_path, digits):
    bad = {"value": 0.11, "low": 0.08, "high": 0.15, "level": 0.95, "count": 360}
    folder = changed(digits, tmp_path / "run", lambda about: about.update(test={"accuracy": bad}))
    assert "nothing shows yet that the network has learned" in Page(report(folder)).text
