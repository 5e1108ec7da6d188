"""The defects of eunomia-bpf's compiler and runner that are known, by number, and the tests that keep them out of ours.

The numbers are those of a list that was made by reading and running their tools (ecc 0.3.4, ecli 0.2.9). A defect has
a test of its name here or in tests/kernel/test_eunomia_bugs.py, or stands in the tables below with the tests that
are older than this page; `test_every_number_has_its_test` compares them with the list.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import snoopkit
from snoopkit import sources

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
BPF = TESTS / "kernel" / "bpf"

BUGS = {  # found by reading their code
    1: "globals in .data and .kconfig make a package unrunnable",
    2: "unsigned values above the signed maximum are refused",
    3: "floats are written big-endian",
    4: "a bool's initial value `true` is overwritten with false",
    5: "options of most typedef'd integers can't be used",
    6: "a char array without NUL ends the runner, text that isn't UTF-8 its output",
    7: "struct keys of sampled maps collapse to one member a type",
    8: "a key that is deleted between listing and lookup ends the run",
    9: "detaching from tc flushes other people's filters",
    10: "ENUM64 anywhere in BTF breaks everything",
    11: "the worker dies silently; what waits to be printed has no bound",
    12: "--verbose, perf_buffer_pages and print_header have no effect",
    13: "an HTTP error is read as a package; registry:port references fail",
    14: "annotations over several lines are broken, descriptions that look like numbers too",
    15: "Wasm programs: no argv[0], output cut inside a character, stderr on stdout",
    16: "-h ends with status 1",
    17: "the names of the BTF file and of the object have no NUL behind them",
}
ERRORS = {  # failures that deserve clear words
    1: "an event map without a header",
    2: "a kernel without BTF",
    3: "a map without max_entries, or without sizes",
    4: "null for no maps and no programs",
    5: "the verifier's log hidden in nested error texts",
    6: "the wrong architecture",
}
CORRECTIONS = {  # found by running their tools
    1: "@export_config can't be set: a command's name ends at the underscore",
    2: "@param is dropped, a lone @flag says nothing",
    3: "a flexible char array aborts; short records, bit-fields and 8-byte enumerations end the worker",
    4: "anonymous members vanish",
    5: "a helper struct before the event is printed as the event",
    6: "arrays of typedef'd or qualified char print as numbers; control characters pass raw",
    7: "packed and typedef'd structs are no event types; a name of vmlinux.h leaves temp.c behind",
    8: "-w doesn't work; a global called verbose or help panics; -j only before the package",
    9: "@sample over two lines, or a description that isn't a string: refused at start",
}
ELSEWHERE = {
    "bug 1": (
        "build/test_compiler.py::test_options_and_data_sections",
        "kernel/test_options_run.py::test_what_was_compiled_in_stays",
        "kernel/test_options_run.py::test_on_the_command_line",
        "kernel/test_loading.py::test_the_kernels_configuration_is_an_option_too",
    ),
    "bug 2": (
        "unit/test_options.py::test_integers_have_exact_ranges",
        "kernel/test_options_run.py::test_every_type_to_its_edge",
    ),
    "bug 3": (
        "unit/test_options.py::test_encodes",
        "kernel/test_options_run.py::test_every_type_to_its_edge",
    ),
    "bug 4": ("kernel/test_options_run.py::test_what_was_compiled_in_stays",),
    "bug 5": ("kernel/test_options_run.py::test_every_type_to_its_edge",),
    "bug 6": (
        "build/test_kinds_golden.py::test_every_kind_is_as_on_record",
        "build/test_layouts.py::test_a_struct_that_c_filled_is_read_equal",
    ),
    "bug 9": (
        "kernel/test_places.py::test_other_peoples_filters_stay",
        "kernel/test_places.py::test_packets_by_filters_where_there_are_no_links",
        "kernel/test_commands.py::test_nothing_stays_in_the_kernel",
    ),
    "bug 10": (
        "build/test_layouts.py::test_enumerations_as_later_clangs_write_them",
        "build/test_kinds_golden.py::test_every_kind_is_as_on_record",
    ),
    "bug 11": (
        "kernel/test_session.py::test_what_cannot_be_decoded_counts_once",
        "kernel/test_outputs.py::test_run_counts_it_too",
        "kernel/test_outputs.py::test_a_pipe_that_nobody_reads_for_ten_seconds_in_a_storm",
    ),
    "bug 14": ("unit/test_annotations.py::test_what_it_says",),
    "bug 15": ("build/test_sources.py::test_wrong_things_are_called_by_their_name",),  # there is no Wasm
    "error 2": ("kernel/test_loading.py::test_a_kernel_without_btf_is_named",),
    "error 4": ("unit/test_package.py::test_null_for_nothing",),
    "error 5": ("kernel/test_loading.py::test_a_rejection_is_told_in_the_verifiers_words",),
    "correction 1": ("unit/test_annotations.py::test_maps_programs_and_the_license",),
    "correction 2": (
        "unit/test_annotations.py::test_what_it_says",
        "build/test_compiler.py::test_structs_marked_for_export",
    ),
    "correction 3": (
        "build/test_kinds_golden.py::test_every_kind_is_as_on_record",
        "unit/test_decode.py::test_what_cant_be_decoded_is_a_notice_in_its_place",
    ),
    "correction 4": ("build/test_kinds_golden.py::test_every_kind_is_as_on_record",),
    "correction 6": (
        "build/test_kinds_golden.py::test_every_kind_is_as_on_record",
        "unit/test_decode.py::test_what_is_displayed_has_nothing_a_terminal_acts_on",
    ),
    "correction 8": (
        "build/test_ecc.py::test_headers_of_a_workspace",
        "unit/test_options.py::test_names_that_are_taken_and_names_that_clash",
    ),
    "correction 9": ("unit/test_annotations.py::test_what_it_says",),
}
REPORTED = {  # by their users; T is the tutorial's tracker
    "#24": ("kernel/test_session.py::test_typed_events_in_order",),
    "#62": ("build/test_compiler.py::test_tagged_structs_come_first",),
    "#202": ("build/test_kinds_golden.py::test_every_kind_is_as_on_record",),
    "#210": ("kernel/test_eunomia_bugs.py::test_error_03_a_map_without_sizes_is_named",),
    "#218": ("kernel/test_places.py::test_a_function_in_a_library_of_this_process_only",),
    "#232": ("kernel/test_commands.py::test_nothing_stays_in_the_kernel",),
    "#264": ("build/test_sources.py::test_wrong_places",),
    "#318": ("kernel/test_loading.py::test_a_rejection_is_told_in_the_verifiers_words",),
    "#333": ("build/test_compiler.py::test_a_clang_that_will_not_do",),
    "#335": ("kernel/test_loading.py::test_a_kernel_without_btf_is_named",),
    "#347": ("unit/test_package.py::test_null_for_nothing",),
    "#385": ("build/test_ecc.py::test_yaml_says_the_same", "build/test_ecc.py::test_failures_leave_nothing"),
    "#386": ("build/test_compiler.py::test_structs_marked_for_export",),
    "T#116": (
        "kernel/test_eunomia_bugs.py::test_error_01_without_a_header_it_runs_and_says_what_is_missing",
    ),
    "T#120": ("kernel/test_shown_as.py::test_rows_have_the_meaning",),
}


def functions_in(path: Path) -> set[str]:
    return set(re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE))


def test_every_number_has_its_test() -> None:
    here = functions_in(Path(__file__)) | functions_in(TESTS / "kernel" / Path(__file__).name)
    numbered = {
        f"{kind} {int(number)}" for kind, number in re.findall(r"test_(\w+?)_(\d\d)_", " ".join(here))
    }
    listed = {
        f"{kind} {number}"
        for kind, found in (("bug", BUGS), ("error", ERRORS), ("correction", CORRECTIONS))
        for number in found
    }
    assert numbered | set(ELSEWHERE) == listed
    for name in [name for names in (*ELSEWHERE.values(), *REPORTED.values()) for name in names]:
        path, _, function = name.partition("::")
        assert function in functions_in(TESTS / path), f"there is no {name}"


def command(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN / words[0], *words[1:]], cwd=cwd, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("package") / "package.json"
    snoopkit.build(BPF / "globals.bpf.c", BPF / "globals.h").write(path)
    return path


class Server(BaseHTTPRequestHandler):
    """Has a package, leads to it, or elsewhere, and says no to the rest."""

    package = b""

    def do_GET(self) -> None:
        places = {"/moved": "/package.json", "/away": "http://example.com/package.json"}
        if self.path in places:
            self.send_response(302)
            self.send_header("Location", places[self.path])
            self.end_headers()
        elif self.path == "/package.json":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.package)
        else:
            self.send_error(404, "Not Found")

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server(package: Path) -> Iterator[str]:
    Server.package = package.read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_address[1]}"
        finally:
            http.shutdown()
            thread.join()


def test_bug_13_what_a_server_refuses_is_no_package(server: str, package: Path, tmp_path: Path) -> None:
    for place in ("package.json", "moved"):
        assert sources.read(f"{server}/{place}").sha256 == snoopkit.Package.read(package).sha256
    with pytest.raises(snoopkit.PackageError, match=r"/absent: the server answers 404 Not Found$"):
        sources.read(f"{server}/absent")
    with pytest.raises(snoopkit.PackageError, match="/away: nothing is fetched by http from elsewhere"):
        sources.read(f"{server}/away")
    with pytest.raises(snoopkit.PackageError, match="Connection refused"):
        sources.read("http://127.0.0.1:9/package.json")
    done = command("ecli", "run", f"{server}/package.json", "--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "globals_bpf 0.1.0\n")


def test_bug_13_a_reference_with_a_port_is_no_address(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="'localhost:5000/tool:latest'"):
        sources.read("localhost:5000/tool:latest")
    done = command("ecli", "run", "localhost:5000/tool:latest", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "ecli: error: localhost:5000/tool:latest: No such file or directory\n"


@pytest.mark.parametrize(
    "words",
    [
        *(["ecc", "-h"], ["ecli", "-h"], ["ecli", "run", "--help"], ["snoopkit", "run", "-h"]),
        *(["ecli", "run", "package.json", "-h"], ["ecli", "package.json", "--help"]),
        *(["snoopkit", "run", "package.json", "-h"],),
    ],
    ids=" ".join,
)
def test_bug_16_help_is_no_failure(package: Path, words: list[str]) -> None:
    done = command(*words, cwd=package.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ")
    assert ("Set value of `owner_t` variable owner" in done.stdout) == ("package.json" in words)


def test_correction_05_the_event_is_what_the_source_says(tmp_path: Path) -> None:
    (tmp_path / "x.h").write_text("struct helper { int a; };\nstruct event { struct helper one; int b; };\n")
    (tmp_path / "x.bpf.c").write_text(
        '#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n#include "x.h"\n'
        'struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } events SEC(".maps");\n'
        'SEC("raw_tp/sys_enter") int program(void *ctx)\n'
        "{ struct helper h = {}; bpf_ringbuf_output(&events, &h, 4, 0); return 0; }\n"
    )
    package = snoopkit.build(tmp_path / "x.bpf.c", tmp_path / "x.h")
    assert package.events["events"].name == "event"
    assert [found["name"] for found in package.meta["export_types"]] == ["event", "helper"]


@pytest.mark.parametrize(
    "how",
    [
        "struct __attribute__((packed)) event { char a; int b; };",
        "typedef struct { char a; int b; } event;",
    ],
)
def test_correction_07_however_a_struct_is_written(tmp_path: Path, how: str) -> None:
    (tmp_path / "x.h").write_text(how + "\n")
    (tmp_path / "x.bpf.c").write_text(
        '#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n#include "x.h"\n'
        'struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } events SEC(".maps");\n'
        'SEC("raw_tp/sys_enter") int program(void *ctx) { return 0; }\n'
    )
    package = snoopkit.build(tmp_path / "x.bpf.c", tmp_path / "x.h")
    assert [member.name for member in package.events["events"].members] == ["a", "b"]


def test_correction_07_a_name_that_the_kernel_has_too(tmp_path: Path) -> None:
    (tmp_path / "x.h").write_text("struct task_struct { int a; };\n")
    (tmp_path / "x.bpf.c").write_text(
        '#include "vmlinux.h"\n#include <bpf/bpf_helpers.h>\n#include "x.h"\n'
        'SEC("raw_tp/sys_enter") int program(void *ctx) { return 0; }\n'
    )
    done = command("ecc", "x.bpf.c", "x.h", cwd=tmp_path)
    assert done.returncode == 1
    assert "x.h:1:8: error: redefinition of 'task_struct'" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.bpf.c", "x.h"]


def test_correction_08_the_version_is_the_programs(package: Path) -> None:
    for word in ("-V", "--version"):
        done = command("ecli", "run", "package.json", word, cwd=package.parent)
        assert (done.returncode, done.stdout) == (0, "globals_bpf 0.1.0\n")
