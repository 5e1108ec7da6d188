#!/bin/sh
# Links this checkout's commands into $PREFIX/bin (install), or takes those links away (uninstall).
# A file, or a link to anywhere else, is never touched.
set -eu
cd "$(dirname "$0")/.."
here=$(pwd -P)/.venv/bin
bin=${PREFIX:-/usr/local}/bin
commands="snoopkit execsnoop ecc ecli"

ours() { [ -L "$1" ] && [ "$(readlink "$1")" = "$here/${1##*/}" ]; }

case ${1:-} in
install)
    for name in $commands; do
        if { [ -e "$bin/$name" ] || [ -L "$bin/$name" ]; } && ! ours "$bin/$name"; then
            echo "install: $bin/$name is not ours: move it away first, or choose another place with PREFIX=" >&2
            exit 1
        fi
    done
    mkdir -p "$bin"
    for name in $commands; do
        if ours "$bin/$name"; then continue; fi
        ln -s "$here/$name" "$bin/$name"
        echo "install: $bin/$name -> $here/$name" >&2
    done
    ;;
uninstall)
    for name in $commands; do
        if ours "$bin/$name"; then
            rm "$bin/$name"
            echo "uninstall: $bin/$name" >&2
        fi
    done
    ;;
*)
    sed -n '2,3p' "$0" >&2
    exit 2
    ;;
esac
