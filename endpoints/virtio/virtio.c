/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
#include "endpoints/virtio/virtio.h"

#include <time.h>

uint64_t virtio_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- rings out of reach ---- */

void virtio_stall(struct virtio_dev *dev, struct virtio_queue *q)
{
	q->stalled = true;
	if (dev->retry_ms)
		return;
	if (dev->tries == VIRTIO_RETRIES_MAX)
		dev->broken = true;
	else
		dev->retry_ms = virtio_now_ms() + (1ull << dev->tries);
}

/* What could not be published then is published now. */
static void resume(struct virtio_dev *dev, struct virtio_queue *q)
{
	q->stalled = q->armed = false;
	dev->dirty |= BIT(q->index);
}

void virtio_retry_stalled(struct virtio_dev *dev)
{
	if (virtio_now_ms() < dev->retry_ms)
		return;
	dev->retry_ms = 0;
	dev->tries++;
	for (unsigned i = 0; i < dev->queues_nr; i++)
		if (dev->queue[i].enabled && dev->queue[i].stalled)
			resume(dev, &dev->queue[i]);
}

int virtio_timeout_ms(const struct virtio_dev *dev)
{
	uint64_t now;

	if (!dev->retry_ms)
		return -1;
	now = virtio_now_ms();
	return dev->retry_ms > now ? (int)(dev->retry_ms - now) : 0;
}

/* ---- queues ---- */

void virtio_lose(struct virtio_dev *dev, struct virtio_queue *q)
{
	dev->stats.lost++;
	q->stalled = true;
	dev->broken = true;
}

enum virtio_popped virtio_pop_failed(struct virtio_dev *dev, struct virtio_queue *q,
				     const struct viommu_chain *chain, int r)
{
	switch (r) {
	case -EBADMSG:
	case -E2BIG:
		dev->stats.malformed++;
		virtio_push(dev, q, chain, 0);
		return VIRTIO_REFUSED;
	case -EFAULT:
		virtio_stall(dev, q);
		return VIRTIO_NONE;
	default: /* a ring that makes no sense */
		q->stalled = true;
		dev->broken = true;
		return VIRTIO_NONE;
	}
}

void virtio_disable(struct virtio_dev *dev, unsigned index)
{
	struct virtio_queue *q = &dev->queue[index];

	q->enabled = false;
	dev->dirty &= ~BIT(index);
	dev->ops->queue_off(dev, q);
}

/* ---- sections ---- */

void virtio_settle(struct virtio_dev *dev)
{
	/* Nothing stalled since the last retry. */
	if (!dev->retry_ms)
		dev->tries = 0;
	if (dev->broken) {
		dev->broken = false;
		viommu_virtio_pci_needs_reset(dev->vp);
	}
}

/* Publishes each queue once. Result: bit n: queue n wants an interrupt. */
static uint64_t publish_all(struct virtio_dev *dev)
{
	uint64_t dirty = dev->dirty, irqs = 0;

	dev->dirty = 0;
	for (; dirty; dirty &= dirty - 1) {
		unsigned i = (unsigned)__builtin_ctzll(dirty);
		struct virtio_queue *q = &dev->queue[i];

		if (viommu_virtq_publish(&q->vq))
			irqs |= BIT(i);
		if (unlikely(viommu_virtq_unreached(&q->vq)))
			virtio_stall(dev, q);
	}
	return irqs;
}

void virtio_finish(struct virtio_dev *dev)
{
	uint64_t irqs = publish_all(dev);

	virtio_end(dev);
	for (; irqs; irqs &= irqs - 1) {
		dev->stats.interrupts++;
		viommu_virtio_pci_queue_irq(dev->vp, (unsigned)__builtin_ctzll(irqs));
	}
}

/* ---- what the transport asks ---- */

static uint64_t features(void *opaque)
{
	struct virtio_dev *dev = opaque;

	return dev->ops->features(dev);
}

static int set_features(void *opaque, uint64_t accepted)
{
	struct virtio_dev *dev = opaque;

	dev->features = dev->ops->accept(dev, accepted);
	return 0;
}

/* The transport asks for nothing behind config_len. */
static void config_read(void *opaque, uint32_t offset, void *buf, uint32_t len)
{
	_Alignas(8) uint8_t config[VIRTIO_CONFIG_MAX] = {0};
	struct virtio_dev *dev = opaque;

	dev->ops->config(dev, config);
	memcpy(buf, config + offset, len);
}

static void config_write(void *opaque, uint32_t offset, const void *buf, uint32_t len)
{
	struct virtio_dev *dev = opaque;

	if (dev->ops->config_write)
		dev->ops->config_write(dev, offset, buf, len);
}

