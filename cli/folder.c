/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder.h"

#define LOCK "run.lock"

/* The file gets its name when it is locked: nobody sees it unlocked while we live. */
static int make_lock(int dir)
{
	int fd = openat(dir, LOCK ".new", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	if (!flock(fd, LOCK_EX | LOCK_NB) && !renameat(dir, LOCK ".new", dir, LOCK))
		return fd;
	close(fd);
	return -EIO;
}

/* Only what is directly in it. Takes the descriptor. */
static void empty(int fd)
{
	struct dirent *entry;
	DIR *dir = fdopendir(fd);

	if (!dir) {
		close(fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL)
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			unlinkat(fd, entry->d_name, 0);
	closedir(dir);
}

void folder_remove(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0)
		empty(fd);
	rmdir(path);
}

int folder_create(char *path)
{
	int dir, fd;

	if (!mkdtemp(path))
		return -errno;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	fd = dir < 0 ? -errno : make_lock(dir);
	if (dir >= 0)
		close(dir);
	if (fd < 0)
		folder_remove(path);
	return fd;
}

/* Ours, as mkdtemp(3) made it: nobody else can put anything there. */
static bool is_ours(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_uid == geteuid() && !(st.st_mode & 077);
}

/* A descriptor that holds a dead owner's lock, or -1. */
static int take_lock(int dir)
{
	int fd = openat(dir, LOCK, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || (is_ours(fd) && !flock(fd, LOCK_EX | LOCK_NB)))
		return fd;
	close(fd);
	return -1;
}

/* Whether it was removed. */
static bool clean_one(int base, const char *name)
{
	int dir = openat(base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int lock = dir >= 0 && is_ours(dir) ? take_lock(dir) : -1;

	if (lock < 0) {
		if (dir >= 0)
			close(dir);
		return false;
	}
	empty(dir);
	close(lock);
	return !unlinkat(base, name, AT_REMOVEDIR);
}

unsigned folder_clean(const char *base)
{
	DIR *dir = opendir(base);
	struct dirent *entry;
	unsigned nr = 0;

	if (!dir)
		return 0;
	while ((entry = readdir(dir)) != NULL)
		if (!strncmp(entry->d_name, "viommu-", 7))
			nr += clean_one(dirfd(dir), entry->d_name);
	closedir(dir);
	return nr;
}
