/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Reads and writes request bytes wherever the driver put them: any split of
 * head, body and tail over buffers, and of a buffer over memory regions. */
#include <string.h>

#include "base/err.h"
#include "device/device.h"

static int identity_map(void *opaque, uint64_t addr, uint64_t len, unsigned perm,
			struct viommu_span *out)
{
	(void)opaque;
	(void)perm;
	*out = (struct viommu_span){(void *)(uintptr_t)addr, len};
	return 0;
}

const struct viommu_ring_mem identity_mem = {identity_map, NULL};

/* The first piece of [addr, addr + len); never empty, never too long. */
static int map_piece(const struct viommu_ring_mem *mem, uint64_t addr, uint64_t len,
		     unsigned perm, struct viommu_span *out)
{
	if (mem->map(mem->opaque, addr, len, perm, out))
		return err(EFAULT, "request memory cannot be reached");
	if (!out->len)
		return err(EFAULT, "request memory maps to nothing");
	if (out->len > len)
		out->len = len;
	return 0;
}

int message_read(const struct message *msg, uint8_t *buf, unsigned len)
{
	unsigned done = 0;

	for (unsigned i = 0; i < msg->readable_nr && done < len; i++) {
		uint64_t addr = msg->readable[i].addr, left = msg->readable[i].len;

		if (left > len - done)
			left = len - done;
		while (left) {
			struct viommu_span piece;

			if (map_piece(msg->mem, addr, left, VIOMMU_READ, &piece))
				return err(EFAULT, "request buffer out of reach");
			memcpy(buf + done, piece.hva, piece.len);
			done += (unsigned)piece.len;
			addr += piece.len;
			left -= piece.len;
		}
	}
	return (int)done;
}

uint8_t *message_direct(const struct message *msg, uint32_t len)
{
	struct viommu_span piece;

	if (!msg->writable_nr || msg->writable[0].len < len)
		return NULL;
	if (map_piece(msg->mem, msg->writable[0].addr, len, VIOMMU_WRITE, &piece))
		return NULL;
	return piece.len == len ? piece.hva : NULL;
}

int message_check(const struct message *msg, uint64_t len)
{
	for (unsigned i = 0; i < msg->writable_nr && len; i++) {
		uint64_t addr = msg->writable[i].addr, left = msg->writable[i].len;

		if (left > len)
			left = len;
		len -= left;
		while (left) {
			struct viommu_span piece;

			if (map_piece(msg->mem, addr, left, VIOMMU_WRITE, &piece))
				return err(EFAULT, "request buffer out of reach");
			addr += piece.len;
			left -= piece.len;
		}
	}
	return len ? err(EFAULT, "reply does not fit the buffers") : 0;
}

/* The piece of the writable part at the cursor, at most `len` bytes. */
static int next_piece(struct message_cursor *at, uint64_t len, struct viommu_span *out)
{
	const struct message *msg = at->msg;

	while (at->index < msg->writable_nr &&
	       at->offset == msg->writable[at->index].len) {
		at->index++;
		at->offset = 0;
	}
	if (at->index == msg->writable_nr)
		return err(EFAULT, "reply does not fit the buffers");
	if (len > msg->writable[at->index].len - at->offset)
		len = msg->writable[at->index].len - at->offset;
	return map_piece(msg->mem, msg->writable[at->index].addr + at->offset, len,
			 VIOMMU_WRITE, out);
}

int message_write(struct message_cursor *at, const uint8_t *data, uint64_t len)
{
	while (len) {
		struct viommu_span piece;
		int r = next_piece(at, len, &piece);

		if (r)
			return r;
		if (data) {
			memcpy(piece.hva, data, piece.len);
			data += piece.len;
		} else {
			memset(piece.hva, 0, piece.len);
		}
		at->offset += piece.len;
		len -= piece.len;
	}
	return 0;
}
