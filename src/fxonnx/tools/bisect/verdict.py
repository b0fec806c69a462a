"""What a bisection found."""

from __future__ import annotations

from dataclasses import dataclass, field

from fxonnx.location import Location
from fxonnx.tools.bisect.case import Case
from fxonnx.tools.bisect.trials import Trial
from fxonnx.verification import Found

AGREE = "nothing"
CAPTURE, LOWERING, RULE, PASS = "the capture", "the lowering of", "the rule", "the pass"
LEGALIZE, KERNEL, OPTIMIZERS = "legalize", "the runtime's kernel for", "the runtime's optimizers"
UNKNOWN = "the lowering or the runtime's kernel for"


@dataclass(frozen=True, slots=True, repr=False)
class Verdict:
    """Whose doing it is (`culprit` is one of the words of this file, `name` which one), where, and what was tried.

    `case` is the smallest part of the model that shows it, None where only the whole does.
    """

    culprit: str
    name: str = ""
    location: Location | None = None
    trials: tuple[Trial, ...] = ()
    found: Found | None = field(default=None)
    case: Case | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.culprit == AGREE

    @property
    def headline(self) -> str:
        """The verdict in a line."""
        if self.ok:
            return "nothing differs"
        at = f", at {self.location}" if self.location else ""
        return f"{self.culprit} {self.name}".strip() + at

    @property
    def compile_options(self) -> str:
        """What of `compile` shows it, as code behind other arguments."""
        return "" if self.culprit in (RULE, PASS) else ", optimize=False"

    def __str__(self) -> str:
        lines = [self.headline, "", *map(str, self.trials)]
        first = self.found and (self.found.first or self.found.first_not_finite)
        return "\n".join([*lines, *(["", str(first)] if first else [])])

    def __repr__(self) -> str:
        return f"<fxonnx verdict: {self.headline}>"
