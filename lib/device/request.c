/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * One request from its bytes to its reply (VIRTIO 1.4, "IOMMU Device" / "Device
 * operations"). Everything is checked before struct space is asked, which checks
 * the rest before it changes anything.
 */
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "device/device.h"

/* After a time-out a parked request waits for this part of hold_timeout_ms. */
#define IMPATIENT_PART 100
/* In place of the status, in the probe request_end. */
#define REQUEST_UNANSWERED 255

static int handle_attach(struct viommu_device *dev, const struct proto_request *req)
{
	uint32_t known = 0;

	if (device_negotiated(dev, VIRTIO_IOMMU_F_BYPASS_CONFIG))
		known |= VIRTIO_IOMMU_ATTACH_F_BYPASS;
	/* ATTACH: reserved not zero, or a flag not recognised: MUST be INVAL */
	if (req->reserved_set)
		return err(EINVAL, "ATTACH: reserved is not zero");
	if (req->flags & ~known)
		return err(EINVAL, "ATTACH: unknown flag");
	if (!space_endpoint_find(dev->space, req->endpoint))
		return err(ENOENT, "ATTACH: no such endpoint");
	if (req->domain < dev->cfg.domain_first || req->domain > dev->cfg.domain_last)
		return err(ERANGE, "ATTACH: domain outside domain_range");
	(void)PROBE3(attach, req->domain, req->endpoint, req->flags);
	return space_attach(dev->space, req->domain, req->endpoint,
			    req->flags & VIRTIO_IOMMU_ATTACH_F_BYPASS);
}

static int handle_detach(struct viommu_device *dev, const struct proto_request *req)
{
	/* DETACH: reserved MUST be ignored */
	(void)PROBE2(detach, req->domain, req->endpoint);
	return space_detach(dev->space, req->domain, req->endpoint);
}

static int handle_map(struct viommu_device *dev, const struct proto_request *req)
{
	uint32_t known = VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE;

	if (!device_negotiated(dev, VIRTIO_IOMMU_F_MAP_UNMAP))
		return err(EOPNOTSUPP, "MAP: MAP_UNMAP was not negotiated");
	if (device_negotiated(dev, VIRTIO_IOMMU_F_MMIO))
		known |= VIRTIO_IOMMU_MAP_F_MMIO;
	if (req->flags & ~known)
		return err(EINVAL, "MAP: unknown flag");
	(void)PROBE5(map, req->domain, req->start, req->last, req->gpa, req->flags);
	return space_map(dev->space, req->domain, req->start, req->last, req->gpa,
			 req->flags);
}

static int handle_unmap(struct viommu_device *dev, const struct proto_request *req)
{
	if (!device_negotiated(dev, VIRTIO_IOMMU_F_MAP_UNMAP))
		return err(EOPNOTSUPP, "UNMAP: MAP_UNMAP was not negotiated");
	if (req->last < req->start)
		return err(ERANGE, "UNMAP: virt_end < virt_start");
	/* UNMAP: reserved not zero MAY be INVAL. It is ignored: drivers are
	 * about that send what was on their stack. */
	(void)PROBE3(unmap, req->domain, req->start, req->last);
	return space_unmap_later(dev->space, req->domain, req->start, req->last);
}

static int execute(struct viommu_device *dev, const struct proto_request *req)
{
	switch (req->type) {
	case VIRTIO_IOMMU_T_ATTACH:
		return handle_attach(dev, req);
	case VIRTIO_IOMMU_T_DETACH:
		return handle_detach(dev, req);
	case VIRTIO_IOMMU_T_MAP:
		return handle_map(dev, req);
	default:
		return handle_unmap(dev, req);
	}
}

/* Counts a reply and tells whoever looks. */
static void note_reply(struct viommu_device *dev, const struct proto_request *req,
		       int error)
{
	uint8_t status = proto_errno_to_status(error);

	dev->counters.requests[req->type][status]++;
	dev->batch.nr[req->type]++;
	(void)PROBE3(request_end, req->type, req->domain, status);
	if (unlikely(dev->tracer.fn))
		trace_request(dev, req, error, true);
}

static void log_request(struct viommu_device *dev, const struct proto_request *req,
			int error)
{
	if (likely(dev->log.max_level < VIOMMU_LOG_DEBUG))
		return;
	log_debug(&dev->log,
		  "request type %u domain %u endpoint %u flags 0x%x iova 0x%llx-0x%llx "
		  "gpa 0x%llx: %d",
		  req->type, req->domain, req->endpoint, req->flags,
		  (unsigned long long)req->start, (unsigned long long)req->last,
		  (unsigned long long)req->gpa, error);
}

void request_unanswered(struct viommu_device *dev, const struct proto_request *req)
{
	dev->counters.unanswered++;
	dev->batch.nr[0]++;
	(void)PROBE3(request_end, req ? req->type : 0, req ? req->domain : 0,
		     REQUEST_UNANSWERED);
	if (unlikely(dev->tracer.fn))
		trace_request(dev, req, 0, false);
}

static int leave_unanswered(struct viommu_device *dev, const struct proto_request *req,
			    uint32_t *used)
{
	request_unanswered(dev, req);
	*used = 0;
	return 0;
}

static int write_tail(struct message_cursor *at, int error)
{
	uint8_t tail[PROTO_TAIL_LEN];

	proto_encode_tail(tail, error);
	return message_write(at, tail, sizeof(tail));
}

/* Remembers where the tail goes: at most as many buffers as it has bytes. */
static void park(struct viommu_device *dev, const struct message *msg,
		 const struct proto_request *req)
{
	struct parked *p = &dev->parked;
	uint32_t left = PROTO_TAIL_LEN;

	*p = (struct parked){.phase = PARK_HOLD, .req = *req};
	p->since_ns = dev->ops.now_ns(dev->opaque);
	for (unsigned i = 0; i < msg->writable_nr && left; i++) {
		struct viommu_virtq_buf buf = msg->writable[i];

		if (!buf.len)
			continue;
		if (buf.len > left)
			buf.len = left;
		left -= buf.len;
		p->tail[p->tail_nr++] = buf;
	}
	dev->counters.parked++;
}

/* Everything but PROBE: the tail is the whole reply. `tail`: its message_direct(). */
static int handle_simple(struct viommu_device *dev, const struct message *msg,
			 const struct proto_request *req, uint8_t *tail, int error,
			 uint32_t *used)
{
	struct message_cursor at = {.msg = msg};

	/* Asked before anything changes: what cannot be answered is not done. */
	if (!tail &&
	    (msg->writable_len < PROTO_TAIL_LEN || message_check(msg, PROTO_TAIL_LEN)))
		return leave_unanswered(dev, req, used);
	if (!error)
		error = execute(dev, req);
	log_request(dev, req, error);
	if (error == -EINPROGRESS) {
		park(dev, msg, req);
		return error;
	}
	note_reply(dev, req, error);
	*used = PROTO_TAIL_LEN;
	if (likely(tail))
		proto_encode_tail(tail, error);
	else if (write_tail(&at, error))
		*used = 0;
	return 0;
}

/* Bytes of the properties area of a PROBE, and its error if it is too small. */
static int probe_room(const struct viommu_device *dev, const struct message *msg,
		      unsigned resv_nr, uint32_t *room)
{
	uint64_t have = msg->writable_len - PROTO_TAIL_LEN;

	if (have >= dev->probe_size) {
		*room = dev->probe_size;
		return 0;
	}
	*room = (uint32_t)have;
	/* The size may have grown since the driver read it (an endpoint joined).
	 * A driver that goes by what it was told is right for as long as the
	 * endpoint's properties fit. */
	if (have && have == dev->probe_seen &&
	    (uint64_t)resv_nr * PROTO_RESV_MEM_LEN <= have)
		return 0;
	return err(EINVAL, "PROBE: properties smaller than probe_size");
}

static int write_properties(struct message_cursor *at, const struct viommu_resv *resv,
			    unsigned resv_nr, uint32_t room)
{
	uint8_t property[PROTO_RESV_MEM_LEN];
	int r = 0;

	for (unsigned i = 0; i < resv_nr && !r; i++) {
		struct proto_resv_mem resv_mem = {(uint8_t)resv[i].kind, resv[i].start,
						  resv[i].last};

		proto_encode_resv_mem(property, sizeof(property), &resv_mem);
		r = message_write(at, property, sizeof(property));
	}
	/* the rest SHOULD be zero, and counts as written */
	return r ? r : message_write(at, NULL, room - resv_nr * PROTO_RESV_MEM_LEN);
}

static int handle_probe(struct viommu_device *dev, const struct message *msg,
			const struct proto_request *req, int error, uint32_t *used)
{
	struct message_cursor at = {.msg = msg};
	const struct viommu_resv *resv = NULL;
	struct viommu_endpoint *ep = NULL;
	unsigned resv_nr = 0;
	uint32_t room;
	int r;

	/* PROBE not available: SHOULD NOT write, used length 0 */
	if (!device_negotiated(dev, VIRTIO_IOMMU_F_PROBE) ||
	    msg->writable_len < PROTO_TAIL_LEN)
		return leave_unanswered(dev, req, used);
	if (!error) {
		ep = space_endpoint_find(dev->space, req->endpoint);
		if (!ep)
			error = err(ENOENT, "PROBE: no such endpoint");
	}
	if (ep)
		resv = endpoint_resv(ep, &resv_nr);
	r = probe_room(dev, msg, resv_nr, &room);
	if (!error)
		error = r;
	if (message_check(msg, (uint64_t)room + PROTO_TAIL_LEN))
		return leave_unanswered(dev, req, used);
	r = write_properties(&at, resv, error ? 0 : resv_nr, room);
	if (!r)
		r = write_tail(&at, error);
	log_request(dev, req, error);
	note_reply(dev, req, error);
	*used = r ? 0 : room + PROTO_TAIL_LEN;
	return 0;
}

int request_handle(struct viommu_device *dev, const struct message *msg, uint32_t *used)
{
	uint8_t buf[PROTO_REQUEST_MAX];
	struct proto_request req;
	int len, error;
	/* Drivers put a request and its tail into one cache line. */
	uint8_t *tail = message_direct(msg, PROTO_TAIL_LEN);

	if (likely(tail))
		prefetch_write(tail);
	len = message_read(msg, buf, sizeof(buf));
	if (len < 0)
		return leave_unanswered(dev, NULL, used);
	error = proto_decode_request(buf, (size_t)len, &req);
	/* Without a head, or of unknown type: SHOULD NOT write, used length 0 */
	if (error == -EBADMSG || error == -EOPNOTSUPP) {
		dev->counters.requests[0][proto_errno_to_status(-EOPNOTSUPP)]++;
		return leave_unanswered(dev, NULL, used);
	}
	(void)PROBE3(request_begin, req.type, req.domain, req.endpoint);
	if (req.type == VIRTIO_IOMMU_T_PROBE)
		return handle_probe(dev, msg, &req, error, used);
	return handle_simple(dev, msg, &req, tail, error, used);
}

/* How long a request may be parked. A guest waits with interrupts off, often for
 * many removals in a row: who let one time out is not given the whole time again
 * before it has shown that it lets go. */
static uint64_t patience_ns(const struct viommu_device *dev)
{
	uint64_t ns = (uint64_t)dev->cfg.hold_timeout_ms * 1000000;

	return dev->impatient ? ns / IMPATIENT_PART : ns;
}

/* 0: over, *error says how; -EINPROGRESS: pages are still held. */
static int wait_for_holds(struct viommu_device *dev, int *error)
{
	const struct parked *p = &dev->parked;
	uint64_t waited = dev->ops.now_ns(dev->opaque) - p->since_ns;

	*error = 0;
	if (!space_pending(dev->space)) {
		dev->impatient = false;
		return 0;
	}
	if (waited < patience_ns(dev))
		return -EINPROGRESS;
	dev->impatient = true;
	space_give_up(dev->space);
	*error = err(EREMOTEIO, "pages held longer than hold_timeout_ms");
	return 0;
}

int request_finish(struct viommu_device *dev, const struct viommu_ring_mem *mem,
		   uint32_t *used)
{
	struct parked *p = &dev->parked;
	struct message msg = {.mem = mem, .writable = p->tail, .writable_nr = p->tail_nr};
	struct message_cursor at = {.msg = &msg};
	int error, r = wait_for_holds(dev, &error);

	if (r)
		return r;
	note_reply(dev, &p->req, error);
	/* The buffers were there when the request came; if they are gone by now,
	 * 0 is what tells the driver. */
	*used = write_tail(&at, error) ? 0 : PROTO_TAIL_LEN;
	p->phase = PARK_NONE;
	return 0;
}

void request_abandon(struct viommu_device *dev)
{
	if (dev->parked.phase == PARK_HOLD && space_pending(dev->space))
		space_give_up(dev->space);
	dev->parked.phase = PARK_NONE;
}
