"""The corpus as far as it needs no package but torch and transformers: each model is right at all of its sizes.

`python -m benchmarks corpus` tries the rest too.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from benchmarks.corpus import FAMILIES, Entry
from benchmarks.corpus.judge import REFUSED, RIGHT, judge

ENTRIES = [entry for family in FAMILIES for entry in family.ENTRIES]
HERE = [entry for entry in ENTRIES if entry.package in ("torch", "transformers")]

# Refused with a place and a cure, for a reason that is known. A row that is right by now fails.
GAPS = {
    "transformers/rwkv": "forward rescales its layers once and keeps in an attribute that it did",
}


@pytest.mark.parametrize("entry", HERE, ids=[entry.name for entry in HERE])
def test_is_right(entry: Entry) -> None:
    verdict = judge(entry)
    assert verdict.word == (REFUSED if entry.name in GAPS else RIGHT), verdict.detail


def test_names_are_unique_and_sizes_reach_one() -> None:
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names)
    assert all(len(entry.sizes) == 4 and any(1 in sizes.values() for sizes in entry.sizes) for entry in ENTRIES)


def test_the_table_imports_no_package() -> None:
    code = "import sys, benchmarks.corpus; sys.exit(bool({'transformers', 'timm', 'torchvision'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
