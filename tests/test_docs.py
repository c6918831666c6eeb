"""Every example of README.md and docs/ runs, in the order in which it stands; a page's blocks share a folder and a namespace."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for language, block in BLOCK.findall(page.read_text("utf-8")):
        if language == "python":
            exec(compile(block, str(page), "exec"), namespace)
            continue
        for line in block.splitlines():
            if line.startswith("hubel "):
                environment = os.environ | {
                    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
                }
                done = subprocess.run(line, shell=True, capture_output=True, text=True, env=environment)
                assert done.returncode == 0, f"{line}\n{done.stderr}"


def test_links_between_pages_exist():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
