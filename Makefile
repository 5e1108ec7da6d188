# Every target looks at what is there first, so each may be called on a bare machine and again at any time.
# Paths in recipes are relative and never built by make itself: the checkout may stand in a folder with spaces.

PYTHON ?= python3
PREFIX ?= /usr/local
ARGS ?=

export PYTHON PREFIX
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup run test test-unprivileged vmtest lint types format prebuilt bench bench-quick package install uninstall clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' Makefile

setup: ## everything that is needed, so that .venv/bin/{snoopkit,execsnoop,ecc,ecli} work
	@tools/setup.sh build

run: ## live execs and exits of this machine (as root); options by ARGS="--duration 5"
	@tools/setup.sh run
	@.venv/bin/execsnoop $(ARGS)

test: ## every check and every test (as root); the last line is pytest's own count
	@if [ "$$(id -u)" != 0 ]; then echo "make test loads programs into the kernel, so it needs root; without: make test-unprivileged" >&2; exit 1; fi
	@tools/setup.sh test
	@.venv/bin/ruff check -q
	@.venv/bin/ruff format -q --check
	@.venv/bin/mypy --no-error-summary
	@SNOOPKIT_REQUIRE_KERNEL=1 .venv/bin/python -m pytest -q $(ARGS)

test-unprivileged: ## the tests that need neither root nor the kernel
	@tools/setup.sh test
	@.venv/bin/python -m pytest -q -m "not vm and not kernel" $(ARGS)

vmtest: ## the kernel tests on older kernels, booted under QEMU (as root; options by ARGS="--kernel 6.1")
	@tools/setup.sh vm
	@.venv/bin/python vmtest/run.py $(ARGS)

lint: ## ruff: rules and formatting
	@tools/setup.sh test
	.venv/bin/ruff check
	.venv/bin/ruff format --check

types: ## mypy --strict on src
	@tools/setup.sh test
	.venv/bin/mypy

format: ## let ruff rewrite what it can
	@tools/setup.sh test
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

prebuilt: ## compile the committed packages anew, with the compiler that their bytes stand for
	@tools/setup.sh test
	cd src/execsnoop/bpf && ../../../.venv/bin/snoopkit build --clang clang-14 execsnoop.bpf.c execsnoop.h -o package.json
	cd src/snoopkit/probes && ../../../.venv/bin/snoopkit build --clang clang-14 probes.bpf.c -o package.json

bench: ## costs against every peer, written to benchmarks/results/ (as root, on a quiet machine; some minutes)
	@tools/setup.sh bench
	@.venv/bin/python -m benchmarks $(ARGS)

bench-quick: ## the most important of them, in under a minute (as root)
	@tools/setup.sh bench
	@.venv/bin/python -m benchmarks --quick $(ARGS)

package: ## sdist and wheel into dist/
	@tools/setup.sh run
	@rm -rf build dist
	@.venv/bin/python -c 'from setuptools import build_meta; build_meta.build_sdist("dist")' >/dev/null
	@.venv/bin/python -m pip wheel -q --no-deps --no-build-isolation -w dist .
	@ls dist

install: ## link the commands into /usr/local/bin, their man pages and completions
	@tools/setup.sh build
	@.venv/bin/python tools/man.py .venv/share/man/man1
	@.venv/bin/python tools/completions.py .venv/share
	@tools/link.sh install

uninstall: ## take those links away again
	@tools/link.sh uninstall

clean: ## remove everything that was made here, .venv too
	rm -rf .venv .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis benchmarks/out src/*.egg-info
	rm -f src/snoopkit/*.so src/snoopkit/_core.c src/snoopkit/_decode.c
	find . -name .git -prune -o -name __pycache__ -prune -exec rm -rf {} +
