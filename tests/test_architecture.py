"""A folder imports only folders of a strictly lower level (ARCHITECTURE), in every form of import, wherever the import stands."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "hubel"
LEVELS = {
    0: {"core"},
    1: {"layers", "data", "metrics"},
    2: {"nets", "objectives"},
    3: {"fitting", "costing"},
    4: {"explain", "diagnosis", "tuning", "physics", "detection", "deploy"},
    5: {"show"},
    6: {"workflows", "studies"},
    7: {"sklearn", "serve", "studio"},
    8: {"cli"},
}
LEVEL = {folder: level for level, folders in LEVELS.items() for folder in folders}


def folders_imported(source, package):
    """Folders of hubel that `source`, a file in `package` (such as "hubel.data"), imports; "hubel" for the package itself."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                parts = package.split(".")
                base = ".".join(parts[: len(parts) - node.level + 1])
                base = f"{base}.{node.module}" if node.module else base
            else:
                base = node.module
            names = [f"{base}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "hubel":
                found.add(parts[1] if len(parts) > 1 else "hubel")
    return found


@pytest.mark.parametrize(
    ("source", "package", "expected"),
    [
        ("import hubel.data.batches", "hubel.core", {"data"}),
        ("import hubel.data.batches as b, hubel.nets", "hubel.core", {"data", "nets"}),
        ("from hubel import data", "hubel.core", {"data"}),
        ("from hubel.data import load", "hubel.core", {"data"}),
        ("from hubel.data.batches import Batches as B", "hubel.core", {"data"}),
        ("from ..data import load", "hubel.core", {"data"}),
        ("from .. import data", "hubel.core", {"data"}),
        ("from . import files", "hubel.core", {"core"}),
        ("from .files import locked", "hubel.core", {"core"}),
        ("from ...data import load", "hubel.core.deep", {"data"}),
        ("def f():\n    from hubel.nets import mlp", "hubel.core", {"nets"}),
        ("if TYPE_CHECKING:\n    import hubel.nets", "hubel.core", {"nets"}),
        ("import hubel", "hubel.core", {"hubel"}),
        ("import torch.nn\nfrom torch import data", "hubel.core", set()),
    ],
)
def test_every_form_of_import_is_seen(source, package, expected):
    assert folders_imported(source, package) == expected


FILES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    folder = path.relative_to(ROOT).parts[0]
    package = ".".join(("hubel", *path.relative_to(ROOT).parts[:-1]))
    for other in folders_imported(path.read_text("utf-8"), package) - {folder}:
        assert other in LEVEL, f"{path}: hubel.{other} is no folder with a level"
        assert LEVEL[other] < LEVEL[folder], (
            f"{folder} (level {LEVEL[folder]}) imports {other} (level {LEVEL[other]})"
        )


def test_every_folder_has_a_level():
    folders = {path.relative_to(ROOT).parts[0] for path in FILES}
    assert folders <= set(LEVEL)
    assert len(FILES) > 50


def test_types_need_no_torch():
    """`core` and the readers of `data` import torch where it is used only."""
    for name in ("types", "errors", "random", "files", "names", "buffers", "capture"):
        tree = ast.parse((ROOT / "core" / f"{name}.py").read_text())
        heads = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert not [n for n in heads if "torch" in ast.unparse(n)], name
