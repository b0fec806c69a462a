"""What becomes of a case, sample by sample: right, refused with an error of ours, wrong, or an error of Python."""

from __future__ import annotations

from tests.conformance.samples import Case, Sample

from fxonnx import errors


def outcomes(case: Case, seed: int = 0) -> list[list[str]]:
    """[kind, text] for each sample: "right"; "refused" with the error's name and what it says; "wrong" with the first
    line of the difference; "raised" with an error that should not have come."""
    return [list(outcome(sample)) for sample in case.samples(seed)]


def outcome(sample: Sample) -> tuple[str, str]:
    """Of one sample."""
    try:
        found = sample.found()
    except errors.Error as error:
        several = error.errors if isinstance(error, errors.Failures) else [error]
        return "refused", "; ".join(sorted({_text(each) for each in several}))
    except (Exception, errors.InternalError) as error:  # noqa: BLE001  (what comes here is what is looked for)
        return "raised", _text(error)
    try:
        sample.check(found)
    except AssertionError as error:
        return "wrong", " ".join(str(error).split())[:300]
    return "right", ""


def _text(error: BaseException) -> str:
    """An error's kind, first line, and cause."""
    text, cause = " ".join(str(error).split("\n")[0].split()), getattr(error, "cause", "") or ""
    return f"{type(error).__name__}: {text[:160]}: {cause[:200]}"
