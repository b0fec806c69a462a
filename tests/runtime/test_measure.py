"""Measuring: every form of a contest computes the same, and what is found is kept."""

from dataclasses import replace

import numpy as np
import pytest

import fxonnx
from fxonnx import machines
from fxonnx.runtime import measure

SMALL = [replace(each, axes={axis: (1, 3) if axis in ("heads", "rows") else (16,) for axis in each.axes})
         for each in measure.CONTESTS]  # fmt: skip


@pytest.mark.parametrize("contest", SMALL, ids=lambda contest: next(iter(contest.forms)))
def test_forms_compute_the_same(contest):
    for sizes in contest.cells():
        one, *others = (call()[0] for call in measure.calls(contest, sizes, 1).values())
        for other in others:
            np.testing.assert_allclose(other, one, rtol=1e-5)


def test_what_is_measured_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(measure, "CONTESTS", SMALL)
    seen = []
    profile = fxonnx.machine(progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(np.min(table.seconds) > 0 for table in profile.tables.values())
    assert fxonnx.machine(progress=None).tables.keys() == profile.tables.keys()
    assert seen[-1] == (4, 4), "the second time it is read"
    assert machines.this_machine(profile.runtime).measured == profile.measured
    machines.this_machine.cache_clear()
