/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include <stdlib.h>

#include "memory.h"

static void *take(void *opaque, size_t len, size_t align)
{
	void *p;

	(void)opaque;
	if (align < sizeof(void *))
		align = sizeof(void *);
	return posix_memalign(&p, align, len ? len : 1) ? NULL : p;
}

static void give(void *opaque, void *p, size_t len)
{
	(void)opaque;
	(void)len;
	free(p);
}

const struct viommu_alloc memory_alloc = {.alloc = take, .free = give};
