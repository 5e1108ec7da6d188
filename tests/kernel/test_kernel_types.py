"""Programs relocated by an extract of the kernel's types are those that libbpf makes of all types."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest

import execsnoop.tracing
import snoopkit
from snoopkit import _core, features, kernel_ids, kernel_types, loader
from snoopkit.errors import LoadError, UnsupportedError

pytestmark = pytest.mark.kernel

ALWAYS = ("on_exec", "on_exit", "on_fork")
HAS_CAST = (types := features.kernel_types()) is not None and types.has_name(b"bpf_rdonly_cast")
BY_ID = ("tp_btf/", "?tp_btf/", "?iter/", "?iter.s/")


@pytest.fixture(scope="module")
def package() -> snoopkit.Package:
    return snoopkit.Package.read(execsnoop.tracing.package_path())


def instructions(code: bytes) -> list[bytes]:
    """Each one, but for the maps' descriptors, which are others in each load."""
    found = [code[at : at + 8] for at in range(0, len(code), 8)]
    return [one[:4] + bytes(4) if one[0] == 0x18 and one[1] >> 4 in (1, 2) else one for one in found]


def loaded(package: snoopkit.Package, by_extract: bool, **how: Any) -> dict[str, list[bytes]]:
    with loader.open(package, by_extract=by_extract, **how) as object:
        assert object.by_extract == by_extract
        object.load()
        return {name: instructions(one.instructions) for name, one in object.programs.items() if one.autoload}


@pytest.mark.parametrize(
    ("enable", "disable"),
    [
        ((), ()),
        (("list_processes",), ()),
        (("on_prepare",), ()),
        (("on_free",), ()),
        (("on_exec_more", "on_exit_more", "on_fork_more"), ALWAYS),
        (("on_exec_raw", "on_exit_raw", "on_fork_raw", "on_free_raw"), ALWAYS),
        (("on_prepare_raw",), ALWAYS),
        (("on_fail_execve", "on_fail_execveat"), ALWAYS),
        (("on_fail_raw",), ALWAYS),
    ],
    ids=lambda names: "+".join(names) or "-",
)
def test_the_same_instructions(
    package: snoopkit.Package, enable: tuple[str, ...], disable: tuple[str, ...]
) -> None:
    how = {"enable": enable, "disable": disable}
    expected = loaded(package, False, **how)
    extract = kernel_types.extract(package, {*ALWAYS, *enable} - {*disable})
    assert extract is not None
    by_id = {name: one for name, one in package.programs.items() if one.section.startswith(BY_ID)}
    if HAS_CAST:  # else libbpf has to see that for itself
        assert extract.attach_ids is not None
        assert extract.attach_ids.keys() == ({*ALWAYS, *enable} - {*disable}) & by_id.keys()
    found = loaded(package, True, **how)
    assert found == expected
    assert found.keys() == {*ALWAYS, *enable} - {*disable}


def test_what_programs_are_for_is_found_by_libbpf_where_it_must_be(
    package: snoopkit.Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relocations are by the extract all the same."""
    monkeypatch.setattr(kernel_ids.Asked, "fill_in", lambda *_: None)
    how = {"enable": ["list_processes"]}
    assert loaded(package, True, **how) == loaded(package, False, **how)


def test_programs_for_the_wrong_hook_are_refused(
    package: snoopkit.Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract = kernel_types.extract(package, ALWAYS)
    assert extract is not None and (extract.attach_ids is not None) == HAS_CAST
    if extract.attach_ids is None:
        return
    for ids in ({**extract.attach_ids, "on_exec": 1}, {"on_exec": extract.attach_ids["on_exec"]}, {}):
        wrong = kernel_types.Extract(extract.object, extract.types, ids)
        with monkeypatch.context() as patch:
            patch.setattr(kernel_types, "extract", lambda *_, wrong=wrong: wrong)
            with (
                loader.open(package, by_extract=True) as object,
                pytest.raises((LoadError, UnsupportedError)),
            ):
                object.load()
            snoopkit.run(package).close()  # which has another try
    assert _core.live_handles() == 0


@pytest.mark.parametrize("broken", ["no types", "no BTF"])
def test_what_an_extract_is_not_good_enough_for_has_another_try(
    package: snoopkit.Package, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    types = features.kernel_types()
    assert types is not None
    bad = types.extract([b"no such type"])[0] if broken == "no types" else b"not BTF"
    tries = []

    def extract(*_: object) -> kernel_types.Extract:
        tries.append(bad)
        return kernel_types.Extract(package.object, bad, None)

    monkeypatch.setattr(kernel_types, "extract", extract)
    with loader.open(package, by_extract=True) as object, pytest.raises(LoadError):
        object.load()
    before, open_files = _core.live_handles(), len(os.listdir("/proc/self/fd"))
    with snoopkit.run(package) as snoop:
        assert len(tries) == 2
        with subprocess.Popen(["/bin/true"]) as process:
            pid = process.pid
        found: list[Any] = []
        for _ in range(1000):
            found += snoop.poll(0.05)
            if any(event._struct == "exit_event" and event.pid == pid for event in found):
                break
        assert any(event._struct == "exec_event" and event.pid == pid for event in found)
    assert (_core.live_handles(), len(os.listdir("/proc/self/fd"))) == (before, open_files)


def test_a_refusal_is_told_as_without_an_extract(package: snoopkit.Package) -> None:
    """The first try fails where the second does, and says less."""
    own = package.programs["on_prepare"].section
    assert own == "?tp_btf/sched_prepare_exec"
    renamed = package.object.replace(b"?tp_btf/sched_prepare_exec\0", b"?tp_btf/sched_prepare_exet\0")
    meta = {**package.meta, "bpf_skel": {**package.meta["bpf_skel"]}}
    meta["bpf_skel"]["progs"] = [
        {**entry, "attach": "?tp_btf/sched_prepare_exet"} if entry["name"] == "on_prepare" else entry
        for entry in meta["bpf_skel"]["progs"]
    ]
    strange = snoopkit.Package(renamed, meta)
    with loader.open(strange, enable=["on_prepare"]) as object, pytest.raises(UnsupportedError) as expected:
        object.load()
    with pytest.raises(UnsupportedError) as found:
        snoopkit.run(strange, enable=["on_prepare"])
    assert str(found.value) == str(expected.value)
    assert found.value.feature == expected.value.feature == "tp_btf/sched_prepare_exet"
    assert _core.live_handles() == 0