static int queue_enable(void *opaque, unsigned index,
			const struct viommu_virtq_config *ring)
{
	struct virtio_dev *dev = opaque;
	struct virtio_queue *q = &dev->queue[index];
	int r = dev->ops->queue_check ? dev->ops->queue_check(dev) : 0;

	if (r)
		return r;
	r = viommu_virtq_init(&q->vq, ring, viommu_ring_mem_dma(dev->dma));
	if (r)
		return endpoint_err(dev->ep->env.log, -r,
				    "%s: the driver set up queue %u wrongly",
				    dev->ep->name, index);
	q->stalled = q->armed = false;
	q->enabled = true;
	return 0;
}

static void queue_disable(void *opaque, unsigned index)
{
	virtio_disable(opaque, index);
}

static void notify(void *opaque, unsigned index)
{
	struct virtio_dev *dev = opaque;
	struct virtio_queue *q = &dev->queue[index];

	dev->stats.kicks++;
	q->armed = false;
	if (unlikely(q->stalled))
		resume(dev, q);
}

static void driver_ok(void *opaque)
{
	struct virtio_dev *dev = opaque;

	dev->driver_ok = true;
	if (dev->ops->changed)
		dev->ops->changed(dev);
}

/* Nothing is due any more. */
static void stop(struct virtio_dev *dev)
{
	dev->driver_ok = dev->broken = false;
	dev->tries = 0;
	dev->retry_ms = 0;
}

static void driver_left(void *opaque)
{
	struct virtio_dev *dev = opaque;

	/* All before the first, so that what ends meanwhile is told on none. */
	dev->dirty = 0;
	for (unsigned i = 0; i < dev->queues_nr; i++)
		dev->queue[i].enabled = false;
	for (unsigned i = 0; i < dev->queues_nr; i++)
		virtio_disable(dev, i);
	stop(dev);
	if (dev->ops->changed)
		dev->ops->changed(dev);
}

static void reset(void *opaque)
{
	struct virtio_dev *dev = opaque;

	stop(dev);
	dev->features = dev->ops->accept(dev, 0);
	dev->stats.resets++;
	if (dev->ops->changed)
		dev->ops->changed(dev);
}

static const struct viommu_virtio_ops transport_ops = {
	.features = features,
	.set_features = set_features,
	.config_read = config_read,
	.config_write = config_write,
	.queue_enable = queue_enable,
	.queue_disable = queue_disable,
	.notify = notify,
	.driver_ok = driver_ok,
	.driver_left = driver_left,
	.reset = reset,
};

/* ---- life ---- */

int virtio_parse(struct virtio_dev *dev, const struct options *o)
{
	int r;

	dev->packed = true;
	r = options_uint(o, "queue-size", VIRTIO_QUEUE_SIZE_MIN, VIOMMU_VIRTQ_SIZE_MAX,
			 &dev->queue_size);
	if (!r)
		r = options_bool(o, "packed", &dev->packed);
	if (!r && (dev->queue_size & (dev->queue_size - 1)))
		r = endpoint_err(o->log, EINVAL,
				 "%s: queue-size=%u is no power of two; write e.g. 256",
				 o->who, dev->queue_size);
	return r;
}

static int make_function(struct virtio_dev *dev, const struct virtio_identity *identity)
{
	const struct endpoint_env *env = &dev->ep->env;
	const struct viommu_virtio_pci_config config = {
		.virtio_id = identity->virtio_id,
		.class_code = identity->class_code,
		.queues_nr = (uint16_t)identity->queues_nr,
		.queue_size = (uint16_t)dev->queue_size,
		.config_len = identity->config_len,
		.access_platform = env->iommu != NULL,
		.packed = dev->packed,
	};
	int r = viommu_virtio_pci_create(&config, &transport_ops, dev, env->alloc,
					 env->log, &dev->vp);

	if (!r)
		dev->ep->function = viommu_virtio_pci_function(dev->vp);
	return r;
}

int virtio_create(struct virtio_dev *dev, struct endpoint *ep,
		  const struct virtio_identity *identity, const struct virtio_ops *ops)
{
	const struct endpoint_env *env = &ep->env;
	int r;

	dev->ops = ops;
	dev->ep = ep;
	dev->queues_nr = identity->queues_nr;
	dev->queue = endpoint_alloc(env->alloc, dev->queues_nr * sizeof(*dev->queue), 64);
	if (!dev->queue)
		return endpoint_err(env->log, ENOMEM, "%s: out of memory", ep->name);
	for (unsigned i = 0; i < dev->queues_nr; i++)
		dev->queue[i].index = (uint16_t)i;
	r = viommu_dma_create(env->iommu, env->mem, env->alloc, ops->dma, dev, &dev->dma);
	return r ? r : make_function(dev, identity);
}

void virtio_destroy(struct virtio_dev *dev)
{
	viommu_virtio_pci_destroy(dev->vp);
	viommu_dma_destroy(dev->dma);
	if (dev->ep)
		endpoint_free(dev->ep->env.alloc, dev->queue,
			      dev->queues_nr * sizeof(*dev->queue));
}
