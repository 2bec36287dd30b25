/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * What virtio endpoints have in common: a virtio-pci function whose rings are
 * behind a DMA context, and when to look at them, publish, interrupt and sleep.
 * The device says what its features and configuration are and what to do with a
 * chain:
 *
 *     poll:  virtio_turn(dev);
 *            virtio_begin(dev);
 *            if (virtio_may_run(dev)), for each queue q:
 *                    if (virtio_is_watched(q))
 *                            virtio_pop() ... virtio_push();
 *            virtio_finish(dev);
 *     arm:   if (virtio_may_run(dev)):
 *                    virtio_begin(dev); virtio_arm_queue(dev, q); virtio_end(dev);
 *
 * A ring that is out of reach is left alone and looked at again after 1, 2, 4 ..
 * ms: memory is gone for a moment when a VMM moves it. After VIRTIO_RETRIES_MAX
 * times it is the driver's mistake: DEVICE_NEEDS_RESET.
 *
 * When the driver leaves (driver_left in viommu/virtio_pci.h), what is under way ends
 * as in a reset, and nothing more happens before the device is reset.
 *
 * Threads: the endpoint's.
 */
#ifndef ENDPOINTS_VIRTIO_VIRTIO_H
#define ENDPOINTS_VIRTIO_VIRTIO_H

#include <viommu/dma.h>
#include <viommu/virtio_pci.h>
#include <viommu/virtq.h>

#include "endpoints/endpoint.h"
#include "endpoints/options.h"
#include "endpoints/util.h"

/* Limits, each with a test at it and one past it. */
#define VIRTIO_RETRIES_MAX    10u /* of rings out of reach: about a second in all */
#define VIRTIO_QUEUE_SIZE_MIN 4u  /* entries; the most: VIOMMU_VIRTQ_SIZE_MAX */
/* Bytes of the largest device configuration. */
#define VIRTIO_CONFIG_MAX 64u

#define BIT(n)		  (1ull << (n))
/* Offered by every device here. */
#define VIRTIO_RING_FEATURES                                                             \
	(BIT(VIOMMU_VIRTIO_F_RING_EVENT_IDX) | BIT(VIOMMU_VIRTIO_F_ACCESS_PLATFORM) |    \
	 BIT(VIOMMU_VIRTIO_F_RING_RESET))

struct virtio_queue {
	struct viommu_virtq vq;
	uint16_t index;
	bool enabled; /* the driver set it up */
	bool stalled; /* out of reach, or broken: until a retry or a kick */
	bool armed;   /* a kick comes before there can be anything in the ring */
};

struct virtio_dev;

/* The device. All are needed, but for those that say "may be NULL". */
struct virtio_ops {
	/* VIRTIO_RING_FEATURES and its own. */
	uint64_t (*features)(const struct virtio_dev *dev);
	/* What the driver accepted; 0 at a reset. Returns what of it counts. */
	uint64_t (*accept)(struct virtio_dev *dev, uint64_t features);
	/* Fills in the configuration; it is zeroed. */
	void (*config)(const struct virtio_dev *dev, void *config);
	void (*config_write)(struct virtio_dev *dev, uint32_t offset, const void *buf,
			     uint32_t len); /* may be NULL */
	/* Before a queue is enabled: -errno (logged) if it cannot be. May be NULL. */
	int (*queue_check)(struct virtio_dev *dev);
	/* On return nothing of the queue's touches guest memory. */
	void (*queue_off)(struct virtio_dev *dev, struct virtio_queue *q);
	/* DRIVER_OK, a reset, or the driver left: dev->driver_ok is new. */
	void (*changed)(struct virtio_dev *dev); /* may be NULL */
	const struct viommu_dma_ops *dma;	 /* may be NULL; opaque is dev */
};

struct virtio_stats {
	uint64_t malformed; /* chains that make no sense; the device adds its own */
	uint64_t lost;	    /* chains without a ring to give them back to */
	uint64_t kicks, interrupts, resets;
};

struct virtio_dev {
	const struct virtio_ops *ops;
	struct endpoint *ep; /* this is a part of it */
	struct viommu_virtio_pci *vp;
	struct viommu_dma *dma;
	struct virtio_queue *queue; /* queues_nr of them */
	unsigned queues_nr, queue_size;
	bool packed;	/* offered */
	uint64_t dirty; /* bit n: queue n has something to publish */

	/* Negotiated; reset clears them. */
	uint64_t features;
	bool driver_ok; /* rings may be touched */
	bool broken;	/* DEVICE_NEEDS_RESET is due */

	unsigned tries;	   /* retries since all rings were in reach */
	uint64_t retry_ms; /* CLOCK_MONOTONIC; 0: nothing to retry */

	struct virtio_stats stats;
};

/* ---- life ---- */

/* The options queue-size and packed; queue_size is the default so far. */
int virtio_parse(struct virtio_dev *dev, const struct options *o);

