"""A process that judges programs, so that one which ends the process is a verdict and not the end."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection

import torch
from tests.fuzz.judge import ALL, Configuration, Judgement, Verdict, judge
from tests.fuzz.program import Program

SECONDS = 240  # of a busy machine


class JudgeFailed(Exception):
    """The judge raised: a fault of the test, and none of the program's."""


class Worker:
    """Judges programs in a forked process; another one after a crash."""

    def __init__(self) -> None:
        self._start()

    def __call__(self, program: Program, configurations: Sequence[Configuration] = ALL) -> Judgement:
        """The judgement of a program. Raises JudgeFailed."""
        self.connection.send((program, configurations))
        try:
            if self.connection.poll(SECONDS):
                return self._answer(program)
            problem = f"no answer within {SECONDS} seconds"
        except EOFError:
            self.process.join()
            problem = f"the process ended with {self.process.exitcode}"
        self.close()
        self._start()
        return Judgement(Verdict.CRASH, text=problem)

    def _answer(self, program: Program) -> Judgement:
        answer: Judgement | str = self.connection.recv()
        if isinstance(answer, str):
            raise JudgeFailed(f"{program}\n{answer}")
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()


def _serve(connection: Connection) -> None:
    torch.set_num_threads(1)  # a fork has none of the threads that torch would wait for
    while True:
        connection.send(_judged(*connection.recv()))


def _judged(program: Program, configurations: Sequence[Configuration]) -> Judgement | str:
    try:
        return judge(program, configurations)
    except Exception:  # noqa: BLE001 - told as what it is by the other process
        return traceback.format_exc()
