"""Packages: read whatever eunomia's tools write, refuse everything unsound with a message that names the place."""

from __future__ import annotations

import copy
import io
import json
import subprocess
import sys
import zlib
from binascii import b2a_base64
from pathlib import Path
from typing import Any

import pytest

from package_writer import packed, sample
from snoopkit import document, package as package_module
from snoopkit.errors import PackageError
from snoopkit.package import Package

SHIPPED = Path(__file__).parents[2] / "src/execsnoop/bpf/package.json"


def refused(data: bytes) -> str:
    with pytest.raises(PackageError) as caught:
        Package.read(data)
    return str(caught.value)


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_reads_all_of_it(byteorder: str) -> None:
    found = Package.read(packed(*sample(byteorder)))
    assert found.name == "sample_bpf"
    assert {p.name: (p.section, p.optional, p.extras) for p in found.programs.values()} == {
        "on_exec": ("raw_tp/sched_process_exec", False, {"ifindex": 2}),
        "on_exit": ("?raw_tp/sched_process_exit", True, {}),
    }
    assert {m.name: (m.type, m.key_size, m.value_size, m.max_entries) for m in found.maps.values()} == {
        "events": (4, 4, 4, 0),
        "ring": (27, 0, 0, 4096),
        "losses": (6, 4, 16, 3),
    }
    start, event = found.event_specs
    assert (start.map, start.struct.name, start.kind_member, start.kind_value) == (
        "events",
        "start",
        "head.type",
        1,
    )
    assert [(p.name, p.size_member, p.form) for p in start.tail_parts] == [("name", "name_size", "text")]
    assert (event.map, event.struct.name, event.kind_member, event.tail_member) == (
        "ring",
        "event",
        None,
        None,
    )
    assert {name: struct.name for name, struct in found.events.items()} == {
        "events": "start",
        "ring": "event",
    }
    assert found.losses_map == "losses"
    assert found.warnings == ()
    assert len(found.sha256) == 64


def test_reads_the_shipped_package() -> None:
    found = Package.read(SHIPPED)
    assert found.dumps() == SHIPPED.read_bytes()
    assert found.losses_map is not None
    assert {spec.struct.name for spec in found.event_specs} >= {"exec_event", "exit_event"}


def test_a_trusted_package_reads_the_same() -> None:
    checked, trusted = Package.read(SHIPPED), Package.read(SHIPPED, trusted=True)
    for name in vars(checked).keys() - {"elf", "btf"}:
        assert repr(getattr(trusted, name)) == repr(getattr(checked, name)), name
    for data in (b"", b"{}", SHIPPED.read_bytes()[:-2], SHIPPED.read_bytes().replace(b"eJ", b"eK", 1)):
        with pytest.raises(PackageError):
            Package.read(data, trusted=True)


def test_reads_paths_files_and_bytes(tmp_path: Path) -> None:
    data = packed(*sample())
    (tmp_path / "package.json").write_bytes(data)
    for source in (data, bytearray(data), memoryview(data), tmp_path / "package.json", io.BytesIO(data)):
        assert Package.read(source).name == "sample_bpf"
    assert Package.read(str(tmp_path / "package.json")).name == "sample_bpf"
    with pytest.raises(FileNotFoundError):
        Package.read(tmp_path / "absent.json")


def test_writes_what_it_read(tmp_path: Path) -> None:
    data, meta = sample()
    found = Package.read(packed(data, meta))
    found.write(tmp_path / "out.json")
    again = Package.read(tmp_path / "out.json")
    assert (again.object, again.meta) == (data, meta)
    assert again.dumps() == found.dumps() == (tmp_path / "out.json").read_bytes()


def test_reading_imports_little() -> None:
    code = "import sys, json, zlib, binascii; before = set(sys.modules); import snoopkit; snoopkit.Package.read({!r});"
    code += "print(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", code.format(str(SHIPPED))], capture_output=True, text=True, check=True
    )
    others = {name for name in done.stdout.split() if not name.startswith("snoopkit")}
    assert others <= {"__future__", "struct", "_struct"}


# ---------------------------------------------------------------------------------------------------------------
# Packages of others


def foreign() -> tuple[bytes, dict[str, Any]]:
    data, meta = sample()
    del meta["snoopkit"]
    return data, meta


def test_a_foreign_package_has_its_first_type_on_every_event_map() -> None:
    found = Package.read(packed(*foreign()))
    assert [(spec.map, spec.struct.name) for spec in found.event_specs] == [
        ("events", "event"),
        ("ring", "event"),
    ]
    assert found.losses_map is None


