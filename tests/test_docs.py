"""What the documents say is true: their code runs and prints what they show, their links lead somewhere."""

import re

import pytest
from tests.documents import DOCUMENTS, ROOT, blocks, run

from fxonnx.lowering.registry import USERS
from fxonnx.tools import reference

REFERENCE = ROOT / "docs" / "reference"
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PAGES = [*DOCUMENTS, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_the_code_runs_and_prints_what_is_shown(path, tmp_path, monkeypatch):
    monkeypatch.setattr(USERS, "lowerings", dict(USERS.lowerings))  # a document may register its own
    for block, printed in run(path, tmp_path):
        assert printed == block.text, "run `make reference`, and read the diff"


@pytest.mark.parametrize("path", dict.fromkeys(PAGES), ids=name)
def test_links_lead_somewhere(path):
    prose = FENCED.sub("", path.read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", prose)
    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []


def test_the_reference_is_up_to_date():
    written = {path.name: path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md")}
    made = reference.pages()
    assert sorted(written) == sorted([*made, "accuracy.md", "conformance.md"])  # these two by `make conformance`
    assert [each for each in made if made[each] != written[each]] == [], "run `make reference`"


def test_a_block_knows_where_it_is():
    text = "a\n```python\nx = 1\n```\n```\nno language\n```\n```text\n```\n"
    found = blocks(text)
    assert [(block.language, block.text) for block in found] == [("python", "x = 1\n"), ("text", "")]
    assert all(text[block.start : block.end] == block.text for block in found)
