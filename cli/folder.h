/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The private folder of a `viommu run`, and those that killed ones left behind. A
 * lock on a file in it says that its owner lives; the kernel takes it back from
 * whoever dies. Nothing that we make has folders in it.
 */
#ifndef CLI_FOLDER_H
#define CLI_FOLDER_H

/* Makes it from a template as mkdtemp(3) takes. Result: a descriptor that holds the
 * lock until it is closed, or -errno and there is nothing. */
int folder_create(char *path);
/* Removes it with what is in it. */
void folder_remove(const char *path);

/* Removes folders "viommu-*" in base that are ours and whose owner is dead. One
 * without a lock file, another user's, or a symbolic link stays. Result: how many. */
unsigned folder_clean(const char *base);

#endif