@pytest.mark.parametrize("key", ["maps", "progs", "data_sections", "doc"])
def test_null_for_nothing(key: str) -> None:
    data, meta = foreign()
    meta["bpf_skel"][key] = None
    assert list(Package.read(packed(data, meta)).programs) == ["on_exec", "on_exit"]


def test_older_and_odder_packages() -> None:
    data, meta = foreign()
    del meta["eunomia_version"]
    meta["unknown"] = [{}]
    meta["bpf_skel"]["maps"][0]["intepreter"] = {
        "stack_trace": {"field_map": {"pid": "p"}, "with_symbols": True}
    }
    text = b2a_base64(zlib.compress(data)).decode()
    spaced = "\n".join(text[i : i + 76] for i in range(0, len(text), 76)) + " \r\n\t"
    found = Package.read(packed(data, meta, bpf_object=spaced))
    assert found.maps["events"].extras == {
        "interpreter": {"stack_trace": {"field_map": {"pid": "p"}, "with_symbols": True}}
    }


def test_from_before_0_3() -> None:
    data, meta = foreign()
    for program in meta["bpf_skel"]["progs"]:
        del program["attach"]
    meta["export_types"] = {"export_btf": "nothing\nof use", "structs": [{"id": 99, "name": "event"}]}
    found = Package.read(packed(data, meta, bpf_object_size=...))
    assert found.events["events"].name == "event"


def test_without_export_types_it_says_so() -> None:
    data, meta = foreign()
    meta["export_types"] = []
    found = Package.read(packed(data, meta))
    assert found.event_specs == ()
    assert (
        found.warnings[0]
        == "map events: the package doesn't say what its records are (--event events=STRUCT does)"
    )


def test_several_export_types() -> None:
    data, meta = foreign()
    start = sample()[1]["snoopkit"]["events"][0]["type_id"]
    meta["enable_multiple_export_types"] = True
    meta["bpf_skel"]["maps"][0]["export_config"] = {"btf_type_id": start}
    found = Package.read(packed(data, meta))
    assert [(s.map, s.struct.name, s.tail_member) for s in found.event_specs] == [("events", "start", "tail")]


def test_another_section_than_the_objects_is_a_warning() -> None:
    data, meta = foreign()
    meta["bpf_skel"]["progs"][0]["attach"] = "kprobe/x"
    found = Package.read(packed(data, meta))
    assert found.programs["on_exec"].section == "raw_tp/sched_process_exec"
    assert "its section is 'raw_tp/sched_process_exec', not 'kprobe/x'" in found.warnings[0]


# ---------------------------------------------------------------------------------------------------------------
# Refusals: the document


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe\xfd", "not JSON"),
        (b"[]", "isn't a JSON object with bpf_object and meta"),
        (b"null", "isn't a JSON object"),
        (b'{"meta":{}}', "isn't a JSON object with"),
        (b'{"bpf_object":"","meta":[]}', "meta: expected an object, found a list"),
        (b'{"bpf_object":1,"meta":{}}', "bpf_object: expected text, found an integer"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[" + b"1," * (1 << 20), "too many values"),
        (b'{"bpf_object":"","bpf_object_size":NaN,"meta":{}}', "NaN is no JSON number"),
        (b'{"bpf_object":"","bpf_object_size":' + b"1" * 10_000 + b',"meta":{}}', "not JSON"),
        (b'{"bpf_object":"\\ud800","meta":{}}', "not base64"),
    ],
)
def test_documents(data: bytes, cause: str) -> None:
    assert cause in refused(data)


BOMB = b2a_base64(zlib.compress(bytes(200 << 20), 9), newline=False).decode()


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"bpf_object": "e" * 5}, "not base64"),
        ({"bpf_object": "{}"}, "not base64"),
        ({"bpf_object": "aGVsbG8="}, "not a zlib stream"),
        ({"bpf_object": ""}, "the zlib stream is cut off"),
        ({"bpf_object": BOMB}, "inflates to more than"),
        ({"bpf_object": BOMB, "bpf_object_size": 64 << 20}, "inflates to more than 67108864 bytes"),
        ({"bpf_object": BOMB, "bpf_object_size": 200 << 20}, "is larger than 67108864 bytes"),
        ({"bpf_object": BOMB, "bpf_object_size": ...}, "inflates to more than 67108864 bytes"),
        ({"bpf_object_size": 1}, "inflates to more than 1 bytes"),
        ({"bpf_object_size": 100_000}, "not to 100000"),
        ({"bpf_object_size": -1}, "expected a size"),
        ({"bpf_object_size": True}, "expected a size"),
        ({"bpf_object_size": "12"}, "expected a size"),
    ],
)
def test_objects(changes: dict[str, Any], cause: str) -> None:
    assert cause in refused(packed(*sample(), **changes))


