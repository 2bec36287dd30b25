/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Where the programs are that `viommu run` and `viommu bench` start. */
#ifndef CLI_FIND_H
#define CLI_FIND_H

#include <stdbool.h>
#include <stddef.h>

/* given, or the viommud beside this program (installed or in a build tree), or
 * that of $PATH. false: a message was printed. */
bool find_viommud(const char *given, char *path, size_t room);
/* The viommud beside this program; no message. */
bool find_beside_viommud(char *path, size_t room);
/* $VIOMMU_BENCH, or tools/bench-guest where this program was installed or built.
 * false: a message was printed. */
bool find_bench(char *path, size_t room);
/* given, $VIOMMU_QEMU, the lab's of a build tree, or that of $PATH; new enough
 * and with a vfio-user client. false: a message was printed. */
bool find_qemu(const char *given, char *path, size_t room);
/* "auto", "kvm" or "tcg" as QEMU's -accel wants it. */
const char *find_accel(const char *wish);

#endif
