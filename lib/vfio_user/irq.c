/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Interrupts: the client's eventfds, and what SET_IRQS does to them. */
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/err.h"
#include "vfio_user/sys.h"
#include "vfio_user/vfu_internal.h"

/* A full counter (EAGAIN) means that the interrupt is pending already. */
static void fire(struct viommu_vfu *vfu, int fd)
{
	static const uint64_t one = 1;

	vfu->stats.irqs++;
	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

/* ---- from the function ---- */

static void on_msix(void *opaque, unsigned vector)
{
	struct viommu_vfu *vfu = opaque;
	int fd = vfu->irq.msix_fd[vector];

	if (fd >= 0)
		fire(vfu, fd);
	else /* delivered when the client brings an eventfd */
		vfu->irq.msix_lost[vector / 64] |= 1ull << (vector % 64);
}

/* The interrupt masks itself when it fires (VFU_IRQ_AUTOMASKED); if it is still
 * asserted when the client unmasks it, it fires again. */
static void update_intx(struct viommu_vfu *vfu)
{
	struct vfu_irq_state *irq = &vfu->irq;

	if (!irq->intx_level || irq->intx_masked || irq->intx_fd < 0)
		return;
	irq->intx_masked = true;
	fire(vfu, irq->intx_fd);
}

static void on_intx(void *opaque, bool asserted)
{
	struct viommu_vfu *vfu = opaque;

	vfu->irq.intx_level = asserted;
	update_intx(vfu);
}

void vfu_irq_init(struct viommu_vfu *vfu)
{
	static const struct viommu_pci_irq_ops ops = {
		.msix = on_msix,
		.intx = on_intx,
		.keeps_msix_table = true,
	};

	vfu->irq.intx_fd = vfu->irq.unmask_fd = -1;
	for (unsigned i = 0; i < VIOMMU_PCI_MSIX_MAX; i++)
		vfu->irq.msix_fd[i] = -1;
	viommu_pci_set_irq_ops(vfu->pci, &ops, vfu);
}

/* ---- the client's eventfds ---- */

/* Takes fd from where it was, or nothing (-1), in place of the old one. */
static void replace(int *slot, int *fd)
{
	if (*slot >= 0)
		close(*slot);
	*slot = fd ? *fd : -1;
	if (fd)
		*fd = -1;
}

/* The open file is the client's too: it leaves the epoll set only if it is taken
 * out, closing our descriptor is not enough. */
static int replace_unmask(struct viommu_vfu *vfu, int *fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = VFU_EVENT_UNMASK};
	struct vfu_irq_state *irq = &vfu->irq;

	if (irq->unmask_fd >= 0)
		epoll_ctl(vfu->epoll_fd, EPOLL_CTL_DEL, irq->unmask_fd, &ev);
	replace(&irq->unmask_fd, NULL);
	if (!fd)
		return 0;
	if (epoll_ctl(vfu->epoll_fd, EPOLL_CTL_ADD, *fd, &ev) < 0)
		return err(EINVAL, "unmask descriptor cannot be waited for");
	replace(&irq->unmask_fd, fd);
	return 0;
}

/* A new eventfd starts unmasked, and fires at once if the pin is asserted. */
static void set_intx(struct viommu_vfu *vfu, int *fd)
{
	replace(&vfu->irq.intx_fd, fd);
	vfu->irq.intx_masked = false;
	update_intx(vfu);
}

/* What was raised while there was no eventfd is delivered with the first one. */
static void set_msix(struct viommu_vfu *vfu, unsigned vector, int *fd)
{
	uint64_t bit = 1ull << (vector % 64), *lost = &vfu->irq.msix_lost[vector / 64];

	replace(&vfu->irq.msix_fd[vector], fd);
	if (fd && *lost & bit)
		fire(vfu, vfu->irq.msix_fd[vector]);
	if (fd)
		*lost &= ~bit;
}

static void disable(struct viommu_vfu *vfu, uint32_t index)
{
	if (index == VFU_IRQ_INTX) {
		set_intx(vfu, NULL);
		replace_unmask(vfu, NULL);
	}
	if (index != VFU_IRQ_MSIX)
		return;
	for (unsigned i = 0; i < VIOMMU_PCI_MSIX_MAX; i++)
		set_msix(vfu, i, NULL);
	memset(vfu->irq.msix_lost, 0, sizeof(vfu->irq.msix_lost));
}

void vfu_irq_forget(struct viommu_vfu *vfu)
{
	disable(vfu, VFU_IRQ_INTX);
	disable(vfu, VFU_IRQ_MSIX);
}

static void mask_intx(struct viommu_vfu *vfu, bool masked)
{
	vfu->irq.intx_masked = masked;
	update_intx(vfu);
}

void vfu_irq_unmask_event(struct viommu_vfu *vfu)
{
	uint64_t count;
	ssize_t n = read(vfu->irq.unmask_fd, &count, sizeof(count));

	if (n == sizeof(count))
		mask_intx(vfu, false);
	else if (n >= 0 || (sys_errno() != EAGAIN && sys_errno() != EINTR))
		replace_unmask(vfu, NULL); /* not an eventfd: it would wake us for ever */
}

/*
 * An eventfd is an anonymous inode without a type: pipes, sockets and files,
 * which could block a write, are turned away. A blocking eventfd is made
 * non-blocking, for the client too, since its counter may be full.
 */
static int check_eventfd(int fd)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fstat(fd, &st) < 0 || st.st_mode & S_IFMT)
		return err(EINVAL, "not an eventfd");
	if (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err(EINVAL, "eventfd cannot be made non-blocking");
	return 0;
}

/* ---- messages ---- */

