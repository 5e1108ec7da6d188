"""Commands of running processes: by identity, inherited, found, and forgotten within bounds."""

from __future__ import annotations

from execsnoop.processes import Command, Processes
from execsnoop.procfs import TICK_NS

OLD = (7, 5 * TICK_NS + 123)


def found(argv: str = "old", *, inherited: bool = False) -> Processes:
    processes = Processes()
    processes.found((7, 5 * TICK_NS), Command([argv]), inherited)
    processes.looked(9 * TICK_NS, TICK_NS)
    return processes


def argv(command: Command | None) -> list[str] | None:
    return command.argv if command is not None else None


def test_what_was_found_is_known_by_the_ticks_of_its_start() -> None:
    processes = found()
    assert argv(processes.command(OLD)) == ["old"]
    running = processes.ended(OLD)
    assert running is not None and argv(running.command) == ["old"] and not running.inherited
    assert processes.ended(OLD) is None


def test_and_by_its_exact_time_where_that_is_known() -> None:
    for start_ns, expected in ((OLD[1], ["old"]), (OLD[1] - 1, None), (OLD[1] + 1, None)):
        processes = Processes()
        processes.found((7, start_ns), Command(["old"]), False)
        processes.looked(9 * TICK_NS)
        assert argv(processes.command(OLD)) == expected


def test_what_never_ran_a_program_has_inherited_its_command() -> None:
    running = found(inherited=True).ended(OLD)
    assert running is not None and running.inherited and argv(running.command) == ["old"]
    processes = found(inherited=True)
    processes.execed(OLD, Command(["new"]), 10 * TICK_NS)
    running = processes.ended(OLD)
    assert running is not None and not running.inherited


def test_another_process_with_that_pid_is_not_it() -> None:
    processes = found()
    assert processes.command((7, 6 * TICK_NS)) is None
    assert processes.ended(OLD) is None  # one of that pid began later: the older one is gone


def test_a_child_inherits_what_was_found() -> None:
    processes = found()
    assert argv(processes.forked(OLD, (8, 10 * TICK_NS))) == ["old"]
    running = processes.ended((8, 10 * TICK_NS))
    assert running is not None and running.inherited and argv(running.command) == ["old"]


def test_an_exec_replaces_it() -> None:
    processes = found()
    processes.execed(OLD, Command(["new"]), 10 * TICK_NS)
    assert argv(processes.command(OLD)) == ["new"]


def test_what_may_have_been_found_too_late_is_doubted() -> None:
    processes = found("new")
    processes.forked(OLD, (8, 8 * TICK_NS))  # from what it ran before
    processes.execed(OLD, Command(["new"]), 8 * TICK_NS + 1)
    child = processes.command((8, 8 * TICK_NS))
    assert child is not None and (child.argv, child.reason) == (None, "raced")
    assert argv(processes.command(OLD)) == ["new"]


def test_the_memory_of_the_new_program_is_found_before_its_exec_is_told() -> None:
    for told, expected in (("new", None), ("newer", ["new"])):
        processes = found("new")
        child = processes.forked(OLD, (8, 8 * TICK_NS))
        processes.execed(OLD, Command([told]), 9 * TICK_NS + 1000)
        assert child is not None and child.argv == expected


def test_not_more_are_kept_of_what_was_found_than_of_what_is_seen() -> None:
    long = Command(["x" * 300], 300)
    for bounds, kept in ({"max_running": 3}, 3), ({"max_argv_bytes": 2 * long.size_bytes}, 2):
        processes = Processes(**bounds)
        for pid in range(5):
            processes.found((pid, 1), Command(["x" * 300], 300), False)
        assert [argv(processes.command((pid, 1))) is not None for pid in range(5)] == [
            pid < kept for pid in range(5)
        ]
        assert processes.evicted == 5 - kept


def test_forgetting_keeps_the_sums_right() -> None:
    processes = Processes(max_running=3, max_argv_bytes=10_000)
    for pid in range(20):
        processes.execed((pid, 1), Command(["x"] * 10, 20), 1)
        processes.forked((pid, 1), (pid + 100, 2))
        processes.ended((pid - 2, 1))
        processes.ended((pid + 98, 2))
    for pid in range(120):
        processes.ended((pid, 1))
        processes.ended((pid, 2))
    assert processes.evicted > 0
    assert processes._argv_bytes == 0 and not processes._running


def test_a_long_command_counts_once_however_many_inherit_it() -> None:
    processes = Processes(max_argv_bytes=5_000)
    processes.execed((1, 1), Command(["other"], 6), 1)
    processes.execed((2, 1), Command(["x" * 2_000], 2_001), 1)
    for pid in range(100, 200):
        processes.forked((2, 1), (pid, 2))
    assert processes.evicted == 0 and argv(processes.command((1, 1))) == ["other"]
    processes.ended((2, 1))
    for pid in range(100, 200):
        assert processes.ended((pid, 2)) is not None
    assert processes._argv_bytes == Command(["other"], 6).size_bytes


def test_a_command_too_long_to_keep_is_kept_in_part() -> None:
    processes = Processes(max_argv_bytes=10_000)
    processes.execed((1, 1), Command(["other"], 6), 1)
    processes.execed((2, 1), Command(["ls", *[""] * 1_000], 1_003), 1)
    kept = processes.command((2, 1))
    assert kept is not None and kept.argv is not None and kept.reason == "truncated"
    assert kept.argv[0] == "ls" and 2 < len(kept.argv) < 20
    assert processes.evicted == 0 and argv(processes.command((1, 1))) == ["other"]
