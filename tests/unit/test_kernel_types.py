"""Extracts of a kernel's BTF, over BTF that no kernel has. No kernel, no root."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from tests.btf_writer import BtfWriter

import execsnoop.tracing
import snoopkit
from snoopkit import _core, btf, features, kernel_types
from snoopkit.btf import Btf
from snoopkit.elf import Elf
from snoopkit.errors import PackageError


def kernel(folder: Path, data: bytes) -> _core.KernelBtf:
    path = folder / "btf"
    path.write_bytes(data)
    return _core.KernelBtf(str(path))


def members(found: Btf, name: str) -> dict[str, btf.Type]:
    type_id = found.find(name, btf.KIND_STRUCT)
    assert type_id is not None
    return {one.name: found.types[one.type_id] for one in found.types[type_id].members}


def test_what_is_held_by_value_comes_along_and_what_is_pointed_to_does_not(tmp_path: Path) -> None:
    out = BtfWriter()
    number = out.integer("int", 4, signed=True)
    far = out.struct("far", 4, [("x", number, 0)])
    state = out.enum("state", 4, [("OFF", 0), ("ON", 1)])
    inner = out.struct("", 8, [("y", number, 0), ("z", out.typedef("number_t", out.const(number)), 32)])
    out.struct("unasked", 4, [("x", number, 0)])
    row = out.array(inner, number, 3)
    out.struct(
        "near",
        40,
        [("to", out.ptr(far), 0), ("row", row, 64), ("bits", number, 256, 3), ("state", state, 288)],
    )
    data, found, _ = kernel(tmp_path, out.blob()).extract([b"near", b"state", b"none"])
    assert sorted(found) == [(b"near", len(out.records), btf.KIND_STRUCT), (b"state", state, btf.KIND_ENUM)]
    extract = Btf.parse(data)
    assert {one.name for one in extract.types if one.name} == {"near", "int", "number_t", "state"}
    near = members(extract, "near")
    assert list(near) == ["to", "row", "bits", "state"]
    assert near["to"].kind == btf.KIND_PTR and near["to"].type_id == 0
    assert near["row"].count == 3
    assert [one.name for one in extract.types[near["row"].type_id].members] == ["y", "z"]
    assert near["state"].values == (("OFF", 0), ("ON", 1))
    type_id = extract.find("near")
    assert type_id is not None
    assert [(one.bit_offset, one.bit_size) for one in extract.types[type_id].members] == [
        (0, 0),
        (64, 0),
        (256, 3),
        (288, 0),
    ]


def test_flavours_are_found_too_and_only_types_of_that_name(tmp_path: Path) -> None:
    out = BtfWriter()
    number = out.integer("int", 4)
    names = ["task", "task___old", "task___a___b", "task____c", "___task", "tas", "task_more", "other"]
    ids = [out.struct(name, 4, [("x", number, 0)]) for name in names]
    union = out.union("task", 4, [("x", number, 0)])
    out.fwd("task")
    out.typedef("task", number)
    _, found, _ = kernel(tmp_path, out.blob()).extract([b"task"])
    assert sorted((type_id, kind) for _, type_id, kind in found) == [
        (ids[0], btf.KIND_STRUCT),
        (ids[1], btf.KIND_STRUCT),
        (union, btf.KIND_UNION),
    ]


def test_names(tmp_path: Path) -> None:
    out = BtfWriter()
    hook = out.typedef("btf_trace_one", out.integer("int", 4))
    function = out.func("bpf_one", out.func_proto(0, []))
    out.struct("bpf_one", 0, [])
    out.func("bpf_one_more", function - 1)
    types = kernel(tmp_path, out.blob())
    assert types.extract([], [b"btf_trace_one", b"bpf_one", b"none"])[2] == [
        (b"btf_trace_one", hook, btf.KIND_TYPEDEF),
        (b"bpf_one", function, btf.KIND_FUNC),
    ]
    assert types.has_name(b"btf_trace_one")
    assert not types.has_name(b"btf_trace_on") and not types.has_name(b"trace_one")


def test_a_struct_that_holds_a_function_is_refused(tmp_path: Path) -> None:
    out = BtfWriter()
    proto = out.func_proto(0, [])
    out.struct("odd", 8, [("f", proto, 0)])
    with pytest.raises(PackageError, match="can't be read"):
        kernel(tmp_path, out.blob()).extract([b"odd"])


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_no_bytes_do_harm(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    out = BtfWriter()
    number = out.integer("int", 4)
    inner = out.struct("inner", 4, [("x", out.typedef("t", number), 0)])
    out.struct(
        "task", 16, [("in", inner, 0), ("row", out.array(number, number, 2), 32), ("p", out.ptr(4), 64)]
    )
    out.enum("kind", 4, [("A", 1)])
    blob = bytearray(out.blob())
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    del blob[data.draw(st.integers(len(blob) - 3, len(blob))) :]
    try:
        kernel(tmp_path_factory.getbasetemp(), bytes(blob)).extract([b"task", b"kind", b"inner"])
    except PackageError:
        pass


@pytest.fixture(scope="module")
def package() -> snoopkit.Package:
    return snoopkit.Package.read(execsnoop.tracing.package_path())


def own_types(package: snoopkit.Package) -> tuple[BtfWriter, int]:
    """A kernel that has a type of each name that the package knows; and the id of a number."""
    out = BtfWriter()
    number = out.integer("int", 4)
    for one in list(package.btf.types):
        if one.name and "___" not in one.name and one.kind in (btf.KIND_STRUCT, btf.KIND_UNION):
            out.struct(one.name, 4, [("x", number, 0)], kind=one.kind)
        elif one.name and one.kind == btf.KIND_ENUM:
            out.enum(one.name, 4, [("X", 1)])
    return out, number


@pytest.mark.parametrize("module", [None, "mm_struct", "mm_struct___old", "other"])
def test_types_that_only_a_module_has_are_left_to_libbpf(
    tmp_path: Path, package: snoopkit.Package, monkeypatch: pytest.MonkeyPatch, module: str | None
) -> None:
    """What nobody has can be answered: relocations may ask whether a type exists."""
    out = BtfWriter()
    out.struct("task_struct", 4, [("x", out.integer("int", 4), 0)])
    out.struct("linux_binprm", 4, [("x", 1, 0)])
    monkeypatch.setattr(features, "_known_types", kernel(tmp_path, out.blob()))
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.setattr(features, "KERNEL_BTF", str(folder / "vmlinux"))
    if module is not None:
        more = BtfWriter()
        more.struct(module, 4, [])
        (folder / "module").write_bytes(more.blob())
    found = kernel_types.extract(package, ["on_exec"])
    assert (found is None) == (module is not None and module.startswith("mm_struct"))


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_relocations_are_untrusted(
    tmp_path_factory: pytest.TempPathFactory, package: snoopkit.Package, data: st.DataObject
) -> None:
    """Whatever .BTF.ext says, nothing but that and instructions is written, and within the object."""
    out, _ = own_types(package)
    ext = package.elf.section(".BTF.ext")
    assert ext is not None
    object = bytearray(package.object)
    changes = data.draw(st.integers(0, 3))
    for _ in range(changes):
        at = data.draw(st.one_of(st.integers(0, 31), st.integers(ext.size - 15_000, ext.size - 1)))
        object[ext.offset + at] = data.draw(st.integers(0, 255))
    changed = snoopkit.Package(bytes(object), package.meta)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "_known_types", kernel(tmp_path_factory.getbasetemp(), out.blob()))
        found = kernel_types.extract(changed, ["on_exec", "on_exit", "on_fork"])
    if found is None:
        assert changes
        return
    assert found.attach_ids is None  # these types have no functions
    assert len(found.object) == len(object)
    written = Elf.parse(found.object)
    for section in changed.elf.sections:
        if section.name != ".BTF.ext" and not section.flags & 4:
            assert written.sections[section.index].data == section.data


def test_calls_hooks_and_names_of_sections(
    tmp_path: Path, package: snoopkit.Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object that libbpf has nothing to ask about is a sound one, of the same size."""
    out, number = own_types(package)
    hooks = {
        "on_exec": out.typedef("btf_trace_sched_process_exec", number),
        "on_exit": out.typedef("btf_trace_sched_process_exit", number),
        "on_fork": out.typedef("btf_trace_task_newtask", number),
    }
    calls = [one for one in package.elf.symbols if one.section == 0 and one.name]
    proto = out.func_proto(0, [])
    functions = {one.name: out.func(one.name, proto) for one in calls}
    monkeypatch.setattr(features, "_known_types", kernel(tmp_path, out.blob()))
    found = kernel_types.extract(package, hooks)
    assert found is not None and found.attach_ids == hooks
    assert len(found.object) == len(package.object)
    written = Elf.parse(found.object)
    written.btf()  # which checks it
    assert not [one for one in written.symbols if one.section == 0 and one.name and one.bind]
    names = [section.name for section in written.sections]
    assert "Tp_btf/sched_process_exec" in names and not [name for name in names if "tp_btf/" in name]
    code = written.section("Tp_btf/sched_process_exec")
    assert code is not None
    called = {
        code.data[at + 4 : at + 8] for at in range(0, code.size, 8) if code.data[at : at + 2] == b"\x85\x20"
    }
    assert called == {type_id.to_bytes(4, "little") for type_id in functions.values()}


def test_an_object_whose_parts_overlap_is_left_to_libbpf(
    tmp_path: Path, package: snoopkit.Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would be written into one part of it, another could be read by."""
    out, _ = own_types(package)
    monkeypatch.setattr(features, "_known_types", kernel(tmp_path, out.blob()))
    assert kernel_types.extract(package, ["on_exec"]) is not None
    license, ext = package.elf.section("license"), package.elf.section(".BTF.ext")
    assert license is not None and ext is not None
    for place in (ext.offset, ext.offset + ext.size - 1, 0, package.elf.header.sections_at):
        object = bytearray(package.object)
        at = package.elf.header.sections_at + license.index * 64 + 24
        object[at : at + 8] = place.to_bytes(8, "little")
        overlapping = snoopkit.Package(bytes(object), package.meta)
        assert kernel_types.extract(overlapping, ["on_exec"]) is None
