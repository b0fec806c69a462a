"""Random numbers: shapes, dtypes and statistics of 4,000 draws; never the draws themselves.

Random operators have no kernel in ONNX Runtime from opset 22 on, so everything here is compiled for 21.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.lowering.support import check_draws, compiled_for_draws

LIKE = torch.linspace(0.1, 0.9, 4000).reshape(40, 100)

DRAWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "rand": lambda x: torch.rand(40, 100),
    "rand-double": lambda x: torch.rand(40, 100, dtype=torch.float64),
    "rand_like": torch.rand_like,
    "uniform_": lambda x: x.clone().uniform_(1, 3),
    "randn": lambda x: torch.randn(4000),
    "randn_like-half": lambda x: torch.randn_like(x, dtype=torch.float16),
    "normal_": lambda x: x.clone().normal_(1, 2),
    "normal": lambda x: torch.normal(2.0, 3.0, (40, 100)),
    "normal-tensors": lambda x: torch.normal(x, x + 1),
    "normal-mean": lambda x: torch.normal(x, 2.0),
    "normal-deviation": lambda x: torch.normal(1.0, x),
    "randint": lambda x: torch.randint(3, 9, (40, 100)),
    "randint-int32": lambda x: torch.randint(9, (4000,), dtype=torch.int32),
    "randint_like": lambda x: torch.randint_like(x, 2, 5),
    "randperm": lambda x: torch.randperm(4000),
    "bernoulli": torch.bernoulli,
    "bernoulli-p": lambda x: torch.bernoulli(x, 0.2),
    "bernoulli_ by default": lambda x: x.clone().bernoulli_(),
    "bernoulli_": lambda x: torch.zeros_like(x).bernoulli_(x),
    "exponential": lambda x: x.clone().exponential_(2.0),
    "geometric": lambda x: x.clone().geometric_(0.5),
    "log_normal": lambda x: x.clone().log_normal_(0.0, 0.5),
}


COMPLEX: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "randn": lambda x: torch.randn(4000, dtype=torch.complex64),
    "randn_like": torch.randn_like,
    "rand_like": torch.rand_like,
    "rand_like-real": lambda x: torch.rand_like(x, dtype=torch.float64),
    "normal_": lambda x: x.clone().normal_(1, 2),
    "uniform_": lambda x: x.clone().uniform_(1, 3),
}


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_draws(name: str) -> None:
    def parts(x: torch.Tensor) -> torch.Tensor:
        drawn = COMPLEX[name](x)
        return torch.view_as_real(drawn) if drawn.is_complex() else drawn

    check_draws(parts, LIKE + 1j * LIKE)


@pytest.mark.parametrize("name", DRAWS)
def test_draws_have_torch_s_distribution(name: str) -> None:
    check_draws(DRAWS[name], LIKE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("fill", ["normal_", "uniform_", "exponential_", "bernoulli_", "cauchy_", "random_"])
def test_fills_of_half_precision_at_free_sizes(fill: str, dtype: torch.dtype) -> None:
    run = compiled_for_draws(lambda x: getattr(x.clone(), fill)(), torch.zeros(3, 4).to(dtype), dynamic_shapes="auto")
    drawn = run(torch.zeros(50, 2).to(dtype))
    assert (drawn.dtype, drawn.shape) == (dtype, (50, 2))
    assert drawn.float().std() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_never_draws_the_bound(dtype: torch.dtype) -> None:
    """Rounded to nearest, one in 512 of bfloat16 would be 1, and the noise that is made of it infinite."""

    def noise(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.rand_like(x), x.clone().exponential_()

    x = torch.zeros(200, 200, dtype=dtype)
    uniform, exponential = compiled_for_draws(noise, x)(x)
    assert float(uniform.max()) < 1
    assert bool(exponential.isfinite().all())
    assert len(uniform.unique()) > 250


@pytest.mark.parametrize("name", ["rand", "randint", "randperm"])
def test_every_run_draws_anew(name: str) -> None:
    run = compiled_for_draws(DRAWS[name], LIKE)
    assert not torch.equal(run(LIKE), run(LIKE))


def test_two_draws_in_one_model_are_not_one() -> None:
    first, second = compiled_for_draws(lambda x: (torch.rand(50) + x[0, 0], torch.rand(50) + x[0, 0]), LIKE)(LIKE)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.rand(x.shape[0], 2),
        lambda x: torch.randint(0, 5, (x.shape[0],)),
        lambda x: torch.randn_like(x),
        lambda x: torch.randperm(x.shape[0]),
    ],
    ids=["rand", "randint", "randn_like", "randperm"],
)
def test_of_a_dynamic_size(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    run = compiled_for_draws(function, torch.rand(3, 4), dynamic_shapes={"x": {0: "n"}})
    assert run(torch.rand(7, 4)).shape == function(torch.rand(7, 4)).shape


def test_a_permutation_has_each_number_once() -> None:
    drawn = compiled_for_draws(DRAWS["randperm"], LIKE)(LIKE)
    assert torch.equal(drawn.sort().values, torch.arange(4000))


@pytest.mark.parametrize("replacement", [False, True])
def test_multinomial_draws_by_weight(replacement: bool) -> None:
    weights = torch.tensor([[0.0, 1.0, 3.0, 6.0]]).repeat(3000, 1)
    drawn = compiled_for_draws(lambda x: torch.multinomial(x, 2, replacement), weights)(weights)
    shares = torch.bincount(drawn[:, 0], minlength=4) / 3000
    torch.testing.assert_close(shares, torch.tensor([0.0, 0.1, 0.3, 0.6]), atol=0.03, rtol=0)
    assert replacement == bool((drawn[:, 0] == drawn[:, 1]).any())


def test_poisson():
    check_draws(torch.poisson, torch.tensor([0.5, 3.0, 40.0]).repeat(2000, 1))
    compiled = compiled_for_draws(lambda x: torch.poisson(x), torch.zeros(2, 3), dynamic_shapes={"x": {0: "n"}})
    assert torch.equal(compiled(torch.zeros(4, 3)), torch.zeros(4, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gamma(dtype):
    shapes = torch.tensor([0.3, 1.0, 2.5, 40.0], dtype=dtype).repeat(2000, 1)
    for column in range(4):
        check_draws(torch._standard_gamma, shapes[:, column])
    run = compiled_for_draws(lambda x: torch._standard_gamma(x), shapes[:3], dynamic_shapes={"x": {0: "n"}})
    assert run(shapes[:0]).shape == (0, 4)
    assert run(torch.full((2, 4), torch.nan, dtype=dtype)).isnan().all()
    assert (run(torch.zeros(2, 4, dtype=dtype)) < 1e-30).all()


def test_dirichlet_and_beta():
    shapes = torch.tensor([0.5, 2.0, 4.0]).repeat(2000, 1)
    for column in range(3):
        check_draws(lambda x, column=column: torch._sample_dirichlet(x)[:, column], shapes)
    run = compiled_for_draws(lambda x: torch.distributions.Beta(x, x + 1).rsample(), torch.tensor([0.5, 2.0]))
    assert ((run(torch.tensor([0.5, 2.0])) > 0) & (run(torch.tensor([0.5, 2.0])) < 1)).all()


def test_binomial():
    counts, chances = torch.tensor([0.0, 1.0, 7.0]).repeat(2000, 1), torch.tensor([0.5, 0.2, 0.7]).repeat(2000, 1)
    for column in range(3):
        pair = counts[:, column], chances[:, column]
        check_draws(lambda x, chance=pair[1]: torch.binomial(x, chance), pair[0])
    run = compiled_for_draws(lambda x: torch.binomial(x, x / 9), counts[:3], dynamic_shapes={"x": {0: "n"}})
    assert run(counts[:0]).shape == (0, 3)