def test_a_cut_stream_and_one_with_something_behind() -> None:
    data, meta = sample()
    stream = zlib.compress(data)
    for wrong in (stream[:-8], stream + b"x"):
        text = b2a_base64(wrong, newline=False).decode()
        assert "cut off, or something follows" in refused(packed(data, meta, bpf_object=text))


def test_a_file_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (document, package_module):
        monkeypatch.setattr(module, "LARGEST_FILE_BYTES", 1 << 20)
    with open("/dev/zero", "rb") as zero, pytest.raises(PackageError, match="larger than 1048576 bytes"):
        Package.read(zero)


def test_object_and_btf_are_checked() -> None:
    data, meta = sample()
    assert refused(packed(b"nonsense", meta)).startswith("ELF: ")
    assert refused(packed(data.replace(b".BTF\0", b".BTG\0"), meta)).startswith(
        "ELF: the object has no .BTF section"
    )
    assert refused(packed(data.replace(b"\x9f\xeb", b"\x9f\xec", 1), meta)).startswith("BTF: ")


# ---------------------------------------------------------------------------------------------------------------
# Refusals: the meta


def test_every_place_is_checked_for_its_type() -> None:
    """Each value of the meta is replaced by each JSON type that isn't its own: refused, or ignored as unknown."""
    data, meta = sample()
    skeleton = meta["bpf_skel"]
    skeleton["doc"] = {"version": "1", "brief": "b", "details": "d", "description": "e"}
    skeleton["data_sections"][0]["variables"][0].update(
        description="d", value=1, cmdarg={"default": 1, "long": "l", "short": "s", "help": "h"}
    )
    skeleton["maps"][0].update(
        sample={"interval": 1, "type": "log2_hist", "unit": "us", "clear_map": True},
        export_config={"btf_type_id": 1, "custom_members": [{"name": "n", "offset": 0, "btf_type_id": 1}]},
        interpreter={"stack_trace": {"field_map": {"pid": "p"}, "with_symbols": False}},
    )
    skeleton["progs"][0].update(
        description="d", flags=1, tchook={"ifindex": 1, "attach_point": "BPF_TC_EGRESS"},
        tcopts={"handle": 1, "priority": 1}, xdpopts={"old_prog_fd": 0},
    )  # fmt: skip
    meta.update(
        enable_multiple_export_types=False, poll_timeout_ms=1, perf_buffer_pages=1, perf_buffer_time_ms=1,
        debug_verbose=False, print_header=False,
    )  # fmt: skip
    Package(data, copy.deepcopy(meta))
    places: list[tuple[Any, ...]] = []

    def walk(value: Any, path: tuple[Any, ...]) -> None:
        if path:
            places.append(path)
        if isinstance(value, (dict, list)):
            for key in value if isinstance(value, dict) else range(len(value)):
                walk(value[key], (*path, key))

    walk(meta, ())
    assert len(places) > 150
    tolerated = {
        # what nobody reads, and what may be any scalar or null
        "size", "default", "value", "doc", "maps", "progs", "data_sections", "variables", "export_types", "losses",
        "kind_member", "kind_value", "tail_member", "tail_parts", "sample", "events",
    }  # fmt: skip
    for path in places:
        for value in (None, True, 7, 1.5, "text", [], {}, [7], {"x": 1}):
            changed = copy.deepcopy(meta)
            holder = changed
            for key in path[:-1]:
                holder = holder[key]
            before, holder[path[-1]] = holder[path[-1]], value
            if type(before) is type(value):
                continue
            try:
                Package(data, changed)
            except PackageError as error:
                named = "meta" + "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in path)
                assert str(error).startswith(("meta.", "meta[")), (path, value, error)
                if path[-1] not in tolerated and not isinstance(value, (dict, list)):
                    assert named in str(error), (path, value, error)
            else:
                assert path[-1] in tolerated, (path, value)


