"""Loading and attaching: options, sizes, and a named cause and cure for every refusal."""

from __future__ import annotations

import errno
import gzip
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import snoopkit
from snoopkit import _core, attach, features, loader
from snoopkit.errors import AttachError, LoadError, OptionError, SnoopkitError, UnsupportedError
from snoopkit.options import KCONFIG
from snoopkit.targets import of_package

from .conftest import (
    BPF,
    CAP_BPF,
    CAP_PERFMON,
    NOBODY,
    become,
    cover,
    in_child,
    own_mounts,
    program_id,
    wait_unloaded,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.kernel


def refusal(package: snoopkit.Package, *enable: str, targets: dict[str, str] | None = None) -> SnoopkitError:
    """The error from loading and attaching these programs."""
    with loader.open(package, enable=enable) as object:
        with pytest.raises(SnoopkitError) as caught:
            object.load()
            attach.attach_all(object, of_package(package, targets))
        return caught.value


def told(package: snoopkit.Package, *enable: str) -> dict[str, Any]:
    """The same, as a child process can hand it back."""
    error = refusal(package, *enable)
    return {"kind": type(error).__name__, "text": str(error), "errno": getattr(error, "errno", None)}


def test_options_are_set_and_arrays_sized(bursts: snoopkit.Package) -> None:
    with loader.open(bursts, options={"target_pid": 77, "copies": "3"}) as object:
        object.load()
        value = object.maps[".rodata"].lookup(bytes(4))
        assert value is not None
        for name, number in {"target_pid": 77, "copies": 3, "size_bytes": 32, "extra_every": 0}.items():
            offset = bursts.options[name].offset_bytes
            assert int.from_bytes(value[offset : offset + 4], "little") == number
        assert object.maps["slots"].max_entries == _core.possible_cpus()
        assert [program.autoload for program in object.programs.values()] == [True, False]


def test_the_kernels_configuration_is_an_option_too() -> None:
    package = snoopkit.build(BPF / "settings.bpf.c")
    assert {
        name: (spec.type, spec.default) for name, spec in package.options.items() if spec.section == KCONFIG
    } == {
        "CONFIG_HZ": ("int", None),
        "CONFIG_BPF": ("_Bool", None),
        "CONFIG_DEFAULT_HOSTNAME": ("char[16]", None),
        "CONFIG_BTRFS_FS": ("enum libbpf_tristate", None),
    }
    given = {
        "CONFIG_HZ": 4321,
        "CONFIG_BPF": False,
        "CONFIG_DEFAULT_HOSTNAME": "here",
        "CONFIG_BTRFS_FS": "TRI_MODULE",
    }
    with snoopkit.run(package, options=given) as snoop:
        os.getppid()
        seen = snoop.globals
        assert (seen.hz, seen.has_bpf, seen.hostname, seen.module) == (4321, False, "here", 2)


def test_what_is_not_given_is_as_the_kernel_was_configured() -> None:
    with snoopkit.run(snoopkit.build(BPF / "settings.bpf.c")) as snoop:
        os.getppid()
        assert snoop.globals.version >> 16 == int(os.uname().release.split(".")[0])
        beside = Path(f"/boot/config-{os.uname().release}")
        known = (
            beside.read_bytes() if beside.exists() else gzip.decompress(Path("/proc/config.gz").read_bytes())
        )
        assert f"CONFIG_HZ={snoop.globals.hz}\n" in known.decode()
        assert snoop.globals.has_bpf is True


def test_bad_options_leave_nothing_open(bursts: snoopkit.Package) -> None:
    live = _core.live_handles()
    for options in ({"no_such": 1}, {"copies": 1 << 40}, {"copies": "many"}):
        with pytest.raises(OptionError):
            loader.open(bursts, options=options)
    with pytest.raises(ValueError, match="no_such_program"):
        loader.open(bursts, enable=["no_such_program"])
    assert _core.live_handles() == live


def test_a_program_can_be_switched_off(hooks: snoopkit.Package) -> None:
    with loader.open(hooks, enable=["good", "needs_btf"], disable=["needs_btf"]) as object:
        assert [name for name, program in object.programs.items() if program.autoload] == ["good"]
    with pytest.raises(ValueError, match="no_such_program"):
        loader.open(hooks, disable=["no_such_program"])


def test_hooks_are_looked_up() -> None:
    assert features.supports("tp_btf/sched_process_exec") is True
    assert features.supports("?raw_tp/sched_process_exec") is True
    assert features.supports("tp_btf/no_such_tracepoint") is False
    assert features.supports("tp/syscalls/sys_exit_execve") is features.tracefs_readable()
    assert features.supports("tp/syscalls/no_such_call") is False
    assert features.supports("uprobe/anything") is None


def test_optional_programs_are_off_unless_enabled(hooks: snoopkit.Package) -> None:
    with loader.open(hooks) as object:
        object.load()
        assert len(attach.attach_all(object)) == 0
    with loader.open(hooks, enable=["good"]) as object:
        object.load()
        links = attach.attach_all(object)
        assert len(links) == 1
        links.close()
        links.close()
        assert len(links) == 0


def test_a_rejection_is_told_in_the_verifiers_words(hooks: snoopkit.Package) -> None:
    error = refusal(hooks, "refused")
    assert isinstance(error, LoadError)
    text = str(error)
    assert "program refused (raw_tp/sched_process_exit)" in text
    assert "invalid mem access 'map_value_or_null'" in text
    assert "return *number" in text
    assert len(text) < 400
    assert "processed" in error.log


def test_nobody_is_told_which_capabilities_are_missing(hooks: snoopkit.Package) -> None:
    def nobody(*capabilities: int) -> Callable[[], dict[str, Any]]:
        def child() -> dict[str, Any]:
            become(NOBODY, capabilities)
            return told(hooks, "good")

        return child

    answer = in_child(nobody())
    assert answer["kind"] == "LoadError"
    assert "CAP_BPF and CAP_PERFMON missing" in answer["text"]
    assert "root" in answer["text"]
    answer = in_child(nobody(CAP_BPF))
    assert "CAP_PERFMON missing" in answer["text"]
    assert "CAP_BPF" not in answer["text"]


def test_two_capabilities_suffice_for_raw_tracepoints(hooks: snoopkit.Package) -> None:
    def child() -> int:
        become(NOBODY, [CAP_BPF, CAP_PERFMON])
        with loader.open(hooks, enable=["good", "needs_btf"]) as object:
            object.load()
            with attach.attach_all(object) as links:
                return len(links)

    assert in_child(child) == 2


@pytest.mark.parametrize("define", [[], ["TYPES_ALONE"]], ids=["a function and a type", "a type"])
@pytest.mark.parametrize("capabilities", [None, (CAP_BPF, CAP_PERFMON)], ids=["root", "two capabilities"])
def test_what_the_kernel_lacks_is_done_without(
    capabilities: tuple[int, ...] | None, define: list[str]
) -> None:
    """Nobody but root may look for it in the kernel's modules."""
    package = snoopkit.build(BPF / "absent.bpf.c", define=define)
    symbols = [symbol.name for symbol in package.elf.symbols if not symbol.section]
    assert ("snoopkit_no_such_function" in symbols) is not bool(define)

    def child() -> list[int]:
        if capabilities is not None:
            become(NOBODY, capabilities)
        with snoopkit.run(package) as snoop:
            subprocess.run(["/bin/true"], check=True)
            return [snoop.globals.with_function, snoop.globals.with_struct, snoop.globals.without]

    assert in_child(child) == [0, 0, 1]


def test_what_is_needed_may_be_where_only_root_can_look() -> None:
    package = snoopkit.build(BPF / "absent.bpf.c", define=["NEEDED"])

    def child() -> dict[str, Any]:
        become(NOBODY, [CAP_BPF, CAP_PERFMON])
        return told(package)

    for answer, may_be in ((in_child(child), True), (told(package), False)):
        assert answer["kind"] == "LoadError" and answer["errno"] == errno.EINVAL
        assert "'snoopkit_no_such_function': not found in kernel or module BTFs" in answer["text"]
        assert ("CAP_SYS_ADMIN" in answer["text"]) is may_be


def test_a_tracepoint_needs_a_tracefs(hooks: snoopkit.Package) -> None:
    def without_tracefs() -> dict[str, Any]:
        own_mounts()
        cover("/sys/kernel/debug")
        cover("/sys/kernel/tracing")
        return told(hooks, "tracepoint")

    answer = in_child(without_tracefs)
    assert answer["kind"] == "AttachError"
    assert "no tracefs is mounted" in answer["text"]
    assert "mount -t tracefs tracefs /sys/kernel/tracing" in answer["text"]


def test_a_tracefs_of_roots_own_is_named(hooks: snoopkit.Package) -> None:
    def child() -> dict[str, Any]:
        become(NOBODY, [CAP_BPF, CAP_PERFMON])
        assert not features.tracefs_readable()
        return told(hooks, "tracepoint")

    answer = in_child(child)
    assert answer["kind"] == "AttachError"
    assert "can't be read" in answer["text"]
    assert "raw tracepoints need no tracefs" in answer["text"]


def test_a_kernel_without_btf_is_named(hooks: snoopkit.Package) -> None:
    def without_btf() -> dict[str, Any]:
        own_mounts()
        for path in ("/sys/kernel/btf", "/boot", "/lib/modules", "/usr/lib/debug"):
            if os.path.isdir(path):
                cover(path)
        return told(hooks, "needs_btf")

    answer = in_child(without_btf)
    assert answer["kind"] == "UnsupportedError"
    assert "/sys/kernel/btf/vmlinux" in answer["text"]
    assert "CONFIG_DEBUG_INFO_BTF" in answer["text"]


def test_hooks_that_are_not_there_are_named(hooks: snoopkit.Package) -> None:
    error = refusal(hooks, "unknown_tracepoint")
    assert isinstance(error, AttachError)
    assert "no tracepoint snoopkit/no_such_tracepoint" in str(error)
    error = refusal(hooks, "unknown_raw_tracepoint")
    assert isinstance(error, AttachError)
    assert "no raw tracepoint no_such_tracepoint" in str(error)
    error = refusal(hooks, "unknown_btf_tracepoint")
    assert isinstance(error, UnsupportedError)
    assert "no_such_tracepoint" in str(error)


def test_sections_that_cannot_be_attached_are_named(hooks: snoopkit.Package) -> None:
    for name, section in (("without_target", "xdp"), ("unknown_section", "nonsense/section")):
        error = refusal(hooks, name)
        assert isinstance(error, UnsupportedError), error
        assert name in str(error) and error.program == name
        assert section in str(error)


@pytest.mark.parametrize("name", ["fentry", "kprobe"])
def test_what_a_kernel_may_refuse_works_or_is_unsupported(hooks: snoopkit.Package, name: str) -> None:
    with loader.open(hooks, enable=[name]) as object:
        try:
            object.load()
            with attach.attach_all(object) as links:
                assert len(links) == 1
        except UnsupportedError as error:
            assert name in error.feature
            assert f"program {name} ({name}/do_nanosleep): this kernel" in str(error)


def test_targets_can_be_given(hooks: snoopkit.Package) -> None:
    for targets in (
        {"good": "raw_tracepoint:sched_process_exit"},
        {"unknown_raw_tracepoint": "raw_tracepoint:sched_process_exec"},
        {"unknown_tracepoint": "tracepoint:sched:sched_process_exec"},
    ):
        with loader.open(hooks, enable=targets) as object:
            object.load()
            assert len(attach.attach_all(object, of_package(hooks, targets))) == 1
    for target in ("", "tracepoint", "tracepoint:a", "tracepoint::", "kprobe:", "raw_tracepoint:a:b"):
        error = refusal(hooks, "good", targets={"good": target})
        assert isinstance(error, UnsupportedError)
        assert "tracepoint:CATEGORY:NAME, raw_tracepoint:NAME" in str(error)
    error = refusal(hooks, "good", targets={"better": "raw_tracepoint:x"})
    assert "better" in str(error)
    error = refusal(hooks, "good", targets={"tracepoint": "tracepoint:a:b"})
    assert "switched off" in str(error)


def test_a_failed_attachment_detaches_the_others(hooks: snoopkit.Package) -> None:
    with loader.open(hooks, enable=["good", "unknown_raw_tracepoint"]) as object:
        object.load()
        number = program_id(object.programs["good"].fd)
        live = _core.live_handles()
        with pytest.raises(AttachError):
            attach.attach_all(object)
        assert _core.live_handles() == live
    wait_unloaded([number])


def test_probes_answer() -> None:
    assert features.kernel_btf() is True
    assert features.tracefs() is not None
    assert features.tracefs_readable()
    assert features.possible_cpus() >= (os.cpu_count() or 1)
    held = features.capabilities()
    assert held is not None
    assert held >= {"CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN"}
    assert features.missing_capabilities() == () and features.lists_modules()
    assert features.lockdown() in (None, "none", "integrity", "confidentiality")
    assert (features.perf_event_mlock_kb() or 0) > 0
    assert features.unprivileged_bpf() in (True, False)
