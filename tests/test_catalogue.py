"""docs/catalogue.md is true: names can be imported, tests and pages exist, pages mention the names, and what is not yet there is not."""

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CELLS = re.compile(r"^\| (?P<row>[A-G]\d*(?:, [A-E]\d+)*) \|(?P<rest>.*)\|$", re.MULTILINE)


def rows(text):
    """Row, what, names, tests, pages of every line of the tables."""
    for line in CELLS.finditer(text):
        cells = [cell.strip() for cell in line["rest"].split(" | ")]
        assert len(cells) in (2, 4), (
            f"{line['row']} has {len(cells) + 1} cells; expected 5, or row, what and “not yet: names | |”"
        )
        what, names, *found = cells
        tests, pages = found if found else ("", "")
        yield line["row"], what, names, tests, pages


ROWS = list(rows((DOCS / "catalogue.md").read_text("utf-8").replace("| | |", "|")))
DONE = [row for row in ROWS if not row[2].startswith("not yet")]
WAITING = [row for row in ROWS if row[2].startswith("not yet")]
LABELS = {"ids": lambda row: f"{row[0]} {row[1][:30]}"}


def object_of(name):
    """What a dotted name stands for: the longest part of it that is a module, and attributes of that."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


def exists(name):
    try:
        object_of(name)
    except (ModuleNotFoundError, AttributeError):
        return False
    return True


@cache
def functions_of(path):
    """Functions of a file, and Class::function."""
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
    return found


def names_in(cell):
    return re.findall(r"`([\w.]+)`", cell)


def test_every_row_of_the_courses_is_here():
    numbered = {row for line in ROWS for row in line[0].split(", ")}
    wanted = [
        *(f"A{k}" for k in range(1, 17)),
        *(f"B{k}" for k in (*range(1, 8), 10)),
        *(f"C{k}" for k in range(1, 16)),
        "D",
        *(f"E{k}" for k in range(1, 13)),
        "F",
        "G",
    ]
    assert not set(wanted) - numbered
    assert len(ROWS) > 60


@pytest.mark.parametrize("row", DONE, **LABELS)
def test_what_is_there_is_there(row):
    number, _, names, tests, pages = row
    assert names_in(names), f"{number} names nothing"
    for name in names_in(names):
        assert exists(name), f"{number}: {name} can not be imported"
    named = re.findall(r"(tests/\S+\.py)::(\w+(?:::\w+)?)", tests)
    assert named, f"{number} has no test"
    for path, function in named:
        assert (ROOT / path).exists(), f"{number}: {path} does not exist"
        assert function in functions_of(ROOT / path), f"{number}: {path} has no {function}"
    told = re.findall(r"\]\(([^)#]+)\)", pages)
    assert told, f"{number} has no page"
    text = "\n".join((DOCS / page).read_text("utf-8") for page in told)
    for name in names_in(names):
        assert re.search(rf"\b{name.rpartition('.')[2]}\b", text), (
            f"{number}: {', '.join(told)} do not mention {name}"
        )


@pytest.mark.parametrize("row", WAITING, **LABELS)
def test_what_is_not_yet_there_is_said_when_it_comes(row):
    number, _, names, tests, pages = row
    assert names_in(names), f"{number} waits for nothing: name what it waits for"
    assert not tests and not pages, f"{number} is not yet there, but names tests or pages"
    come = [name for name in names_in(names) if exists(name)]
    assert not come, (
        f"{number}: {', '.join(come)} can be imported now: name its test and its page in docs/catalogue.md"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "| A1 | x | `hubel.nets.nothing` | tests/test_catalogue.py::test_what_is_there_is_there | [fit](fit.md) |",
            "can not be imported",
        ),
        (
            "| A1 | x | `hubel.fit` | tests/test_catalogue.py::test_nothing | [fit](fit.md) |",
            "has no test_nothing",
        ),
        ("| A1 | x | `hubel.fit` | tests/test_nothing.py::test_nothing | [fit](fit.md) |", "does not exist"),
        (
            "| A1 | x | `hubel.nets.compact` | tests/test_docs.py::test_links_between_pages_exist | [resume](resume.md) |",
            "do not mention",
        ),
        ("| A1 | x | not yet: `hubel.fit` |", "can be imported now"),
    ],
)
def test_a_line_that_is_not_true_is_found(line, said):
    (row,) = rows(line)
    check = (
        test_what_is_not_yet_there_is_said_when_it_comes if "not yet" in line else test_what_is_there_is_there
    )
    with pytest.raises(AssertionError, match=said):
        check(row)