def at(path: str, value: Any) -> str:
    """The refusal when the place `a.b[0].c` of the meta holds `value`."""
    data, meta = sample()
    holder: Any = meta
    keys = [int(key) if key.isdigit() else key for key in path.replace("[", ".").replace("]", "").split(".")]
    for key in keys[:-1]:
        holder = holder[key]
    if value is ...:
        del holder[keys[-1]]
    else:
        holder[keys[-1]] = value
    return refused(packed(data, meta))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("bpf_skel", ..., "meta.bpf_skel: missing"),
        ("bpf_skel.maps[1].name", 7, "meta.bpf_skel.maps[1].name: expected text, found an integer"),
        ("bpf_skel.maps[1].ident", ..., "meta.bpf_skel.maps[1].ident: missing"),
        ("bpf_skel.obj_name", "a/b", "meta.bpf_skel.obj_name: 'a/b' isn't a name for an object"),
        ("bpf_skel.obj_name", "", "meta.bpf_skel.obj_name: '' isn't a name"),
        ("bpf_skel.progs[0].name", "absent", "meta.bpf_skel.progs[0].name: no program is called 'absent'"),
        ("bpf_skel.progs[0].attach", "a\0b", "meta.bpf_skel.progs[0].attach: text with a NUL"),
        (
            "bpf_skel.progs[0].attach",
            "\ud800",
            "meta.bpf_skel.progs[0].attach: text with half of a character",
        ),
        (
            "bpf_skel.data_sections[0].variables[0].name",
            "gone",
            "the object has no variable 'gone' in '.rodata'",
        ),
        ("bpf_skel.data_sections[0].variables[1].name", "s8", "'s8' is there twice"),
        ("bpf_skel.data_sections[0].name", ".data", "the object has no variable 's8' in '.data'"),
        ("export_types[0].type_id", 1, "meta.export_types[0].type_id: type 1 of the object isn't a struct"),
        (
            "export_types[0].type_id",
            10_000,
            "meta.export_types[0].type_id: the object's BTF has no type 10000",
        ),
        ("export_types[0].name", "other", "of the object isn't this struct 'other'"),
        ("export_types[0].members", [], "isn't this struct 'event'"),
        ("snoopkit.version", 2, "meta.snoopkit.version: expected one of 1"),
        (
            "snoopkit.events[0].map",
            "losses",
            "meta.snoopkit.events[0].map: 'losses' isn't a perf event array",
        ),
        ("snoopkit.events[0].map", "nowhere", "meta.snoopkit.events[0].map: 'nowhere' isn't"),
        (
            "snoopkit.events[1].type_id",
            2,
            "meta.snoopkit.events[1].type_id: type 2 of the object isn't a struct",
        ),
        ("snoopkit.events[0].kind_member", "head.absent", "struct 'start' has no member 'head.absent'"),
        ("snoopkit.events[0].kind_member", "head", "'head' isn't a plain integer"),
        ("snoopkit.events[0].kind_member", None, "kind_member and kind_value need each other"),
        ("snoopkit.events[0].kind_value", 65536, "65536 doesn't fit 'head.type'"),
        ("snoopkit.events[0].tail_member", "name_size", "its tail 'name_size' is not its last member"),
        ("snoopkit.events[0].tail_parts[0].size_member", "tail", "'tail' is not a plain integer"),
        ("snoopkit.events[0].tail_parts[0].form", "number", "form: expected one of text, strings"),
        ("snoopkit.events[1].map", "events", "nothing tells it from another event of map 'events'"),
        ("snoopkit.losses", "ring", "meta.snoopkit.losses: 'ring' isn't a per-CPU array"),
        ("snoopkit.losses", "absent", "meta.snoopkit.losses: 'absent' isn't a per-CPU array"),
        ("snoopkit.ring", 1, "meta.snoopkit.ring: expected text, found an integer"),
        ("snoopkit.ring", "u8", "meta.snoopkit.ring: 'u8' isn't a const volatile bool"),
        ("snoopkit.ring", "pair", "meta.snoopkit.ring: 'pair' isn't a const volatile bool"),
        (
            "snoopkit.ring",
            "absent",
            "meta.snoopkit.ring.name: the object has no variable 'absent' in '.rodata'",
        ),
    ],
)
def test_meta(path: str, value: Any, message: str) -> None:
    assert message in at(path, value)


def test_names_are_printable() -> None:
    data, meta = sample()
    for name, wrong in (
        (b"on_exec\0", b"on\x1bexec\0"),
        (b"raw_tp/sched_p", b"raw_tp/sched\x1bp"),
    ):
        assert "isn't" in refused(packed(data.replace(name, wrong), meta))


def test_messages_are_printable() -> None:
    data, meta = sample()
    meta["bpf_skel"]["progs"][0]["name"] = "\x1b[2J\u202e\n"
    assert refused(packed(data, meta)).isprintable()
    meta = json.loads(json.dumps(sample()[1]))
    meta["bpf_skel"]["progs"][0]["attach"] = "\x1b[2J"
    assert all(warning.isprintable() for warning in Package(data, meta).warnings)
