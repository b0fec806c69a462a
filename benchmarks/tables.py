"""Results as tables in the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import results
from benchmarks.results import Comparison

Failures = Mapping[tuple[str, str], str]


def show_comparison(console: Console, comparison: Comparison, failures: Failures, columns: list[str]) -> None:
    """Models down, contestants across; each cell the median and, in brackets, its ratio to the baseline's."""
    if not comparison.values:
        return
    table = Table(title=f"{comparison.title} (× {comparison.baseline})", title_justify="left")
    table.add_column("model")
    for name in columns:
        table.add_column(name, justify="right")
    for model in dict.fromkeys(model for model, _ in (*comparison.values, *failures)):
        table.add_row(model, *(cell(comparison, failures, model, name) for name in columns))
    means = comparison.geometric_means
    table.add_section()
    table.add_row("geometric mean", *(f"× {means[name]:.2f}" if name in means else "" for name in columns))
    console.print(table)


def cell(comparison: Comparison, failures: Failures, model: str, name: str) -> str:
    """Value and ratio, "failed", or nothing."""
    if (model, name) not in comparison.values:
        return "failed" if (model, name) in failures else ""
    value, ratio = comparison.values[model, name], comparison.ratios.get((model, name))
    number = f"{value:,.0f}" if not comparison.unit else f"{value:.3g} {comparison.unit}"
    return number if ratio is None or name == comparison.baseline else f"{number} (× {ratio:.2f})"


def show_roofline(console: Console, summaries: list[dict[str, Any]]) -> None:
    """How far each arm is from what its products and convolutions alone take: the share of its time, and how far apart
    its outputs are from eager's."""
    names = list(dict.fromkeys(each["arm"] for each in summaries))
    table = Table("model", *names, title="roofline: share of the time; largest difference", title_justify="left")
    for model, threads in dict.fromkeys((each["model"], each["threads"]) for each in summaries):
        found = {each["arm"]: each for each in summaries if (each["model"], each["threads"]) == (model, threads)}
        table.add_row(results.row(model, threads), *(_share(found.get(name)) for name in names))
    console.print(table)


def _share(summary: dict[str, Any] | None) -> str:
    if summary is None:
        return ""
    share = "—" if summary["roofline"] is None else f"{summary['roofline'] / summary['quickest']:.0%}"
    return f"{share}; {summary['largest_difference']:.1e}"


def show_stages(console: Console, stages: Mapping[str, Mapping[str, float]]) -> None:
    """Seconds of each of fxonnx's stages, by model."""
    if not stages:
        return
    names = list(dict.fromkeys(name for row in stages.values() for name in row))
    table = Table("model", *names, title="fxonnx stages, s", title_justify="left")
    for model, row in stages.items():
        table.add_row(model, *(f"{row[name]:.3f}" if name in row else "" for name in names))
    console.print(table)


def show_failures(console: Console, failures: Failures) -> None:
    """Who failed on what, and why."""
    for (model, name), error in failures.items():
        console.print(f"[red]failed[/red] {name} on {model}: ", end="")
        console.print(error, markup=False, highlight=False)


def show_numbers(console: Console, title: str, numbers: Mapping[str, float | None]) -> None:
    """A title and a number per name; a dash for None."""
    shown = (f"{name} {'—' if number is None else format(number, '.3g')}" for name, number in numbers.items())
    console.print(f"{title}: {'   '.join(shown)}", highlight=False)
