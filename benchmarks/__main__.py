"""`python -m benchmarks compile`, `latency`, `precision`, `decode`, `rules`, `cold` and `corpus`: run from the
repository's root."""

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import cold, compile_time, results, tables
from benchmarks.contestants import CONTESTANTS
from benchmarks.models import select


def words(text: str) -> list[str]:
    """Comma-separated words."""
    return [word for word in text.split(",") if word]


def numbers(text: str) -> list[int]:
    """Comma-separated integers."""
    return [int(word) for word in words(text)]


def models(text: str) -> list[str]:
    """Names of the models that comma-separated names and tags stand for."""
    try:
        return select(words(text))
    except KeyError as error:
        raise argparse.ArgumentTypeError(error.args[0]) from error


def some_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """A parser of comma-separated words out of `known`."""

    def parse(text: str) -> list[str]:
        if unknown := set(words(text)) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))} is not one of {', '.join(known)}")
        return words(text)

    return parse


def parser() -> argparse.ArgumentParser:
    """The command line."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--models", type=models, default="quick", help='names or tags of models, or "all" (quick)')
    shared.add_argument("--rounds", type=int, help="how often each is measured (compile 3, latency 20, cold 5)")
    shared.add_argument("--baseline", help="whom ratios are relative to (fxonnx; eager for decode)")
    shared.add_argument("--timeout", type=float, default=600.0, help="seconds after which a compile has failed (600)")
    shared.add_argument("--json", type=Path, help="also write all results to this file")
    top = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = top.add_subparsers(required=True)
    threads = argparse.ArgumentParser(add_help=False)
    threads.add_argument("--threads", type=int, default=1, help="threads of torch and ONNX Runtime (1)")
    compiling = commands.add_parser(
        "compile", parents=[shared, threads], help="compile time, memory growth, graph size"
    )
    compiling.add_argument("--contestants", type=some_of(CONTESTANTS), default=list(CONTESTANTS), help="who (all)")
    compiling.add_argument("--dynamic", action="store_true", help="with the models' dynamic dims")
    compiling.add_argument(
        "--warm", action="store_true", help="after a first compile of one Linear in the same process"
    )
    compiling.add_argument("--depth", type=numbers, help="encoders of these depths instead of --models: 12,48")
    compiling.set_defaults(run=run_compile)
    add_latency(commands, shared)
    add_precision(commands, [shared, threads])
    add_decode(commands, [shared, threads])
    worth = commands.add_parser("rules", parents=[threads], help="what each rule that fuses is worth")
    worth.add_argument("--only", type=words, default=[], help="names of rules (all)")
    worth.add_argument("--rounds", type=int, default=100, help="how often each is called (100)")
    worth.add_argument("--table", type=Path, help="also write a page of Markdown")
    worth.add_argument("--json", type=Path, help="also write all results to this file")
    worth.set_defaults(run=run_rules)
    starting = commands.add_parser(
        "cold", parents=[shared, threads], help="the first export of a process, imports and all"
    )
    starting.set_defaults(run=run_cold)
    whole = commands.add_parser("corpus", help="architectures of many packages: which compile and are right")
    whole.add_argument("--only", type=words, default=[], help="words of their names: timm,transformers/bert (all)")
    whole.add_argument("--processes", type=int, default=1, help="how many at once (1)")
    whole.add_argument("--timeout", type=float, default=300.0, help="seconds after which one has failed (300)")
    whole.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    whole.add_argument("--json", type=Path, help="also write all results to this file")
    whole.set_defaults(run=run_corpus)
    return top


def add_latency(commands: Any, shared: argparse.ArgumentParser) -> None:
    """The command that times calls."""
    from benchmarks.latency import ARMS, CLOCKS

    latency = commands.add_parser("latency", parents=[shared], help="eager, fxonnx and the peers side by side")
    latency.add_argument("--against", type=some_of(ARMS), default=list(ARMS[1:]), help="beside fxonnx (all)")
    latency.add_argument("--threads", type=numbers, default=[1], help="threads of all, one after the other: 1,2 (1)")
    latency.add_argument(
        "--clock", choices=tuple(CLOCKS), default="wall", help="processor: on a machine that others use too, one thread"
    )
    latency.add_argument("--lines", type=Path, help="also write a line of JSON for each arm of a model to this file")
    latency.add_argument("--page", type=Path, help="also write a page of HTML")
    latency.add_argument("--plots", type=Path, help="also draw the ratios into this folder, with matplotlib")
    latency.set_defaults(run=run_latency)


def add_precision(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:
    """The command that times files in few bits."""
    from benchmarks.precision import PRECISIONS

    narrow = commands.add_parser("precision", parents=parents, help="files in few bits beside the float file")
    narrow.add_argument("--against", type=some_of(PRECISIONS), default=list(PRECISIONS), help="which (all)")
    narrow.set_defaults(run=run_precision)


def add_decode(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:
    """The command that times a step of language models."""
    from benchmarks.decode import ARMS, MODELS

    decoding = commands.add_parser("decode", parents=parents, help="a step of language models with a long past")
    decoding.add_argument("--past", type=numbers, default=[1024], help="tokens in the cache: 1024,4096 (1024)")
    decoding.add_argument("--only", type=some_of(MODELS), default=list(MODELS), help="names of its models (all)")
    decoding.add_argument("--against", type=some_of(ARMS), default=list(ARMS), help="who beside eager (all)")
    decoding.set_defaults(run=run_decode)


def run_corpus(options: argparse.Namespace, console: Console) -> None:
    """Try the models of the corpus."""
    from benchmarks.corpus import survey

    verdicts = []
    for verdict in survey.survey(
        survey.chosen(options.only), processes=options.processes, timeout=options.timeout
    ):
        verdicts.append(verdict)
        console.print(f"{verdict.word:8} {verdict.name}", style="dim", markup=False, highlight=False)
    survey.show(console, verdicts)
    save(options, verdicts=verdicts)


def run_rules(options: argparse.Namespace, console: Console) -> None:
    """Time what rules are worth."""
    from benchmarks import rules

    worths = []
    for worth in rules.measure(options.rounds, options.threads, options.only):
        worths.append(worth)
        told = "does not fire" if worth.ratio is None else f"{worth.ratio:.2f}"
        console.print(f"{worth.rule}, {worth.label}: {worth.before:.3g} ms, × {told}", highlight=False, markup=False)
    if options.table:
        text = rules.table(worths, results.environment(options.threads))
        options.table.write_text(text, encoding="utf-8")
    save(options, worths=worths)


def run_compile(options: argparse.Namespace, console: Console) -> None:
    """Measure compiles."""
    chosen = [f"encoder_{depth}" for depth in options.depth] if options.depth else options.models
    left_out = compile_time.without_dynamic_dims(chosen) if options.dynamic else {}
    for model, reason in left_out.items():
        console.print(f"left out: {model}: {reason}", markup=False, highlight=False)
    samples = []
    for sample in compile_time.measure(
        [model for model in chosen if model not in left_out],
        options.contestants,
        rounds=options.rounds or 3,
        dynamic=options.dynamic,
        warm=options.warm,
        threads=options.threads,
        timeout=options.timeout,
    ):
        samples.append(sample)
        progress(console, sample)
    report_compile(options, console, samples)


def progress(console: Console, sample: results.CompileSample) -> None:
    """One line per compile."""
    outcome = sample.outcome
    shown = outcome.error if isinstance(outcome, results.Failure) else f"{outcome.seconds:.2f} s"
    line = f"round {sample.round}  {sample.request.model}  {sample.request.contestant}  {shown}"
    console.print(line, style="dim", markup=False, highlight=False)


def report_compile(options: argparse.Namespace, console: Console, samples: list[results.CompileSample]) -> None:
    """Print the tables, save the JSON."""
    compared = compile_time.comparisons(samples, options.baseline or "fxonnx")
    failures = compile_time.failures(samples)
    stages = compile_time.stage_medians(samples)
    growth = compile_time.exponents(compared[0], options.depth) if options.depth and len(set(options.depth)) > 1 else {}
    for comparison in compared:
        tables.show_comparison(console, comparison, failures, options.contestants)
    tables.show_stages(console, stages)
    if growth:
        tables.show_numbers(console, "growth with depth (1 is linear)", growth)
    tables.show_failures(console, failures)
    save(options, samples=samples, comparisons=compared, stages=stages, depth_exponents=growth)


def run_cold(options: argparse.Namespace, console: Console) -> None:
    """Measure the first export of a process."""
    seconds, failures = cold.measure(options.rounds or 5, options.threads)
    comparison = results.compare("first export of a process", "s", options.baseline or "fxonnx", seconds)
    tables.show_comparison(console, comparison, failures, list(cold.CONTESTANTS))
    tables.show_failures(console, failures)
    save(options, comparisons=[comparison])


def run_latency(options: argparse.Namespace, console: Console) -> None:
    """Measure latency, model by model; each line is written when its model is done."""
    from benchmarks import latency, roofline

    arms = list(dict.fromkeys(["fxonnx", *options.against]))
    peaks = {count: roofline.peak(count) for count in options.threads}
    samples: list[results.LatencySample | results.LatencyFailure] = []
    for model in options.models:
        console.print(model, style="dim")
        found = list(latency.measure(
            model, arms, rounds=options.rounds or 20, threads=options.threads, timeout=options.timeout,
            clock=options.clock,
        ))  # fmt: skip
        samples += found
        if options.lines:
            lines = [json.dumps(each.summary(peaks[each.threads])) for each in found if hasattr(each, "seconds")]
            with options.lines.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)
    report_latency(options, console, samples, arms, peaks)


def report_latency(
    options: argparse.Namespace,
    console: Console,
    samples: list[results.LatencySample | results.LatencyFailure],
    arms: list[str],
    peaks: dict[int, float],
) -> None:
    """Print the table, with what the baseline's products take at the machine's best; write page, plots and JSON."""
    from benchmarks import page

    good = [sample for sample in samples if isinstance(sample, results.LatencySample)]
    milliseconds = {(each.row, each.contestant): [1e3 * second for second in each.seconds] for each in good}
    comparison = results.compare("latency", "ms", options.baseline or "fxonnx", milliseconds)
    failed = [sample for sample in samples if isinstance(sample, results.LatencyFailure)]
    failures = {(results.row(each.model, each.threads), each.contestant): each.error for each in failed}
    tables.show_comparison(console, comparison, failures, arms)
    summaries = [sample.summary(peaks[sample.threads]) for sample in good]
    tables.show_roofline(console, summaries)
    tables.show_failures(console, failures)
    environment = results.environment(max(options.threads))
    if options.page:
        page.write_page(options.page, comparison, summaries, failures, arms, environment)
    if options.plots:
        console.print(str(page.write_plots(options.plots, comparison, arms)), style="dim")
    if options.json:
        results.write(options.json, environment=environment, samples=good, failures=failed, comparisons=[comparison])


def run_precision(options: argparse.Namespace, console: Console) -> None:
    """Measure files in few bits, model by model."""
    from benchmarks import precision

    samples = []
    for model in options.models:
        for each in precision.measure(
            model, options.against, rounds=options.rounds or 20, threads=options.threads
        ):
            if isinstance(each, precision.Sample):
                samples.append(each)
                told = f"time × {each.time:.2f}, size × {each.size:.2f}, error {each.error:.2g}"
                console.print(f"{model}, {each.precision}: {told}", highlight=False, markup=False)
            else:
                console.print(f"{model}, {each[0]}: {each[1].error}", style="red", markup=False)
    save(options, samples=samples)


def run_decode(options: argparse.Namespace, console: Console) -> None:
    """Measure a step of language models."""
    from benchmarks import decode

    arms = list(dict.fromkeys(["eager", *options.against]))
    samples: list[results.LatencySample | results.LatencyFailure] = []
    for model in options.only:
        for past in options.past:
            console.print(f"{model} {past}", style="dim")
            samples += decode.measure(model, past, arms, rounds=options.rounds or 30, threads=options.threads)
    good = [sample for sample in samples if isinstance(sample, results.LatencySample)]
    failed = [sample for sample in samples if isinstance(sample, results.LatencyFailure)]
    milliseconds = {(each.model, each.contestant): [1e3 * second for second in each.seconds] for each in good}
    comparison = results.compare("a step", "ms", options.baseline or "eager", milliseconds)
    failures = {(each.model, each.contestant): each.error for each in failed}
    tables.show_comparison(console, comparison, failures, arms)
    tables.show_failures(console, failures)
    save(options, samples=good, failures=failed, comparisons=[comparison])


def save(options: argparse.Namespace, **parts: object) -> None:
    """Write the results with the environment they come from, if a file is asked for."""
    if options.json:
        results.write(options.json, environment=results.environment(options.threads), **parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse and run."""
    warnings.filterwarnings("ignore")
    options = parser().parse_args(arguments)
    options.run(options, Console(width=None if sys.stdout.isatty() else 160))


if __name__ == "__main__":
    main()
