"""The options that choose events, and the filters that they are short for."""

from __future__ import annotations

import pytest

from execsnoop import cli, selection
from execsnoop.filters import Filter


def text(*options: str) -> str | None:
    return selection.where(cli.parser().parse_args(options))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", None),
        ("-u 1000", "uid == 1000"),
        ("--uid root", 'uid == "root"'),
        ("-g root", 'gid == "root"'),
        ("-n c++", r'comm ~ "c\\+\\+"'),
        ("-l-c", 'argv ~ "\\\\-c"'),
        ("--pid 3", "pid == 3"),
        ("--ppid 3 --ppid 4", "ppid == 3 or ppid == 4"),
        ("--cgroup /a/b", 'cgroup in "/a/b"'),
        ("-c a/b", 'cgroup in "/a/b"'),
        ("--container 0123456789ab", 'container.name == "0123456789ab" or container.id ~ "^0123456789ab"'),
        ("--container web", 'container.name == "web"'),
        ("--container facade", 'container.name == "facade" or container.id ~ "^facade"'),
        ("--container abc", 'container.name == "abc"'),
        ("--failed-only", 'status != 0 or type == "exec_failed"'),
        ("--min-duration 1.5s", "duration >= 1.5s"),
        ("-u 0 -u 5 --pid 3", "(uid == 0 or uid == 5) and (pid == 3)"),
        ("--where pid==3 --where uid==0", "(pid==3) and (uid==0)"),
    ],
)
def test_an_option_is_short_for_a_filter(options: str, expected: str | None) -> None:
    found = text(*options.split())
    assert found == expected
    if found is not None:
        Filter(found)


def test_a_cgroup_may_be_named_by_its_folder() -> None:
    with open("/proc/self/mountinfo") as file:
        mounts = [line.split() for line in file]
    for fields in mounts:
        if " - cgroup" in " ".join(fields):
            root = fields[3].rstrip("/")
            assert text("--cgroup", f"{fields[4]}/a/b/") == f'cgroup in "{root}/a/b"'


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--where uid=3", "argument --where: '=' has no meaning here; is it '=='?\n  uid=3\n     ^"),
        ("-u rooot", "argument -u/--uid: uid: there is no user 'rooot'; did you mean root?"),
        ("--pid x", "argument --pid: pid is compared with a whole number"),
        ("--container=", "argument --container: a container has a name, or an id"),
        ("--min-duration 1", "argument --min-duration: duration: say the unit; there are ns us ms s m h d"),
    ],
)
def test_a_wrong_value_is_bad_usage(options: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        text(*options.split())
    assert caught.value.code == 2
    assert capsys.readouterr().err.endswith(f"execsnoop: error: {message}\n")
