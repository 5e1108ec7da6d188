"""Does execsnoop tell the truth on this machine? Small programs that do what tracers get wrong, each with a witness.

    with execsnoop.trace(failed=True, columns=selftest.COLUMNS) as trace:
        rows = selftest.run(trace)

A *case* has processes do something, takes from an independent witness what came of it (wait4(), the program's own
report, /proc), and is then shown what the trace saw. Programs are ELF files of a few bytes, made here, and children of
this process that use ctypes: no compiler is needed. All cases share one trace.
"""

from __future__ import annotations

from .suite import COLUMNS, Row, run, table

__all__ = ["COLUMNS", "Row", "run", "table"]
