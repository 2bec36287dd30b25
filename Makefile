# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
# A thin front: each target is one script or one meson call. `make help` lists them.
BUILD         ?= build
FUZZ_SECONDS  ?= 20
SOAK_SECONDS  ?= 600
BENCH_OPTIONS ?=
SANITIZE_ASAN  = -Db_sanitize=address,undefined -Db_lundef=false
SANITIZE_TSAN  = -Db_sanitize=thread -Db_lundef=false
export VIOMMU_BUILD = $(abspath $(BUILD))

.PHONY: all help setup release asan tsan clang lab run check test bench bench-guest \
	fuzz soak lint format docs clean

all: release

help:
	@sed -n 's/^## //p' Makefile

## make run          boot a stock Linux guest behind our virtio-iommu, print one table
run: release lab
	@tools/main-job

## make test         every test a plain machine can run, guests included (about 30 min)
test: setup
	@tools/test all

## make check        unit, model and conformance tests, under a minute
check: setup
	@tools/test check

## make bench        micro-benchmarks against their baselines; build/bench/*.json
bench: release
	@tools/bench

## make bench-guest  fio and iperf3 in guests, ours beside QEMU's (45 min)
bench-guest: release
	@tools/bench-guest $(BENCH_OPTIONS)

## make fuzz         every fuzz target for FUZZ_SECONDS
fuzz: setup
	@tools/fuzz $(FUZZ_SECONDS)

## make soak         the hunts for stale translations for SOAK_SECONDS
soak: release
	@$(BUILD)/release/tests/model/soak_stale $$(($(SOAK_SECONDS) / 2))
	@$(BUILD)/release/tests/model/soak_ring $$(($(SOAK_SECONDS) / 2))

## make lint         layering, headers, symbols, globals, style, formatting
lint: setup
	@tools/lint

## make format       clang-format over the tree
format: setup
	@tools/format

## make release      an optimised build in build/release
release: setup
	@tools/configure release --buildtype=release && ninja -C $(BUILD)/release

## make asan tsan clang  builds with sanitizers and with clang, in build/NAME
asan: setup
	@tools/configure asan $(SANITIZE_ASAN) && ninja -C $(BUILD)/asan

tsan: setup
	@tools/configure tsan $(SANITIZE_TSAN) && ninja -C $(BUILD)/tsan

clang: setup
	@CC=clang tools/configure clang && ninja -C $(BUILD)/clang

## make lab          kernels and root file systems of the guests
lab: setup
	@tools/lab/prepare

## make setup        installs what is missing; every target does
setup:
	@tools/setup --quiet

## make clean        removes build/
clean:
	rm -rf $(BUILD)