static unsigned count_irqs(const struct viommu_vfu *vfu, uint32_t index)
{
	const struct viommu_pci_config *cfg = viommu_pci_get_config(vfu->pci);

	if (index == VFU_IRQ_INTX)
		return cfg->intx;
	/* QEMU warns of a function that cannot report errors (AER); this one can,
	 * but never has any. */
	if (index == VFU_IRQ_ERR)
		return 1;
	return index == VFU_IRQ_MSIX ? cfg->msix_nr : 0;
}

int vfu_handle_irq_info(struct viommu_vfu *vfu, struct vfu_msg *m)
{
	struct vfu_irq_info info;

	memcpy(&info, m->payload, sizeof(info));
	if (info.argsz < sizeof(info) || info.index >= VFU_IRQS_NR)
		return err(EINVAL, "argsz or index");
	info.argsz = sizeof(info);
	info.count = count_irqs(vfu, info.index);
	info.flags = 0;
	if (info.count && info.index == VFU_IRQ_INTX)
		info.flags = VFU_IRQ_EVENTFD | VFU_IRQ_MASKABLE | VFU_IRQ_AUTOMASKED;
	else if (info.count)
		info.flags = VFU_IRQ_EVENTFD | VFU_IRQ_NORESIZE;
	memcpy(vfu_reply(vfu), &info, sizeof(info));
	return sizeof(info);
}

/* Eventfds for [start, start + count), or none at all: those vectors have none
 * any more, or not yet. */
static int set_triggers(struct viommu_vfu *vfu, const struct vfu_irq_set *s,
			struct vfu_msg *m)
{
	for (unsigned i = 0; i < s->count; i++) {
		int *fd = m->fd_nr ? &m->fd[i] : NULL;

		if (s->index == VFU_IRQ_INTX)
			set_intx(vfu, fd);
		else if (s->index == VFU_IRQ_MSIX)
			set_msix(vfu, s->start + i, fd);
		/* else: closed, there will be no error to report */
	}
	return 0;
}

/* -1: none. */
static int trigger_fd(const struct viommu_vfu *vfu, uint32_t index, unsigned vector)
{
	if (index == VFU_IRQ_INTX)
		return vfu->irq.intx_fd;
	return index == VFU_IRQ_MSIX ? vfu->irq.msix_fd[vector] : -1;
}

/* The client tries the interrupts itself. */
static int loop_back(struct viommu_vfu *vfu, const struct vfu_irq_set *s,
		     const uint8_t *bools)
{
	if (!s->count)
		disable(vfu, s->index);
	for (unsigned i = 0; i < s->count; i++) {
		int fd = trigger_fd(vfu, s->index, s->start + i);

		if ((!bools || bools[i]) && fd >= 0)
			fire(vfu, fd);
	}
	return 0;
}

static int set_mask(struct viommu_vfu *vfu, const struct vfu_irq_set *s,
		    struct vfu_msg *m, const uint8_t *bools)
{
	bool mask = s->flags & VFU_IRQ_SET_ACTION_MASK;

	if (s->index != VFU_IRQ_INTX || !s->count)
		return err(EINVAL, "only INTx can be masked");
	if (s->flags & VFU_IRQ_SET_DATA_EVENTFD)
		return mask ? err(EINVAL, "mask by eventfd")
			    : replace_unmask(vfu, m->fd_nr ? &m->fd[0] : NULL);
	if (!bools || bools[0])
		mask_intx(vfu, mask);
	return 0;
}

/* Everything is checked before anything is changed; the sum of start and count is
 * 64 bits wide, so that it cannot wrap around. */
static int check_set(const struct viommu_vfu *vfu, const struct vfu_irq_set *s,
		     const struct vfu_msg *m)
{
	uint32_t data = s->flags & VFU_IRQ_SET_DATA_MASK;
	uint32_t action = s->flags & VFU_IRQ_SET_ACTIONS;
	unsigned extra = m->len - (unsigned)sizeof(*s);

	if (s->argsz != m->len)
		return err(EINVAL, "argsz");
	if (!is_pow2(data) || !is_pow2(action) || s->flags & ~(data | action))
		return err(EINVAL, "flags");
	if (s->index >= VFU_IRQS_NR ||
	    (uint64_t)s->start + s->count > count_irqs(vfu, s->index))
		return err(EINVAL, "no such interrupt");
	/* Nothing to do, but for "all of the index off". */
	if (!s->count && (data != VFU_IRQ_SET_DATA_NONE || s->start))
		return err(EINVAL, "no interrupt named");
	if (extra != (data == VFU_IRQ_SET_DATA_BOOL ? s->count : 0))
		return err(EINVAL, "data does not fit the flags");
	if (m->fd_nr && (data != VFU_IRQ_SET_DATA_EVENTFD || m->fd_nr != s->count))
		return err(EINVAL, "number of descriptors");
	return 0;
}

int vfu_handle_set_irqs(struct viommu_vfu *vfu, struct vfu_msg *m)
{
	const uint8_t *bools = NULL;
	struct vfu_irq_set s;
	int r;

	memcpy(&s, m->payload, sizeof(s));
	r = check_set(vfu, &s, m);
	for (unsigned i = 0; !r && i < m->fd_nr; i++)
		r = check_eventfd(m->fd[i]);
	if (r < 0)
		return r;
	if (s.flags & VFU_IRQ_SET_DATA_BOOL)
		bools = m->payload + sizeof(s);
	if (!(s.flags & VFU_IRQ_SET_ACTION_TRIGGER))
		return set_mask(vfu, &s, m, bools);
	if (s.flags & VFU_IRQ_SET_DATA_EVENTFD)
		return set_triggers(vfu, &s, m);
	return loop_back(vfu, &s, bools);
}
