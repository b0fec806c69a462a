"""A process that judges programs, so that one which ends the process is a verdict and not the end."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from multiprocessing.connection import Connection

import torch
from tests.fuzz.judge import ALL, Configuration, Judgement, Verdict, judge
from tests.fuzz.program import Program

SECONDS = 240  # of a busy machine


class Worker:
    """Judges programs in a forked process; another one after a crash."""

    def __init__(self) -> None:
        self._start()

    def __call__(self, program: Program, configurations: Sequence[Configuration] = ALL) -> Judgement:
        """The judgement of a program."""
        self.connection.send((program, configurations))
        try:
            if self.connection.poll(SECONDS):
                answer: Judgement = self.connection.recv()
                return answer
            problem = f"no answer within {SECONDS} seconds"
        except EOFError:
            self.process.join()
            problem = f"the process ended with {self.process.exitcode}"
        self.close()
        self._start()
        return Judgement(Verdict.CRASH, text=problem)

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
        connection.send(judge(*connection.recv()))
