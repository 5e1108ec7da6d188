"""All cases in turn under one trace, then judged."""

from __future__ import annotations

import os
import shutil
import tempfile

from snoopkit.render import display

from . import accounts, arguments, credentials, ends, refusals, relations, ways
from .stage import CannotRun, Mismatch, Stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .stage import Case, Play, Source

__all__ = ["COLUMNS", "Row", "run", "table"]

COLUMNS = ("cgroup", "namespaces", "exe", "cwd", "capabilities")
"""What the trace must be asked for."""

_CASES: tuple[tuple[str, Case], ...] = (
    *ends.CASES,
    *arguments.CASES,
    *ways.CASES,
    *refusals.CASES,
    *relations.CASES,
    *credentials.CASES,
    *accounts.CASES,
)
_LAST_ACCOUNTS_SECONDS = 0.3  # for the kernel to settle those of the last children


class Row:
    """One case: what a witness says should be seen, what was seen, and the verdict: `pass`, `FAIL` or
    `cannot run: why`, in which case the other two are None."""

    def __init__(self, case: str, expected: str | None, seen: str | None, verdict: str) -> None:
        self.case = case
        self.expected = expected
        self.seen = seen
        self.verdict = verdict

    @property
    def failed(self) -> bool:
        return self.verdict == "FAIL"

    def as_dict(self) -> dict[str, str | None]:
        return {"case": self.case, "expected": self.expected, "seen": self.seen, "verdict": self.verdict}


class _Act:
    """A case whose processes have run."""

    def __init__(self, name: str, case: Case, stage: Stage) -> None:
        self.name = name
        self.number = stage.begin()
        self.play: Play = case(stage)
        self.expected: str | None = None
        self.row: Row | None = None
        try:
            self.expected = next(self.play)
        except CannotRun as error:
            self.row = Row(name, None, None, f"cannot run: {error}")
        except OSError as error:
            self.row = Row(name, None, None, f"cannot run: {error.strerror or error}")
        except Exception as error:
            self.row = Row(name, "that it can be run", _told(error), "FAIL")

    def judge(self, stage: Stage) -> Row:
        if self.row is not None:
            return self.row
        try:
            self.play.send(stage.seen(self.number))
        except StopIteration as end:
            seen = str(end.value)
        except CannotRun as error:
            return Row(self.name, None, None, f"cannot run: {error}")
        except Exception as error:
            # Whatever is so wrong that it can't even be compared.
            seen = _told(error)
        return Row(self.name, self.expected, seen, "pass" if seen == self.expected else "FAIL")


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, Mismatch) else f"{type(error).__name__}: {error}"


def run(source: Source) -> list[Row]:
    """A row for each case, seen by `source`: a trace with `failed=True` and with `COLUMNS`, just started.

    Reads it to its end. Makes some thousand short-lived processes, and a folder that is gone afterwards.
    """
    folder = _folder()
    try:
        stage = Stage(source, folder)
        try:
            is_seen = stage.find_itself()
        except CannotRun as error:
            return [Row(name, None, None, f"cannot run: {error}") for name, _ in _CASES]
        if not is_seen:
            return [Row("a first program", "its exec, within 5 seconds", "nothing", "FAIL")]
        acts = [_Act(name, case, stage) for name, case in _CASES]
        stage.watch(_LAST_ACCOUNTS_SECONDS)
        stage.end()
        return [act.judge(stage) for act in acts]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _folder() -> str:
    """A new folder where programs can be run, by other users too."""
    for base in (tempfile.gettempdir(), "/var/tmp", "/run"):
        if os.path.isdir(base) and not os.statvfs(base).f_flag & os.ST_NOEXEC:
            folder = tempfile.mkdtemp(prefix="execsnoop-selftest-", dir=base)
            os.chmod(folder, 0o755)
            return folder
    raise OSError("no folder for temporary files from which programs may be run: name one by TMPDIR")


def table(rows: Sequence[Row]) -> str:
    """Aligned columns, one case a line; then how many there are of each verdict."""
    lines = [("CASE", "EXPECTED", "SEEN", "VERDICT")]
    lines += [(row.case, row.expected or "-", row.seen or "-", row.verdict) for row in rows]
    cells = [[display(cell) for cell in line] for line in lines]
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    text = "".join(
        "  ".join([cell.ljust(width) for cell, width in zip(line, widths)] + [line[3]]) + "\n"
        for line in cells
    )
    failed = sum(row.failed for row in rows)
    passed = sum(row.verdict == "pass" for row in rows)
    return f"{text}{passed} pass, {failed} FAIL, {len(rows) - passed - failed} cannot run\n"
