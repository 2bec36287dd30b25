/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* SET_IRQS in every order that clients use, and the interrupts that follow. */
#include "fixture.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	NONE = VFU_IRQ_SET_DATA_NONE,
	BOOL = VFU_IRQ_SET_DATA_BOOL,
	EVENTFD = VFU_IRQ_SET_DATA_EVENTFD,
	MASK = VFU_IRQ_SET_ACTION_MASK,
	UNMASK = VFU_IRQ_SET_ACTION_UNMASK,
	TRIGGER = VFU_IRQ_SET_ACTION_TRIGGER,
};

static int event(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* How often it was signalled since the last time. */
static uint64_t taken(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static int set(struct fixture *f, uint32_t index, uint32_t flags, uint32_t start,
	       uint32_t count, const int *fds, unsigned nr)
{
	return vfu_client_set_irqs(&f->c, index, flags, start, count, fds, nr);
}

static void enable_msix(struct fixture *f)
{
	uint8_t at, id;
	uint16_t on = 0x8000, master = 4;

	assert_int_equal(vfu_client_write(&f->c, VFU_REGION_CONFIG, 4, &master, 2), 0);
	assert_int_equal(vfu_client_read(&f->c, VFU_REGION_CONFIG, 0x34, &at, 1), 0);
	for (;;) {
		assert_int_equal(vfu_client_read(&f->c, VFU_REGION_CONFIG, at, &id, 1),
				 0);
		if (id == 0x11)
			break;
		assert_int_equal(
			vfu_client_read(&f->c, VFU_REGION_CONFIG, at + 1u, &at, 1), 0);
	}
	assert_int_equal(vfu_client_write(&f->c, VFU_REGION_CONFIG, at + 2u, &on, 2), 0);
}

static void test_msix(void **state)
{
	struct fixture *f = *state;
	int efd[4], other = event();
	struct viommu_vfu_stats s;

	enable_msix(f);
	for (int i = 0; i < 4; i++)
		efd[i] = event();
	assert_int_equal(set(f, VFU_IRQ_MSIX, EVENTFD | TRIGGER, 2, 4, efd, 4), 0);
	viommu_pci_raise_msix(f->pci, 3);
	viommu_pci_raise_msix(f->pci, 3);
	viommu_pci_raise_msix(f->pci, 5);
	assert_int_equal(taken(efd[0]), 0);
	assert_int_equal(taken(efd[1]), 2);
	assert_int_equal(taken(efd[3]), 1);
	/* Another eventfd for a vector: the old one is let go. */
	assert_int_equal(set(f, VFU_IRQ_MSIX, EVENTFD | TRIGGER, 3, 1, &other, 1), 0);
	viommu_pci_raise_msix(f->pci, 3);
	assert_int_equal(taken(efd[1]), 0);
	assert_int_equal(taken(other), 1);
	/* Off: nobody is told. */
	assert_int_equal(set(f, VFU_IRQ_MSIX, NONE | TRIGGER, 0, 0, NULL, 0), 0);
	viommu_pci_raise_msix(f->pci, 3);
	assert_int_equal(taken(other), 0);
	viommu_vfu_get_stats(f->vfu, &s);
	assert_int_equal(s.irqs, 4);
	for (int i = 0; i < 4; i++)
		close(efd[i]);
	close(other);
}

/* QEMU: 0x24 without descriptors is "none yet"; what is raised until there is one
 * is delivered then. */
static void test_msix_none_yet(void **state)
{
	struct fixture *f = *state;
	int efd = event();

	enable_msix(f);
	assert_int_equal(set(f, VFU_IRQ_MSIX, EVENTFD | TRIGGER, 0, VECTORS, NULL, 0), 0);
	viommu_pci_raise_msix(f->pci, 1);
	viommu_pci_raise_msix(f->pci, 1);
	viommu_pci_raise_msix(f->pci, 2);
	assert_int_equal(set(f, VFU_IRQ_MSIX, EVENTFD | TRIGGER, 1, 1, &efd, 1), 0);
	assert_int_equal(taken(efd), 1);
	/* Taken away again, and brought back without a raise between. */
	assert_int_equal(set(f, VFU_IRQ_MSIX, EVENTFD | TRIGGER, 1, 1, NULL, 0), 0);
	assert_int_equal(set(f, VFU_IRQ_MSIX, EVENTFD | TRIGGER, 1, 1, &efd, 1), 0);
	assert_int_equal(taken(efd), 0);
	/* All off forgets what was raised for nobody. */
	assert_int_equal(set(f, VFU_IRQ_MSIX, NONE | TRIGGER, 0, 0, NULL, 0), 0);
	assert_int_equal(set(f, VFU_IRQ_MSIX, EVENTFD | TRIGGER, 2, 1, &efd, 1), 0);
	assert_int_equal(taken(efd), 0);
	close(efd);
}

static void test_msix_off_is_silent(void **state)
{
	struct fixture *f = *state;
	int efd = event();

	assert_int_equal(set(f, VFU_IRQ_MSIX, EVENTFD | TRIGGER, 0, 1, &efd, 1), 0);
	viommu_pci_raise_msix(f->pci, 0); /* not enabled in configuration space */
	assert_int_equal(taken(efd), 0);
	enable_msix(f);
	assert_int_equal(taken(efd), 0);
	viommu_pci_raise_msix(f->pci, 0);
	assert_int_equal(taken(efd), 1);
	close(efd);
}

static void test_last_vector(void **state)
{
	struct fixture *f = *state;
	int efd = event();

	enable_msix(f);
	assert_int_equal(set(f, VFU_IRQ_MSIX, EVENTFD | TRIGGER, VECTORS - 1, 1, &efd, 1),
			 0);
	viommu_pci_raise_msix(f->pci, VECTORS - 1);
	assert_int_equal(taken(efd), 1);
	assert_int_equal(set(f, VFU_IRQ_MSIX, EVENTFD | TRIGGER, VECTORS, 1, &efd, 1),
			 -EINVAL);
	assert_int_equal(set(f, VFU_IRQ_MSIX, EVENTFD | TRIGGER, 0, VECTORS + 1, NULL, 0),
			 -EINVAL);
	assert_int_equal(set(f, VFU_IRQ_MSIX, EVENTFD | TRIGGER, 0xffffffff, 2, NULL, 0),
			 -EINVAL);
	assert_int_equal(set(f, VFU_IRQ_MSIX, EVENTFD | TRIGGER, 2, 0xffffffff, NULL, 0),
			 -EINVAL);
	close(efd);
}

static void test_loop_back(void **state)
{
	struct fixture *f = *state;
	struct {
		struct vfu_irq_set s;
		uint8_t bools[4];
	} b = {{24, BOOL | TRIGGER, VFU_IRQ_MSIX, 0, 4}, {1, 0, 1, 1}};
	int efd[3];

	for (int i = 0; i < 3; i++)
		efd[i] = event();
	assert_int_equal(set(f, VFU_IRQ_MSIX, EVENTFD | TRIGGER, 0, 3, efd, 3), 0);
	assert_int_equal(set(f, VFU_IRQ_MSIX, NONE | TRIGGER, 1, 2, NULL, 0), 0);
	assert_int_equal(taken(efd[0]) + taken(efd[1]) * 10 + taken(efd[2]) * 100, 110);
	/* The fourth has no eventfd: nothing happens. */
	assert_int_equal(vfu_client_call(&f->c, VFU_SET_IRQS, &b, 24, NULL, 0, NULL), 0);
	assert_int_equal(taken(efd[0]) + taken(efd[1]) * 10 + taken(efd[2]) * 100, 101);
	b.s.argsz = 23;
	assert_int_equal(vfu_client_call(&f->c, VFU_SET_IRQS, &b, 23, NULL, 0, NULL),
			 -EINVAL);
	for (int i = 0; i < 3; i++)
		close(efd[i]);
}

static void test_intx(void **state)
{
	struct fixture *f = *state;
	int efd = event();

	assert_int_equal(set(f, VFU_IRQ_INTX, EVENTFD | TRIGGER, 0, 1, &efd, 1), 0);
	viommu_pci_set_intx(f->pci, true);
	assert_int_equal(taken(efd), 1);
	/* It has masked itself: edges say nothing until the client unmasks. */
	viommu_pci_set_intx(f->pci, false);
	viommu_pci_set_intx(f->pci, true);
	assert_int_equal(taken(efd), 0);
	/* Still asserted when unmasked: again. */
	assert_int_equal(set(f, VFU_IRQ_INTX, NONE | UNMASK, 0, 1, NULL, 0), 0);
	assert_int_equal(taken(efd), 1);
	viommu_pci_set_intx(f->pci, false);
	assert_int_equal(set(f, VFU_IRQ_INTX, NONE | UNMASK, 0, 1, NULL, 0), 0);
	assert_int_equal(taken(efd), 0);
	assert_int_equal(set(f, VFU_IRQ_INTX, NONE | MASK, 0, 1, NULL, 0), 0);
	viommu_pci_set_intx(f->pci, true);
	assert_int_equal(taken(efd), 0);
	assert_int_equal(set(f, VFU_IRQ_INTX, NONE | UNMASK, 0, 1, NULL, 0), 0);
	assert_int_equal(taken(efd), 1);
	/* Off and on while asserted: a new start. */
	assert_int_equal(set(f, VFU_IRQ_INTX, NONE | TRIGGER, 0, 0, NULL, 0), 0);
	assert_int_equal(set(f, VFU_IRQ_INTX, EVENTFD | TRIGGER, 0, 1, &efd, 1), 0);
	assert_int_equal(taken(efd), 1);
	close(efd);
}

static void test_intx_mask_by_bool(void **state)
{
	struct fixture *f = *state;
	struct {
		struct vfu_irq_set s;
		uint8_t b;
	} __attribute__((packed)) m = {{21, BOOL | MASK, VFU_IRQ_INTX, 0, 1}, 0};
	int efd = event();

	assert_int_equal(set(f, VFU_IRQ_INTX, EVENTFD | TRIGGER, 0, 1, &efd, 1), 0);
	assert_int_equal(vfu_client_call(&f->c, VFU_SET_IRQS, &m, 21, NULL, 0, NULL), 0);
	viommu_pci_set_intx(f->pci, true);
	assert_int_equal(taken(efd), 1); /* false: not masked */
	viommu_pci_set_intx(f->pci, false);
	assert_int_equal(set(f, VFU_IRQ_INTX, NONE | UNMASK, 0, 1, NULL, 0), 0);
	m.b = 1;
	assert_int_equal(vfu_client_call(&f->c, VFU_SET_IRQS, &m, 21, NULL, 0, NULL), 0);
	viommu_pci_set_intx(f->pci, true);
	assert_int_equal(taken(efd), 0);
	close(efd);
}

/* An eventfd that the client (KVM) signals instead of an UNMASK message. */
static void test_intx_unmask_eventfd(void **state)
{
	struct fixture *f = *state;
	int efd = event(), unmask = event();

	assert_int_equal(set(f, VFU_IRQ_INTX, EVENTFD | TRIGGER, 0, 1, &efd, 1), 0);
	assert_int_equal(set(f, VFU_IRQ_INTX, EVENTFD | UNMASK, 0, 1, &unmask, 1), 0);
	viommu_pci_set_intx(f->pci, true);
	assert_int_equal(taken(efd), 1);
	assert_int_equal(eventfd_write(unmask, 1), 0);
	assert_true(readable(f));
	pump(f);
	assert_int_equal(taken(efd), 1);
	/* Taken back: signalling it wakes nobody, though it stays open here. */
	assert_int_equal(set(f, VFU_IRQ_INTX, EVENTFD | UNMASK, 0, 1, NULL, 0), 0);
	assert_int_equal(eventfd_write(unmask, 1), 0);
	assert_false(readable(f));
	assert_int_equal(set(f, VFU_IRQ_INTX, EVENTFD | UNMASK, 0, 1, &unmask, 1), 0);
	reconnect(f);
	assert_false(readable(f));
	close(efd);
	close(unmask);
}

/* Something else that is always readable must not keep the server awake. */
static void test_unmask_by_no_eventfd(void **state)
{
	struct fixture *f = *state;
	int inner = epoll_create1(EPOLL_CLOEXEC), efd = event();
	struct epoll_event ev = {.events = EPOLLIN};

	assert_int_equal(epoll_ctl(inner, EPOLL_CTL_ADD, efd, &ev), 0);
	assert_int_equal(eventfd_write(efd, 1), 0);
	assert_int_equal(set(f, VFU_IRQ_INTX, EVENTFD | UNMASK, 0, 1, &inner, 1), 0);
	pump(f);
	assert_false(readable(f));
	assert_int_equal(vfu_client_reset(&f->c), 0);
	close(inner);
	close(efd);
}

static void test_not_an_eventfd(void **state)
{
	struct fixture *f = *state;
	int pipes[2], fds[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int before;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	fds[0] = event();
	before = count_fds();
	assert_int_equal(set(f, VFU_IRQ_MSIX, EVENTFD | TRIGGER, 0, 1, &pipes[1], 1),
			 -EINVAL);
	assert_int_equal(set(f, VFU_IRQ_INTX, EVENTFD | TRIGGER, 0, 1, &null, 1),
			 -EINVAL);
	assert_int_equal(set(f, VFU_IRQ_INTX, EVENTFD | TRIGGER, 0, 1, &f->c.fd, 1),
			 -EINVAL);
	/* One bad: none is taken. */
	fds[1] = null;
	assert_int_equal(set(f, VFU_IRQ_MSIX, EVENTFD | TRIGGER, 0, 2, fds, 2), -EINVAL);
	assert_int_equal(set(f, VFU_IRQ_MSIX, NONE | TRIGGER, 0, 1, NULL, 0), 0);
	assert_int_equal(taken(fds[0]), 0);
	assert_int_equal(count_fds(), before);
	close(pipes[0]);
	close(pipes[1]);
	close(fds[0]);
	close(null);
}

/* A blocking eventfd whose counter is full must not stop the server. */
static void test_full_blocking_eventfd(void **state)
{
	struct fixture *f = *state;
	int efd = eventfd(0, EFD_CLOEXEC);

	enable_msix(f);
	assert_int_equal(eventfd_write(efd, 0xfffffffffffffffeull), 0);
	assert_int_equal(set(f, VFU_IRQ_MSIX, EVENTFD | TRIGGER, 0, 1, &efd, 1), 0);
	viommu_pci_raise_msix(f->pci, 0);
	close(efd);
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	int fds[3] = {event(), event(), event()}, before = count_fds();

	static const struct {
		uint32_t index, flags, start, count;
		unsigned fds;
	} bad[] = {
		{VFU_IRQS_NR, NONE | TRIGGER, 0, 0, 0}, /* index */
		{UINT32_MAX, NONE | TRIGGER, 0, 0, 0},
		{VFU_IRQ_MSIX, TRIGGER, 0, 0, 0}, /* no data flag */
		{VFU_IRQ_MSIX, NONE, 0, 0, 0},	  /* no action */
		{VFU_IRQ_MSIX, NONE | EVENTFD | TRIGGER, 0, 1, 0},
		{VFU_IRQ_MSIX, NONE | TRIGGER | UNMASK, 0, 1, 0},
		{VFU_IRQ_MSIX, NONE | TRIGGER | 0x40, 0, 1, 0},
		{VFU_IRQ_MSIX, EVENTFD | TRIGGER, 0, 0, 0}, /* nothing named */
		{VFU_IRQ_MSIX, NONE | TRIGGER, 1, 0, 0},
		{VFU_IRQ_MSIX, EVENTFD | TRIGGER, 0, 2, 3}, /* number of descriptors */
		{VFU_IRQ_MSIX, EVENTFD | TRIGGER, 0, 3, 2},
		{VFU_IRQ_MSIX, NONE | TRIGGER, 0, 1, 1},
		{VFU_IRQ_MSIX, BOOL | TRIGGER, 0, 1, 0}, /* no data */
		{VFU_IRQ_MSIX, NONE | MASK, 0, 1, 0},	 /* only INTx masks */
		{VFU_IRQ_MSIX, EVENTFD | UNMASK, 0, 1, 1},
		{VFU_IRQ_INTX, EVENTFD | MASK, 0, 1, 1},
		{VFU_IRQ_INTX, NONE | UNMASK, 0, 0, 0},
		{VFU_IRQ_INTX, EVENTFD | TRIGGER, 0, 2, 2},
		{VFU_IRQ_INTX, EVENTFD | TRIGGER, 1, 1, 1},
		{VFU_IRQ_MSI, EVENTFD | TRIGGER, 0, 1, 1},
		{VFU_IRQ_ERR, EVENTFD | TRIGGER, 0, 2, 2},
		{VFU_IRQ_ERR, NONE | MASK, 0, 1, 0},
		{VFU_IRQ_REQ, EVENTFD | TRIGGER, 0, 1, 1},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int r = set(f, bad[i].index, bad[i].flags, bad[i].start, bad[i].count,
			    fds, bad[i].fds);

		if (r != -EINVAL)
			fail_msg("case %zu: %d", i, r);
		assert_int_equal(count_fds(), before);
	}
	/* Off is always possible. */
	for (uint32_t i = 0; i < VFU_IRQS_NR; i++)
		assert_int_equal(set(f, i, NONE | TRIGGER, 0, 0, NULL, 0), 0);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

/* QEMU brings an eventfd for errors, and takes it back; there are none. */
static void test_error_interrupt(void **state)
{
	struct fixture *f = *state;
	int efd = event(), before = count_fds();

	assert_int_equal(set(f, VFU_IRQ_ERR, EVENTFD | TRIGGER, 0, 1, &efd, 1), 0);
	assert_int_equal(set(f, VFU_IRQ_ERR, NONE | TRIGGER, 0, 1, NULL, 0), 0);
	assert_int_equal(set(f, VFU_IRQ_ERR, EVENTFD | TRIGGER, 0, 1, NULL, 0), 0);
	assert_int_equal(set(f, VFU_IRQ_ERR, NONE | TRIGGER, 0, 0, NULL, 0), 0);
	assert_int_equal(taken(efd), 0);
	assert_int_equal(count_fds(), before);
	close(efd);
}

static void test_reset_keeps_eventfds(void **state)
{
	struct fixture *f = *state;
	int efd = event();

	assert_int_equal(set(f, VFU_IRQ_MSIX, EVENTFD | TRIGGER, 0, 1, &efd, 1), 0);
	assert_int_equal(vfu_client_reset(&f->c), 0);
	enable_msix(f);
	viommu_pci_raise_msix(f->pci, 0);
	assert_int_equal(taken(efd), 1);
	close(efd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_msix),
		CASE(test_msix_none_yet),
		CASE(test_msix_off_is_silent),
		CASE(test_last_vector),
		CASE(test_loop_back),
		CASE(test_intx),
		CASE(test_intx_mask_by_bool),
		CASE(test_intx_unmask_eventfd),
		CASE(test_unmask_by_no_eventfd),
		CASE(test_not_an_eventfd),
		CASE(test_full_blocking_eventfd),
		CASE(test_refused),
		CASE(test_error_interrupt),
		CASE(test_reset_keeps_eventfds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