struct virtio_identity {
	uint16_t virtio_id;
	uint8_t class_code;
	unsigned queues_nr;
	uint32_t config_len; /* bytes, <= VIRTIO_CONFIG_MAX */
};

/* Makes queues, DMA context and function. ep->function is set.
 * Result: 0, -EINVAL, -ENOMEM, -ENOSPC; the log says why. */
int virtio_create(struct virtio_dev *dev, struct endpoint *ep,
		  const struct virtio_identity *identity, const struct virtio_ops *ops);
/* Of whatever is there; no queue may be enabled that has chains out. */
void virtio_destroy(struct virtio_dev *dev);

/* ---- sections ---- */

/* Opens a section; rings forget where they were. */
static inline void virtio_begin(struct virtio_dev *dev)
{
	viommu_dma_begin(dev->dma);
	for (unsigned i = 0; i < dev->queues_nr; i++)
		if (dev->queue[i].enabled)
			viommu_virtq_begin(&dev->queue[i].vq);
}

/* After a section in which not all was well. */
void virtio_settle(struct virtio_dev *dev);

/* Ends it. */
static inline void virtio_end(struct virtio_dev *dev)
{
	viommu_dma_end(dev->dma);
	if (unlikely(dev->tries || dev->broken))
		virtio_settle(dev);
}

/* Publishes what was pushed, ends the section and interrupts, at most once a
 * queue. */
void virtio_finish(struct virtio_dev *dev);

/* ---- queues ---- */

/* Whether rings may be touched at all. */
static inline bool virtio_may_run(const struct virtio_dev *dev)
{
	return dev->driver_ok;
}

/*
 * Whether to look at a ring. One that is armed is left alone: the driver may have
 * given its memory away (firmware does, and then the guest's IOMMU driver takes
 * over), and looking would be an access that nobody asked for.
 */
static inline bool virtio_is_watched(const struct virtio_queue *q)
{
	return q->enabled && !q->armed && !q->stalled;
}

/* A chain could not be given back: the driver waits for what it will never get. */
void virtio_lose(struct virtio_dev *dev, struct virtio_queue *q);

/* Gives a chain back with `len` bytes written. Inside a section. */
static inline void virtio_push(struct virtio_dev *dev, struct virtio_queue *q,
			       const struct viommu_chain *chain, uint32_t len)
{
	if (likely(!viommu_virtq_push(&q->vq, chain, len)))
		dev->dirty |= BIT(q->index);
	else
		virtio_lose(dev, q);
}

enum virtio_popped {
	VIRTIO_REFUSED = -1, /* one that makes no sense was given back: go on */
	VIRTIO_NONE = 0,
	VIRTIO_TAKEN = 1,
};

/* What a pop that failed with r comes to. */
enum virtio_popped virtio_pop_failed(struct virtio_dev *dev, struct virtio_queue *q,
				     const struct viommu_chain *chain, int r);

/* The next chain. Inside a section; notification is off. */
static inline enum virtio_popped virtio_pop(struct virtio_dev *dev,
					    struct virtio_queue *q,
					    struct viommu_chain *chain,
					    struct viommu_virtq_buf *bufs, unsigned max)
{
	int r = viommu_virtq_pop(&q->vq, chain, bufs, max);

	if (unlikely(r < 0))
		return virtio_pop_failed(dev, q, chain, r);
	return r ? VIRTIO_TAKEN : VIRTIO_NONE;
}

/* Leaves a ring that is out of reach alone for a while, so that no turn in between
 * records the same fault. */
void virtio_stall(struct virtio_dev *dev, struct virtio_queue *q);

/* Asks the driver to notify. true: something came up meanwhile. Inside a section. */
static inline bool virtio_arm_queue(struct virtio_dev *dev, struct virtio_queue *q)
{
	bool work = viommu_virtq_enable_notify(&q->vq);

	if (unlikely(viommu_virtq_unreached(&q->vq))) {
		virtio_stall(dev, q);
		return false;
	}
	q->armed = !work;
	return work;
}

/* Takes the queue from the driver, as its reset does. */
void virtio_disable(struct virtio_dev *dev, unsigned index);

/* ---- turns ---- */

void virtio_retry_stalled(struct virtio_dev *dev);

/* Begins each one: lets stalled rings be looked at again when it is time. */
static inline void virtio_turn(struct virtio_dev *dev)
{
	if (unlikely(dev->retry_ms))
		virtio_retry_stalled(dev);
}

/* The configuration has changed: tells the driver. */
static inline void virtio_config_changed(struct virtio_dev *dev)
{
	viommu_virtio_pci_config_irq(dev->vp);
}

/* The longest sleep, -1: no limit. */
int virtio_timeout_ms(const struct virtio_dev *dev);

/* CLOCK_MONOTONIC */
uint64_t virtio_now_ms(void);

#endif /* ENDPOINTS_VIRTIO_VIRTIO_H */
