"""Latency as one page of HTML that needs nothing beside it, and as plots."""

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import Comparison, Environment

STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 72em; color: #222 }
table { border-collapse: collapse; width: 100% } td, th { padding: .2em .5em; text-align: right; white-space: nowrap }
td:first-child, th:first-child { text-align: left } tr { border-bottom: 1px solid #ddd }
.bar { background: #9bc; height: .5em }
.roof { background: #456 } .failed { color: #a33 }
"""


def write_page(
    path: Path, comparison: Comparison, summaries: Sequence[dict[str, Any]], failures: dict[tuple[str, str], str],
    columns: Sequence[str], environment: Environment,
) -> None:  # fmt: skip
    """The table of medians and ratios, a bar for each arm with its roofline inside, and who failed."""
    parts = [
        "<!doctype html><meta charset=utf-8><title>Latency</title>", f"<style>{STYLE}</style><h1>Latency</h1>",
        f"<p>{html.escape(str(environment))}</p>",
        f"<p>Milliseconds, medians of calls in turns; in brackets the ratio to {comparison.baseline}.</p>",
        "<p>The dark part of a bar is what products and convolutions alone take at this machine's best.</p>",
        "<table>", *_table(comparison, failures, columns), "</table>", *_bars(summaries),
        "<h2>Not run</h2><ul>",
        *(f"<li>{html.escape(f'{name} on {model}: {error}')}" for (model, name), error in failures.items()), "</ul>",
    ]  # fmt: skip
    path.write_text("\n".join(parts), encoding="utf-8")


def _table(
    comparison: Comparison, failures: dict[tuple[str, str], str], columns: Sequence[str]
) -> Iterable[str]:
    yield "<tr><th>model" + "".join(f"<th>{name}" for name in columns)
    for model in dict.fromkeys(model for model, _ in comparison.values):
        cells = (_cell(comparison, failures, model, name) for name in columns)
        yield f"<tr><td>{html.escape(model)}" + "".join(cells)
    means = (comparison.geometric_means.get(name) for name in columns)
    yield "<tr><th>geometric mean" + "".join("<th>" if mean is None else f"<th>× {mean:.2f}" for mean in means)


def _cell(comparison: Comparison, failures: dict[tuple[str, str], str], model: str, name: str) -> str:
    value, ratio = comparison.values.get((model, name)), comparison.ratios.get((model, name))
    if value is None:
        return "<td class=failed>failed" if (model, name) in failures else "<td>"
    return f"<td>{value:.3g}" + ("" if ratio is None else f" (× {ratio:.2f})")


def _bars(summaries: Sequence[dict[str, Any]]) -> Iterable[str]:
    for model, threads in dict.fromkeys((each["model"], each["threads"]) for each in summaries):
        rows = [each for each in summaries if (each["model"], each["threads"]) == (model, threads)]
        longest = max(each["median"] for each in rows)
        yield f"<h3>{html.escape(model)}, {threads} thread{'s' * (threads > 1)}</h3><table>"
        for each in rows:
            width, roof = (100 * (number or 0) / longest for number in (each["median"], each["roofline"]))
            spread = f"{each['first_quarter']:.3g} to {each['third_quarter']:.3g}"
            inner = f"<div class='bar roof' style='width:{100 * roof / width:.1f}%'></div>"
            bar = f"<div class='bar' style='width:{width:.1f}%'>{inner}</div>"
            yield f"<tr><td>{each['arm']}<td>{each['median']:.3g}<td>{spread}<td style='width:60%'>{bar}"
        yield "</table>"


def write_plots(folder: Path, comparison: Comparison, columns: Sequence[str]) -> Path:
    """A picture of all ratios: a group of bars for each model. Raises ImportError without matplotlib."""
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(model for model, _ in comparison.ratios))
    figure = Figure(figsize=(10, 1 + 0.22 * len(models) * len(columns)), layout="constrained")
    axes, height = figure.subplots(), 0.8 / len(columns)
    for index, name in enumerate(columns):
        lengths = [comparison.ratios.get((model, name), 0.0) for model in models]
        axes.barh([at + index * height for at in range(len(models))], lengths, height, label=name)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_yticks([at + 0.4 for at in range(len(models))], models)
    axes.invert_yaxis()
    axes.set_xlabel(f"{comparison.title}, × {comparison.baseline}")
    axes.legend()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "latency.png"
    figure.savefig(path)
    return path
