"""What is predicted of a measured machine, and what a file of it says."""

import pytest

from fxonnx import machines
from fxonnx.ir.dims import symbol
from fxonnx.machines import Machine, Profile, Table

SLOW = Table({"rows": (1, 4, 16), "columns": (8, 32)}, [[1.0, 4.0], [2.0, 8.0], [4.0, 16.0]])
FAST = Table({"rows": (1, 4, 16), "columns": (8, 32)}, [[2.0, 8.0], [2.0, 8.0], [2.0, 8.0]])
TABLES = {"slow": SLOW, "fast": FAST}
PROFILE = Profile("a processor", "maker wide", "onnxruntime 1.0", 1, "2026-01-01", "by hand", TABLES)
N, B = symbol("n"), symbol("b")


@pytest.mark.parametrize(
    ("rows", "columns", "seconds"),
    [(1, 8, 1.0), (16, 32, 16.0), (2, 8, 2**0.5), (1, 16, 2.0), (8, 16, 2**2.5), (100, 8, 4.0), (1, 1, 1.0)],
)
def test_between_grid_points_times_go_by_logarithms(rows, columns, seconds):
    assert SLOW.at({"rows": rows, "columns": columns}) == pytest.approx(seconds)


def test_a_form_is_preferred_where_it_gains():
    machine = Machine(PROFILE)
    assert machine.prefers("fast", "slow", rows=(16,), columns=(8,))
    assert machine.prefers("fast", "slow", rows=(2, 4), columns=(2, 4)), "products of dims"
    assert not machine.prefers("fast", "slow", rows=(4,), columns=(8,)), "the same"
    assert not machine.prefers("fast", "slow", rows=(1,), columns=(8,))


def test_dynamic_sizes_are_those_of_the_workloads():
    assert Machine(PROFILE, [{"n": 16}]).prefers("fast", "slow", rows=(N,), columns=(8,))
    assert Machine(PROFILE, [{"n": 4, "b": 4}]).prefers("fast", "slow", rows=(N * B,), columns=(8,))
    assert not Machine(PROFILE, [{"n": 1}]).prefers("fast", "slow", rows=(N,), columns=(8,))
    assert not Machine(PROFILE, [{"n": 16}]).prefers("fast", "slow", rows=(N, B), columns=(8,)), "b is not known"


def test_no_workload_may_become_slower():
    assert Machine(PROFILE, [{"n": 4}, {"n": 16}]).prefers("fast", "slow", rows=(N,), columns=(8,))
    assert not Machine(PROFILE, [{"n": 1}, {"n": 16}]).prefers("fast", "slow", rows=(N,), columns=(8,))


def test_what_is_not_known_is_not_preferred():
    assert not Machine().prefers("fast", "slow", rows=(16,), columns=(8,))
    assert not Machine(PROFILE).prefers("unheard of", "slow", rows=(16,), columns=(8,))


def test_a_profile_survives_its_file(tmp_path):
    PROFILE.write(tmp_path / "machines" / "one.json")
    again = machines.read((tmp_path / "machines" / "one.json").read_text())
    assert (again.processor, again.measured) == (PROFILE.processor, PROFILE.measured)
    assert again.tables["slow"].at({"rows": 8, "columns": 16}) == SLOW.at({"rows": 8, "columns": 16})


def test_a_measured_machine_goes_before_one_of_its_family(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(machines, "family", lambda: "maker wide")
    monkeypatch.setattr(machines, "shipped", lambda: (PROFILE,))
    machines.this_machine.cache_clear()
    assert machines.this_machine("onnxruntime 1.0") is PROFILE
    assert machines.this_machine("onnxruntime 2.0") is None
    PROFILE.write(machines.cached("onnxruntime 2.0"))
    machines.this_machine.cache_clear()
    assert machines.this_machine("onnxruntime 2.0").processor == "a processor"
    machines.this_machine.cache_clear()


def test_what_the_package_brings_is_complete():
    for profile in machines.shipped():
        assert set(profile.tables) == {"linear", "linear_by_blocks", "attention", "blockwise_attention"}
        assert all([profile.processor, profile.family, profile.runtime, profile.measured, profile.source])
