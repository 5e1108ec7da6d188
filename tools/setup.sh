#!/bin/sh
# Brings this checkout from nothing to a working .venv, on a bare Debian 12 as well:
#   tools/setup.sh run      what `make run` needs: Python, a C compiler, libbpf
#   tools/setup.sh build    and clang, for `ecc` and `snoopkit build`
#   tools/setup.sh test     and what the tests compare against and check with
#   tools/setup.sh vm       and QEMU, which boots other kernels for them
#   tools/setup.sh bench    what the tests need, and the tools that snoopkit is measured against
# Every step looks first and does nothing where there is nothing to do. $PYTHON names the interpreter to prefer.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

level=${1:-}
case $level in
run | build | test | vm | bench) ;;
*)
    sed -n '2,8p' "$0" >&2
    exit 2
    ;;
esac

tests() { [ "$level" = test ] || [ "$level" = vm ] || [ "$level" = bench ]; }

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}

# --- what the machine lacks -------------------------------------------------------------------------------

missing=
lacks() { missing="$missing $*"; }
have() { command -v "$1" >/dev/null 2>&1; }

usable_python() {
    "$1" - >/dev/null 2>&1 <<'PROBE'
import ensurepip, os, sys, sysconfig, venv
headers = os.path.join(sysconfig.get_path("include"), "Python.h")
sys.exit(sys.version_info < (3, 11) or not os.path.exists(headers))
PROBE
}

some_clang() {
    for name in clang clang-14 clang-15 clang-16 clang-17 clang-18 clang-19 clang-20 clang-21; do
        if have "$name"; then return 0; fi
    done
    return 1
}

on_debian_12() { grep -qs '^VERSION_ID="12"' /etc/os-release && grep -qs '^ID=debian' /etc/os-release; }

python=${PYTHON:-python3}
if [ -x .venv/bin/python ] && ! .venv/bin/python -c '' 2>/dev/null; then
    say "the interpreter of .venv is gone: making .venv anew"
    rm -rf .venv
elif [ -e .venv/.made-in ] && [ "$(cat .venv/.made-in)" != "$(pwd -P)" ]; then
    say "the checkout was moved here with its .venv, which holds the old path: making .venv anew"
    rm -rf .venv
fi
if [ ! -x .venv/bin/python ] && ! usable_python "$python"; then
    if have "$python"; then
        say "$python is not Python 3.11 or later with venv and headers: taking Debian's python3"
    fi
    python=/usr/bin/python3
    usable_python "$python" || lacks python3 python3-venv python3-dev
fi
have gcc || lacks gcc
[ -e /usr/include/stdio.h ] || lacks libc6-dev
if ! have pkg-config; then
    lacks pkg-config libbpf-dev
elif ! pkg-config --exists 'libbpf >= 1.1'; then
    lacks libbpf-dev
fi
if [ "$level" != run ]; then
    some_clang || lacks clang
fi
if tests; then
    # The package that ships is compared byte by byte, so with this one compiler.
    if on_debian_12 && ! have clang-14; then lacks clang-14; fi
    have bpftool || lacks bpftool
    have bpftrace || lacks bpftrace
    have llvm-strip || lacks llvm
    [ -x /usr/sbin/execsnoop ] || lacks libbpf-tools
    have stress-ng || lacks stress-ng
    have make || lacks make
    have jq || lacks jq
    have mandoc || lacks mandoc
    have zsh || lacks zsh
    have fish || lacks fish
    have sqlite3 || lacks sqlite3
    have podman || lacks podman
    have runc || lacks runc
    [ -e /usr/include/sys/sdt.h ] || [ -e "/usr/include/$(uname -m)-linux-gnu/sys/sdt.h" ] || lacks systemtap-sdt-dev
fi
if [ "$level" = vm ]; then
    have qemu-system-x86_64 || lacks qemu-system-x86
    have busybox || lacks busybox-static
    have modprobe || lacks kmod
fi
if [ "$level" = bench ]; then
    have execsnoop-bpfcc || lacks bpfcc-tools
    have forkstat || lacks forkstat
