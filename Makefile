# The one door to everything that is done with this tree. `make` alone says what there is.
# Each target is a script in tests/run/, so that it can be read, and run without make.

SHELL := /bin/bash
export MUSTER_CAPTURES PATIENCE KEEP DEMO_FIRMWARE DEMO_IMAGE ONLY ALLOW_DIRTY
SECONDS ?= 20

.PHONY: help check test prove bench demo fuzz

help:
	@echo 'make demo     one machine from power-on to in service, before your eyes: virtual hardware, real firmware.'
	@echo '              Installs what it needs from Debian, so it wants root. KEEP=1 leaves everything running;'
	@echo '              DEMO_FIRMWARE=bios|uefi|http picks the boot path; DEMO_IMAGE=FILE installs your own image.'
	@echo 'make check    format, clippy, dependencies, documentation, and the tree held against its own rules.'
	@echo 'make test     what it needs, a build, every test, a short fuzz and one full boot path (root; up to 25 minutes).'
	@echo 'make prove    every scenario of tests/prove, bound to this commit. Broken off, it goes on where it stopped.'
	@echo '              ONLY="NAME ..." runs a few; ALLOW_DIRTY=1 runs on a tree with changes and marks the results;'
	@echo '              PATIENCE=N gives everything N times as long, on a machine that is busy.'
	@echo 'make bench    ours beside the servers that people use, in one table and target/bench/results.json (root; twenty'
	@echo '              minutes). ONLY="dhcp tftp http image" runs a few; ROUNDS=3 is how often each is measured.'
	@echo 'make fuzz     every fuzz target for SECONDS=20.'

check:
	@tests/run/check.sh

test:
	@tests/run/test.sh

prove:
	@tests/run/prove.sh

bench:
	@tests/run/bench.sh

fuzz:
	@FUZZ_SECONDS=$(SECONDS) tests/run/fuzz.sh

demo:
	@tests/run/demo.sh
