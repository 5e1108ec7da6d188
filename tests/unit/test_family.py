"""Who belongs to a family, by forks told, forks lost, and the list of the living."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import given, strategies

from execsnoop.family import Family
from execsnoop.model import ProcessEvent


class Listed(NamedTuple):
    """A record of listed_process, as far as a family reads it."""

    pid: int
    start_boottime_ns: int
    ppid: int
    parent_start_boottime_ns: int


def listed(process: tuple[int, int], parent: tuple[int, int]) -> Listed:
    return Listed(*process, *parent)


ROOT = (10, 100)
ATTACHED_NS = 1000
LATER_NS = 10**12


def event(
    type: str, time: int, process: tuple[int, int] = (0, 0), ppid: int = 1, **more: Any
) -> ProcessEvent:
    made = ProcessEvent(type, time, 0, 0)
    if type != "lost":
        made.pid, made.start_boottime_ns, made.ppid = *process, ppid
    for key, value in more.items():
        setattr(made, key, value)
    return made


def fork(time: int, parent: tuple[int, int], child: tuple[int, int], ppid: int = 1) -> ProcessEvent:
    return event("fork", time, parent, ppid, child_pid=child[0], child_start_boottime_ns=child[1])


def family(*members: Listed, at: int = ATTACHED_NS + 1, is_held: bool = False) -> Family:
    made = Family(ROOT, ATTACHED_NS, is_held=is_held)
    made.set_list([listed(ROOT, (1, 0)), *members], at)
    return made


def test_who_a_member_makes_is_one_whoever_the_parent_is() -> None:
    one = family()
    orphan, sibling = (20, 2000), (21, 2001)
    events = [
        fork(2000, ROOT, orphan),
        fork(
            2001, orphan, sibling, ppid=10
        ),  # CLONE_PARENT: whose parent is another is still made by this one
        event("exit", 2002, orphan, ppid=10),
        event("exec", 2003, sibling, ppid=1),
        event("exec", 2004, (30, 1900), ppid=10),  # a stranger that was given to a member as to a reaper
    ]
    assert one.select(events, 2005) == events[:4]
    assert sibling in one and orphan not in one and len(one) == 2


def test_a_pid_that_comes_again_is_nobodys() -> None:
    one = family()
    events = [
        fork(2000, ROOT, (20, 2000)),
        event("exit", 2001, (20, 2000)),
        event("exec", 2005, (20, 2003)),
        fork(2006, (99, 1), (20, 2006)),
    ]
    assert one.select(events, 2010) == events[:2]


def test_it_ends_with_the_last_member() -> None:
    one = family()
    one.select([fork(2000, ROOT, (20, 2000)), event("exit", 2001, ROOT)], 2001)
    assert one
    one.select([event("exit", 2002, (20, 2000))], 2002)
    assert not one


def test_descendants_that_were_there_are_members() -> None:
    child, grandchild, stranger = (11, 200), (12, 300), (13, 400)
    one = family(
        listed(grandchild, child), listed(child, ROOT), listed(stranger, (10, 99))
    )  # the stranger's parent had the root's pid before
    assert child in one and grandchild in one and stranger not in one


def test_who_ended_before_the_list_belongs_to_its_parent() -> None:
    one = family(at=1500)
    gone, daemon = (11, 200), (12, 1200)
    events = [fork(1200, gone, daemon, ppid=10), event("exit", 1300, gone, ppid=10)]
    assert one.select(events, 1600) == events
    assert daemon in one
    assert one.select([event("exec", 1700, (14, 300), ppid=10)], 1700) == [], "the list had the last word"


def test_the_held_root_of_a_command_has_no_end_without_an_exec() -> None:
    one = family(is_held=True)
    failed = event("exec_failed", 1999, ROOT)
    assert one.select([failed, event("exit", 2000, ROOT)], 2000) == [failed]
    assert not one
    one = family(is_held=True)
    events = [event("exec", 1999, ROOT), event("exit", 2000, ROOT)]
    assert one.select(events, 2000) == events


def test_a_fork_told_behind_the_list_waits_for_no_end_that_was_lost() -> None:
    one = family()
    gone, alive = (20, 2000), (21, 2001)
    one.select([event("lost", 2500, count=1, cause="buffer_full", events="fork or exit")], 2500)
    one.set_list([listed(ROOT, (1, 0)), listed(alive, ROOT)], 3000)
    one.select([fork(2000, ROOT, gone), fork(2001, ROOT, alive), fork(3500, ROOT, (22, 3500))], 3600)
    assert gone in one
    one.select([], LATER_NS)
    assert gone not in one and alive in one and (22, 3500) in one


def test_a_loss_is_shown_and_makes_up_by_the_list() -> None:
    one = family()
    one.select([fork(2000, ROOT, (20, 2000))], 2000)
    assert not one.needs_list
    of_execs = event("lost", 2500, count=1, cause="buffer_full", events="exec")
    assert one.select([of_execs], 2500) == [of_execs] and not one.needs_list
    loss = event("lost", 3000, count=9, cause="buffer_full", events="fork or exit")
    unseen, stranger = event("exec", 3100, (30, 2900), ppid=10), event("exec", 3101, (31, 3050), ppid=10)
    assert one.select([loss, unseen, stranger], 3200) == [loss, unseen], "who began since was seen beginning"
    assert one.needs_list
    # 20 ended unseen, 40 was made unseen, by 30.
    one.set_list([listed(ROOT, (1, 0)), listed((30, 2900), ROOT), listed((40, 2950), (30, 2900))], 3300)
    assert (40, 2950) in one
    assert (20, 2000) in one, "its end may still be on the way"
    one.select([], LATER_NS)
    assert (20, 2000) not in one and len(one) == 3


@given(strategies.lists(strategies.tuples(strategies.sampled_from("feo"), strategies.integers(0, 10**6))))
def test_it_remembers_the_living_only(steps: list[tuple[str, int]]) -> None:
    """Against a model that keeps everybody for ever."""
    one, living, members, time = family(), [ROOT, (5, 50)], {ROOT}, 2000
    for step, number in steps:
        time += 1
        if not living:
            break
        who = living[number % len(living)]
        if step == "f":
            child = (100 + time, time)
            living.append(child)
            if who in members:
                members.add(child)
            made = fork(time, who, child)
        elif step == "e":
            living.remove(who)
            made = event("exit", time, who)
        else:
            made = event("exec", time, who)
        assert one.select([made], time) == ([made] if who in members else [])
        assert len(one) == len(members & set(living))
