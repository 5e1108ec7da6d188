#!/bin/sh
# Fetches into .cache/ the source of a C project that a test configures and builds under the tracer: through apt, but
# with lists of its own, so that the machine's sources stay as they are.
set -eu
cd "$(dirname "$0")/.."

suite=bookworm
package=dash
archive=dash_0.5.12.orig.tar.gz
digest=6a474ac46e8b0b32916c4c60df694c82058d3297d8b385b74508030ca4a8f28a

if [ -e ".cache/$archive" ]; then exit 0; fi
die() {
    echo "setup: $archive: $*" >&2
    exit 1
}
command -v apt-get >/dev/null || die "there is no apt-get to fetch it; lay it into .cache/"
echo "setup: fetching $archive" >&2

mkdir -p .cache
scratch=$(mktemp -d "$PWD/.cache/fetching.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -m 1 '/debian/*$') || die "apt's sources have no Debian archive"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
if [ -e "$keyring" ]; then signed="[signed-by=$keyring]"; else signed=; fi
cd "$scratch"
echo "deb-src $signed $mirror $suite main" >sources.list
mkdir -p lists/partial
apt() {
    apt-get -qq -o "Dir::Etc::SourceList=$PWD/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o "Dir::State::Lists=$PWD/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
        -o APT::Sandbox::User=root -o Acquire::Retries=3 "$@" >log 2>&1 </dev/null || {
        tail -n 5 log >&2
        die "apt-get $1 failed, its last lines are above"
    }
}
apt update
apt source --download-only --tar-only "$package"
echo "$digest  $archive" | sha256sum --check --status || die "this is not the file that was meant, by its SHA-256"
mv "$archive" ..
