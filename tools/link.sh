#!/bin/sh
# Links this checkout's commands, man pages and completions into $PREFIX (install), or takes those links away (uninstall).
# A file, or a link to anywhere else, is never touched.
set -eu
cd "$(dirname "$0")/.."
here=$(pwd -P)/.venv
prefix=${PREFIX:-/usr/local}
files=
for name in snoopkit execsnoop ecc ecli; do
    files="$files bin/$name share/man/man1/$name.1 share/bash-completion/completions/$name"
    files="$files share/zsh/site-functions/_$name share/fish/vendor_completions.d/$name.fish"
done

ours() { [ -L "$prefix/$1" ] && [ "$(readlink "$prefix/$1")" = "$here/$1" ]; }

case ${1:-} in
install)
    for name in $files; do
        if { [ -e "$prefix/$name" ] || [ -L "$prefix/$name" ]; } && ! ours "$name"; then
            echo "install: $prefix/$name is not ours: move it away first, or choose another place with PREFIX=" >&2
            exit 1
        fi
    done
    for name in $files; do
        if ours "$name"; then continue; fi
        mkdir -p "$(dirname "$prefix/$name")"
        ln -s "$here/$name" "$prefix/$name"
        echo "install: $prefix/$name -> $here/$name" >&2
    done
    ;;
uninstall)
    for name in $files; do
        if ours "$name"; then
            rm "$prefix/$name"
            echo "uninstall: $prefix/$name" >&2
        fi
    done
    ;;
*)
    sed -n '2,3p' "$0" >&2
    exit 2
    ;;
esac
