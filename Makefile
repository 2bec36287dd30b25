# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
# A thin front on meson; every target can be run again and again.
BUILD ?= build
MESON_SETUP = meson setup --reconfigure
.PHONY: all setup check

all: setup
	@test -d $(BUILD)/release || meson setup $(BUILD)/release --buildtype=release >/dev/null
	@ninja -C $(BUILD)/release

setup:
	@if [ -x tools/setup ]; then tools/setup --quiet; fi

# Unit, model and conformance tests under the address and UB sanitizers.
check: setup
	@test -d $(BUILD)/asan || meson setup $(BUILD)/asan -Db_sanitize=address,undefined -Db_lundef=false >/dev/null
	@meson test -C $(BUILD)/asan --no-suite interop --print-errorlogs
