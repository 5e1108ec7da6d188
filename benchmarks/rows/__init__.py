"""The rows of the table, a module for each family of them.

A family has the NUMBERS of its rows and `measure(sitting)`, which gives them.
"""

from __future__ import annotations

from . import compile, events, make, memory, rate, spawn, start, tax

FAMILIES = (events, rate, start, spawn, make, tax, memory, compile)
QUICK = [1, 2, 4, 6]
