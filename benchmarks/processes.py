"""Starts child processes: one compile each, so that nothing a contestant leaves behind helps or harms the next."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.results import Failure, Measurement, Request, Stage

ROOT = Path(__file__).parents[1]


def run(request: Request, folder: str, timeout: float) -> Measurement | Failure:
    """Measure `request` in a new process that writes its files into `folder`.

    A process that crashes or takes longer than `timeout` seconds is a failure.
    """
    command = [sys.executable, "-m", "benchmarks.child", json.dumps(asdict(request)), folder]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=surroundings(request.threads), capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return Failure(f"not done after {timeout:g} s")
    if done.returncode:
        return Failure(f"process ended with code {done.returncode}: {last_line(done.stderr)}")
    return outcome(json.loads(last_line(done.stdout)))


def surroundings(threads: int) -> dict[str, str]:
    """The environment of a child: as many threads as asked for, no hub to call, and bytecode kept as it is by default,
    so that nobody's source is compiled again in every process."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}


def last_line(text: bytes) -> str:
    """The last line a process printed: its outcome, or why it died."""
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no message"


def outcome(answer: Mapping[str, Any]) -> Measurement | Failure:
    """The child's answer, back as data."""
    match answer:
        case {"measurement": fields}:
            return Measurement(**{**fields, "stages": tuple(Stage(**stage) for stage in fields["stages"])})
        case _:
            return Failure(**answer["failure"])
