#!/usr/bin/env python3
"""Makes docs/events.md and docs/events.schema.json: which keys there are, and their order, is the model's; here is what
each of them means. `tools/events.py` writes both; a test compares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from execsnoop import model

DOCS = Path(__file__).parents[1] / "docs"
HEAD = """\
# The events

<!-- Made by tools/events.py, which has the words; the keys and their order are the model's. A test compares. -->

`execsnoop --json` writes one JSON object a line. These are its keys, in their order.
[events.schema.json](events.schema.json) is the same as JSON Schema (draft 2020-12). CSV has the same keys as columns,
lists and objects as JSON text.

- A key that doesn't apply is **absent**. One that should be there but isn't known is **null**, and `incomplete` says
  why; beyond that only `exit_code` and `signal` are null. `--columns` leaves the other keys out.
- `…_ns` are nanoseconds, `…_boottime_ns` of CLOCK_BOOTTIME (since the machine's start, sleep included), `…_bytes` are
  bytes.
- A process is `pid` with `start_boottime_ns`: a pid alone is used again. Numbers are those of the initial PID
  namespace.
- New keys and new types may come in any release: pass over what you don't know. Names and meanings stay.
"""
EVENTS = {
    "exec": ("a process runs another program", ("pid", "start_boottime_ns", "argv", "filename")),
    "exec_failed": ("an exec that failed (with `-x`)", ("pid", "start_boottime_ns", "errno", "error")),
    "existing": (
        "a process that was there before the trace (with `--existing`)",
        ("pid", "start_boottime_ns", "comm"),
    ),
    "exit": (
        "a process ended, all its threads with it",
        ("pid", "start_boottime_ns", "status", "exit_code", "signal", "core_dumped"),
    ),
    "fork": ("a process made another; threads are none", ("pid", "child_pid", "child_start_boottime_ns")),
    "lost": ("events are missing, here", ("count", "cause")),
}
"""By type: what it is, and what a line has at least where `--columns` doesn't choose."""
_ALWAYS = ("type", "time", "boottime_ns")

INTEGER: dict[str, Any] = {"type": "integer"}
COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
TEXT: dict[str, Any] = {"type": "string"}
BOOLEAN: dict[str, Any] = {"type": "boolean"}
TEXTS: dict[str, Any] = {"type": "array", "items": TEXT}


def one_of(*words: str) -> dict[str, Any]:
    return {"enum": list(words)}


def object_of(value: dict[str, Any], *names: str) -> dict[str, Any]:
    """With no other keys than `names`, if there are any."""
    if not names:
        return {"type": "object", "additionalProperties": value}
    return {"type": "object", "properties": dict.fromkeys(names, value), "additionalProperties": False}


NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts", "inner_pid")
SETS = ("inheritable", "permitted", "effective", "bounding", "ambient")
FLAGS = ("memfd", "deleted", "upper_layer", "setuid", "setgid", "secureexec")
REASONS = ("truncated", "unreadable", "raced", "unsupported")

KEYS: dict[str, tuple[dict[str, Any], str]] = {
    "type": (one_of(*EVENTS), "what happened"),
    "time": (
        {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$"},
        "when, in UTC by RFC 3339: `boottime_ns` by the wall clock",
    ),
    "boottime_ns": (COUNT, "when, on CLOCK_BOOTTIME"),
    "cpu": (COUNT, "the CPU on which it happened; absent where none is known"),
    "pid": (COUNT, "the process (tgid)"),
    "tid": (COUNT, "the thread that did it; at an exit the last one"),
    "ppid": (COUNT, "its parent then; 0 for none"),
    "start_boottime_ns": (COUNT, "when the process began; to 10 ms where `incomplete` says `truncated`"),
    "uid": (COUNT, "real user"),
    "gid": (COUNT, "real group"),
    "euid": (COUNT, "effective user"),
    "egid": (COUNT, "effective group"),
    "loginuid": (COUNT, "who logged in, for audit; absent where nobody did"),
    "sessionid": (COUNT, "the audit session; absent where there is none"),
    "tty": (TEXT, "controlling terminal, as `pts3`; absent without"),
    "comm": (TEXT, "the kernel's name of it, at most 15 bytes; at an exit the leader's"),
    "cgroup": (TEXT, "path of its control group; collected if asked for"),
    "container": (
        object_of({"type": ["string", "null"]}, "id", "runtime", "name"),
        "the innermost one that `cgroup` tells of; `runtime` null where only the id gives it away, `name` where no "
        "runtime's files on this machine have it; collected if asked for",
    ),
    "namespaces": (
        object_of(COUNT, *NAMESPACES),
        "inode numbers of its namespaces, and `inner_pid`, its pid in the innermost; collected if asked for",
    ),
    "argv": (
        TEXTS,
        "arguments as the process has them: a script's begin with its interpreter. At an exit those of its last exec",
    ),
    "argv_size_bytes": (COUNT, "their true size, every NUL counted, also where `argv` is cut"),
    "filename": (TEXT, "the program, as asked for"),
    "interpreter": (TEXT, "what runs the script; absent for other programs"),
    "script": (TEXT, "the script itself; absent for other programs"),
    "old_tid": (COUNT, "the thread that called, where it wasn't the leader"),
    "old_euid": (COUNT, "effective user before, where the exec changed it"),
    "old_egid": (COUNT, "effective group before, where the exec changed it"),
    "flags": (
        {"type": "array", "items": one_of(*FLAGS)},
        "what is odd about the program: `memfd` (in memory only), `deleted`, `upper_layer` (of an overlay: not from "
        "the image), `setuid`, `setgid`, `secureexec` (AT_SECURE); absent where nothing is",
    ),
    "exe": (TEXT, "the program's path, resolved; collected if asked for"),
    "cwd": (TEXT, "working directory; collected if asked for"),
    "capabilities": (
        object_of({"type": "string", "pattern": "^[0-9a-f]{16}$"}, *SETS),
        "its sets after the exec, as in /proc/PID/status; collected if asked for",
    ),
    "errno": ({"type": "integer", "minimum": 1}, "why it failed, as a number"),
    "error": (TEXT, "and by name: `ENOENT`"),
    "dirfd": (INTEGER, "execveat's descriptor; absent where it plays no part"),
    "at_flags": (COUNT, "execveat's flags; absent with `dirfd`"),
    "folded": (COUNT, "how many earlier tries along PATH this line stands for; absent for none"),
    "status": (COUNT, "as `wait()` gives it"),
    "exit_code": (
        {"type": "integer", "minimum": 0, "maximum": 255},
        "what it returned; null if a signal ended it",
    ),
    "signal": ({"type": "string", "pattern": "^SIG"}, "the signal that ended it, by name; else null"),
    "core_dumped": (BOOLEAN, "whether a core was written"),
    "duration_ns": (COUNT, "since its last exec, else since its fork"),
    "lifetime_ns": (COUNT, "since its fork"),
    "cpu_ns": (COUNT, "CPU time of all its threads, without children's"),
    "cpu_exact": (BOOLEAN, "true if the accounts are the kernel's last word, at reaping"),
    "user_cpu_ns": (COUNT, "of `cpu_ns`, in user space"),
    "system_cpu_ns": (COUNT, "of `cpu_ns`, in the kernel"),
    "max_rss_bytes": (COUNT, "the most memory it had resident"),
    "minor_faults": (COUNT, "page faults without I/O"),
    "major_faults": (COUNT, "page faults with I/O"),
    "read_bytes": (COUNT, "what it had read from storage"),
    "write_bytes": (COUNT, "what it had written to storage"),
    "voluntary_switches": (COUNT, "how often it waited"),
    "involuntary_switches": (COUNT, "how often it was made to"),
    "inherited": (BOOLEAN, "true: it ran no program of its own, and `argv` is its parent's; else absent"),
    "child_pid": (COUNT, "the new process"),
    "child_start_boottime_ns": (COUNT, "when that began"),
    "clone_flags": (COUNT, "clone's flags, as a number"),
    "count": ({"type": "integer", "minimum": 1}, "how many are missing"),
    "cause": (
        one_of("buffer_full", "output_full", "undecodable"),
        "`buffer_full`: the kernel side had no room; `output_full`: who reads our output was too slow; `undecodable`: "
        "it came and made no sense",
    ),
    "events": (TEXT, "which kind is missing, where known"),
    "incomplete": (
        object_of(one_of(*REASONS)),
        "from key to what its value lacks: it is `truncated`, `unreadable`, `raced` (something else by the time we "
        "looked) or `unsupported` by this kernel",
    ),
    "raw": (
        object_of({"anyOf": [TEXT, TEXTS]}),
        "from key to the exact bytes in base64, for text that isn't UTF-8 and has U+FFFD in its own key",
    ),
}


def keys_of(event: str) -> tuple[str, ...]:
    return (*model._KEYS[event], "incomplete", "raw")


def schema() -> dict[str, Any]:
    nullable = {
        key: value if key in _ALWAYS or key in ("incomplete", "raw") else {"anyOf": [value, {"type": "null"}]}
        for key, (value, _) in KEYS.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of execsnoop --json",
        "oneOf": [{"$ref": f"#/$defs/{event}"} for event in EVENTS],
        "$defs": {
            event: {
                "description": what,
                "type": "object",
                "properties": {
                    key: {"const": event} if key == "type" else {"$ref": f"#/$defs/{key}"}
                    for key in keys_of(event)
                },
                "required": [*_ALWAYS, *least],
                "additionalProperties": False,
            }
            for event, (what, least) in EVENTS.items()
        }
        | {key: {"description": KEYS[key][1], **nullable[key]} for key in KEYS},
    }


def page() -> str:
    parts = [HEAD]
    for title, keys in _sections():
        rows = [f"| `{key}` | {_type(key)} | {KEYS[key][1]} |" for key in keys]
        parts.append("\n".join([f"## {title}\n", "| key | type | |", "|---|---|---|", *rows, ""]))
    return "\n".join(parts)


def _sections() -> list[tuple[str, tuple[str, ...]]]:
    first = model._EVERY_LINE
    shared = (*first, *model._PROCESS)
    found = [("On every line", first), ("On all but `lost`", model._PROCESS)]
    for event, (what, _) in EVENTS.items():
        own = tuple(key for key in model._KEYS[event] if key not in shared)
        found.append((f"`{event}`: {what}", own))
    return [*found, ("Last, only where needed", model._MARKS)]


def _type(key: str) -> str:
    value = KEYS[key][0]
    if value.get("type") == "array":
        return "list of strings"
    return str(value.get("type", "string"))


if __name__ == "__main__":
    (DOCS / "events.md").write_text(page())
    (DOCS / "events.schema.json").write_text(json.dumps(schema(), indent=1, ensure_ascii=False) + "\n")