fi

if [ -n "$missing" ]; then
    if ! have apt-get; then
        die "this machine lacks, by their Debian names:$missing. Install them and call again"
    fi
    if [ "$(id -u)" != 0 ]; then
        die "not root, and packages are missing. As root: apt-get install -y$missing"
    fi
    say "apt-get install$missing"
    log=$(mktemp)
    # shellcheck disable=SC2086  # the list is meant to be split
    if ! {
        apt-get update -qq &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
                -o DPkg::Lock::Timeout=120 $missing
    } >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "apt-get failed, its last lines are above"
    fi
    rm -f "$log"
    pkg-config --exists 'libbpf >= 1.1' ||
        die "libbpf here is $(pkg-config --modversion libbpf 2>/dev/null || echo missing), and 1.1 or later is needed"
fi

# --- .venv ------------------------------------------------------------------------------------------------

if [ ! -x .venv/bin/python ]; then
    usable_python "$python" || die "$python is still not usable: Python 3.11 or later with venv and headers"
    say "making .venv with $("$python" --version 2>&1)"
    "$python" -m venv .venv
fi
[ -e .venv/.made-in ] || pwd -P >.venv/.made-in

# Installs one list of pyproject.toml into .venv, unless that very list was installed last.
requirements() { # name, Python expression over `project`
    stamp=.venv/.installed-$1
    if [ -e "$stamp" ] && [ -z "$(find pyproject.toml -newer "$stamp")" ]; then return 0; fi
    wanted=$(.venv/bin/python -c "
import tomllib
with open('pyproject.toml', 'rb') as file:
    project = tomllib.load(file)
print('\n'.join($2))")
    if [ ! -e "$stamp" ] || [ "$wanted" != "$(cat "$stamp")" ]; then
        say "pip install $(printf '%s' "$wanted" | tr '\n' ' ')"
        printf '%s\n' "$wanted" >.venv/.wanted
        .venv/bin/python -m pip install -q -r .venv/.wanted
    fi
    printf '%s\n' "$wanted" >"$stamp"
}
requirements build "project['build-system']['requires']"
if tests; then requirements dev "project['dependency-groups']['dev']"; fi
if [ "$level" = vm ]; then requirements vm "project['dependency-groups']['vm']"; fi

# The Python files are used where they stand; only the native modules, and the commands' names, need building.
built=.venv/.built
stale=$(
    [ -e "$built" ] || echo first
    for module in _core _decode; do
        ls src/snoopkit/$module.*.so >/dev/null 2>&1 || echo $module
    done
    if [ -e "$built" ]; then
        find setup.py pyproject.toml src/snoopkit \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name 'setup.py' \
            -o -name 'pyproject.toml' \) -newer "$built"
    fi
)
if [ -n "$stale" ]; then
    say "building the native modules"
    touch .venv/.building
    .venv/bin/python -m pip install -q --no-build-isolation --no-deps -e .
    # Older versions of pip make scripts that import re, for Windows' sake: a tenth of execsnoop's start.
    for command in snoopkit execsnoop ecc ecli; do
        sed -i -e '/^import re$/d' -e '/sys.argv\[0\] = re\.sub(/d' ".venv/bin/$command"
    done
    # For those who import distutils setuptools has a file that every start of Python goes through.
    rm -f .venv/lib/python3*/site-packages/distutils-precedence.pth
    # So that the first start is as fast as the next, also where PYTHONDONTWRITEBYTECODE is set.
    .venv/bin/python -m compileall -q src
    mv .venv/.building "$built"
fi

# --- the tests' surroundings --------------------------------------------------------------------------------

# A machine that was booted has this mounted; a container or chroot need not.
if tests && [ "$(id -u)" = 0 ] && [ -d /sys/kernel/tracing ] && [ ! -d /sys/kernel/tracing/events ]; then
    say "mounting tracefs on /sys/kernel/tracing"
    mount -t tracefs tracefs /sys/kernel/tracing
fi

# Without it everything else can still be used and tested; the test that needs it says so.
if tests; then tools/sources.sh || say "going on without it"; fi
