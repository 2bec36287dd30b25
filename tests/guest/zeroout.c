/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* zeroout DEVICE OFFSET LEN: BLKZEROOUT, which the kernel sends as WRITE_ZEROES. */
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

int main(int argc, char **argv)
{
	uint64_t range[2];
	int fd;

	if (argc != 4) {
		fprintf(stderr, "usage: zeroout DEVICE OFFSET LEN\n");
		return 2;
	}
	range[0] = strtoull(argv[2], NULL, 0);
	range[1] = strtoull(argv[3], NULL, 0);
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, BLKZEROOUT, range) < 0) {
		perror(argv[1]);
		return 1;
	}
	return 0;
}
