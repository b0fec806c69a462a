"""Nothing is half there: every lowering names an op and says what it computes; pass, rule and error have a test."""

import importlib
import pkgutil
import re
from pathlib import Path

import onnx
import pytest
import torch
import torch.nn.modules.linear_cross_entropy  # registers its op

import fxonnx.passes
from fxonnx import errors
from fxonnx.lowering.registry import FAMILIES, STANDARD, standard
from fxonnx.passes.legalize.registry import EXPANSIONS, FORMS, load
from fxonnx.passes.pipeline import Pass
from fxonnx.passes.rewriting.rewrite import Rule
from fxonnx.tools.explain import takes_part

TESTS = Path(__file__).parents[1]
NEWEST = onnx.defs.onnx_opset_version()

# Namespaces of packages that fxonnx does not depend on: their ops exist only where these are installed.
OPTIONAL = {"torchvision", "quantized_decomposed", "transformers"}

# Overloads whose arguments their packet's lowering does not take, and why they have none.
UNSERVED = {
    "aten.where.default": "torch takes it apart into nonzero",
    "aten._autocast_to_reduced_precision.default": "capture resolves autocast",
    "aten._scaled_dot_product_flash_attention.quantized": "for CUDA only",
    **dict.fromkeys(["aten.mm.dtype", "aten.bmm.dtype", "aten.addmm.dtype", "aten.baddbmm.dtype"], "for CUDA only"),
}

standard()
load()
LOWERINGS = {target: same for (target, _), same in STANDARD.lowerings.items()}
EVERY_LOWERING = [each for same in STANDARD.lowerings.values() for each in same]


def find(target):
    """The op packet or overload of a target; None if there is none."""
    namespace, op, *overload = target.split(".")
    packet = getattr(getattr(torch.ops, namespace), op, None)
    return getattr(packet, *overload, None) if overload else packet


def is_functional(overload):
    """Whether an overload can be met in a captured graph, which writes nowhere."""
    return takes_part(overload) and not overload._schema.is_mutable


def unserved(target):
    """The overloads of a packet that no lowering fits, real or complex."""
    packet = find(target)
    for overload in filter(is_functional, (getattr(packet, each) for each in packet.overloads())):
        names = [argument.name for argument in overload._schema.arguments]
        if not any(STANDARD.find(str(overload), names, NEWEST, kind) for kind in (False, True)):
            yield str(overload)


def members(package, kind):
    """What is of a kind in the modules of a package, once, by name."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    modules = [importlib.import_module(each.name) for each in found]
    return {each.name: each for module in modules for each in vars(module).values() if isinstance(each, kind)}


PASSES = {name: each for name, each in members(fxonnx.passes, Pass).items() if name.isidentifier()}
RULES = members(fxonnx.passes, Rule)


@pytest.fixture(scope="module")
def words():
    """Every word in the tests and golden files, this one left out."""
    files = (path for path in TESTS.rglob("*") if path.suffix in (".py", ".ir") and path != Path(__file__))
    return set(re.findall(r"\w+", "\n".join(path.read_text(encoding="utf-8") for path in files)))


# ── lowerings ──


def test_every_target_names_an_op():
    assert [target for target in LOWERINGS if target.split(".")[0] not in OPTIONAL and find(target) is None] == []


def test_every_lowering_says_what_it_computes():
    assert [each.target for each in EVERY_LOWERING if not each.body.__doc__] == []


def test_every_overload_of_a_packet_is_served_or_listed():
    packets = [target for target in LOWERINGS if isinstance(find(target), torch._ops.OpOverloadPacket)]
    found = {each for target in packets for each in unserved(target)}
    # Which overloads of quantized_decomposed exist depends on what else has been imported from torch.
    assert sorted(each for each in found if not each.startswith("quantized_decomposed.")) == sorted(UNSERVED)


def test_every_family_has_its_tests():
    families = {each.family for each in EVERY_LOWERING}
    assert families <= set(FAMILIES)
    files = [TESTS.joinpath("lowering", "aten", *folders, f"test_{each}.py") for *folders, each in map(split, families)]
    assert [path for path in files if not path.exists()] == []


def split(family):
    """A family's folders and name: "nn.activation"."""
    return family.split(".")


# ── passes, rules, expansions, errors ──


BODIES = [*EXPANSIONS.values(), *(form.body for forms in FORMS.values() for form in forms)]
ERRORS = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]


def test_every_pass_is_described():
    assert [each for each in PASSES if not PASSES[each].run.__doc__] == []


def test_every_rule_is_drawn():
    assert [each for each in RULES if not RULES[each].picture] == []


def test_every_expansion_says_what_it_does():
    assert [each.__name__ for each in BODIES if not each.__doc__] == []


def test_every_error_has_a_code_and_a_page():
    assert [each for each in ERRORS if not (re.fullmatch(r"FX\d{3}", each.code) and each.__doc__)] == []


def test_every_pass_rule_expanded_operator_and_error_is_tested(words):
    named = {*PASSES, *RULES, *EXPANSIONS, *FORMS, *(each.__name__ for each in ERRORS)}
    assert sorted(named - words) == [], "named in no test"
