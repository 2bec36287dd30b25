/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The network card on a TAP device, in a network namespace of its own. The other
 * side is a packet socket on the interface. Skipped where namespaces or TAP
 * devices are not to be had.
 */
#include "vnic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "endpoints/net/backend.h"

#define SKIPPED	 77
#define IFNAME	 "tap-test"
#define PATIENCE 2000u

static const uint8_t own_mac[6] = {0x52, 0x54, 0x00, 0x01, 0x02, 0x03};
static const uint8_t their_mac[6] = {2, 0, 0, 0, 0, 1};

static void flags_up(const char *name)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct ifreq ifr = {.ifr_flags = IFF_UP | IFF_NOARP | IFF_PROMISC};

	strcpy(ifr.ifr_name, name);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &ifr), 0);
	close(fd);
}

/* Takes and sends whole frames with a virtio header of 10 bytes. */
static int open_packet(const char *name)
{
	struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_protocol = htons(0x0800)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(0x0800)), on = 1;

	a.sll_ifindex = (int)if_nametoindex(name);
	assert_true(fd >= 0 && a.sll_ifindex);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	return fd;
}

static struct vnic_flow flow(bool out)
{
	struct vnic_flow f = {.src = out ? 0x0a000001 : 0x0a000002,
			      .dst = out ? 0x0a000002 : 0x0a000001,
			      .sport = 1000,
			      .dport = 2000,
			      .seq = 77,
			      .flags = 0x18};

	memcpy(f.to, out ? their_mac : own_mac, 6);
	memcpy(f.from, out ? own_mac : their_mac, 6);
	return f;
}

/* The next frame on the packet socket, its header in front; without the header. */
static size_t take(int fd, uint8_t *buf, struct virtio_net_hdr *h)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	ssize_t n;

	assert_int_equal(poll(&pfd, 1, (int)PATIENCE), 1);
	n = recv(fd, buf, VNIC_FRAME, 0);
	assert_true(n > 10);
	memcpy(h, buf, 10);
	memmove(buf, buf + 10, (size_t)n - 10);
	return (size_t)n - 10;
}

static void send_in(int fd, const struct virtio_net_hdr *h, const uint8_t *frame,
		    size_t len)
{
	static uint8_t buf[VNIC_FRAME];

	memcpy(buf, h, 10);
	memcpy(buf + 10, frame, len);
	assert_int_equal(send(fd, buf, len + 10, 0), len + 10);
}

static uint8_t payload[20000], frame[VNIC_FRAME], got[VNIC_FRAME];

/* A series from the guest reaches the interface as one, with its header. */
static void test_out(void **state)
{
	struct vnic *v = vnic_create("backend=tap,ifname=" IFNAME ",mac=" VNIC_MAC,
				     (struct vdrv_shape){.iommu = true});
	struct vnic_flow f = flow(true);
	struct virtio_net_hdr h, back;
	unsigned l4;
	size_t len;
	int fd;

	(void)state;
	flags_up(IFNAME);
	fd = open_packet(IFNAME);
	for (unsigned gso = 0; gso <= 1460; gso += 1460) {
		len = vnic_build(frame, &f, payload, gso ? 20000 : 1000, true, &l4);
		h = vnic_header(&f, l4, gso);
		vnic_send(v, 0, &h, frame, len, 1700);
		assert_int_equal(drvq_out_nr(&v->drv.q[1]), 0);
		assert_int_equal(take(fd, got, &back), len);
		assert_memory_equal(got, frame, len);
		assert_int_equal(back.gso_type, gso ? 1 : 0);
		assert_int_equal(back.gso_size, gso);
		assert_int_equal(back.flags, 1);
	}
	assert_int_equal(guest_stat(v->drv.g, "checksums"), 0);
	assert_int_equal(guest_stat(v->drv.g, "segmented"), 0);
	close(fd);
	vnic_destroy(v);
}

/* Likewise from the interface to a guest that takes it, or as single frames to
 * one that does not. */
static void test_in(void **state)
{
	(void)state;
	for (unsigned plain = 0; plain < 2; plain++) {
		struct vnic *v = vnic_create(
			"backend=tap,ifname=" IFNAME ",mac=" VNIC_MAC,
			(struct vdrv_shape){
				.iommu = true,
				.without = plain ? BIT(VIRTIO_NET_F_GUEST_CSUM) : 0});
		struct vnic_flow f = flow(false);
		struct virtio_net_hdr h, back;
		size_t len, n, done = 0, at;
		unsigned l4, frames = 0;
		int fd;

		flags_up(IFNAME);
		fd = open_packet(IFNAME);
		vnic_post(v, 0, VDRV_SIZE, 1536, 1);
		len = vnic_build(frame, &f, payload, 20000, true, &l4);
		h = vnic_header(&f, l4, 1460);
		send_in(fd, &h, frame, len);
		while (done < 20000) {
			len = vnic_receive(v, 0, &back, got, PATIENCE);
			assert_int_not_equal(len, 0);
			at = vnic_payload(got, len, &n);
			if (memcmp(got, own_mac, 6))
				continue;
			assert_memory_equal(got + at, payload + done, n);
			done += n;
			frames++;
			assert_int_equal(back.gso_type, plain ? 0 : 1);
			if (plain)
				assert_true(vnic_sums_right(got, len));
		}
		assert_int_equal(frames, plain ? 14 : 1);
		close(fd);
		vnic_destroy(v);
	}
}

/* Unmapped memory under a frame to be sent, and a reset. */
static void test_unmapped(void **state)
{
	struct vnic *v = vnic_create("backend=tap,ifname=" IFNAME ",mac=" VNIC_MAC,
				     (struct vdrv_shape){.iommu = true});
	struct vdrv_part parts[2] = {{VNIC_TX, VNIC_HEADER}, {VNIC_HOLE, 60}};

	(void)state;
	memset(guest_at(v->drv.g, VNIC_TX), 0, VNIC_HEADER);
	vnic_add(v, 1, parts, 2, 0);
	drvq_publish(&v->drv.q[1]);
	vdrv_kick(&v->drv, 1);
	guest_run(v->drv.g, 0);
	vnic_reap(v, 0);
	assert_int_equal(drvq_out_nr(&v->drv.q[1]), 0);
	assert_int_equal(guest_stat(v->drv.g, "blocked"), 1);
	assert_int_equal(guest_faults(v->drv.g, NULL), 1);
	vdrv_reset(&v->drv);
	vnic_init(v);
	vnic_destroy(v);
}

/* Room for nr frames in the kernel's queue, and none of the kernel's own: an MTU
 * that is too small for IPv6 keeps that away. */
static void set_queue_len(const char *name, int nr)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct ifreq ifr = {.ifr_mtu = 1000};

	strcpy(ifr.ifr_name, name);
	assert_int_equal(ioctl(fd, SIOCSIFMTU, &ifr), 0);
	ifr.ifr_qlen = nr;
	assert_int_equal(ioctl(fd, SIOCSIFTXQLEN, &ifr), 0);
	close(fd);
}

/* How many of the frames that are for the guest come, and the last one's mark. */
static unsigned count_in(struct vnic *v, uint8_t *mark)
{
	struct virtio_net_hdr h;
	unsigned nr = 0;
	size_t len, n, at;

	while ((len = vnic_receive(v, 0, &h, got, nr ? 50 : PATIENCE)) != 0) {
		if (memcmp(got, own_mac, 6))
			continue;
		at = vnic_payload(got, len, &n);
		*mark = got[at];
		nr++;
	}
	return nr;
}

enum away { LINK, DRIVER, AWAY };

static void set_away(struct vnic *v, enum away what, bool away)
{
	if (what == LINK)
		assert_int_equal(endpoint_control(v->drv.g->ep, "link",
						  away ? "state=off" : "state=on"),
				 0);
	else if (away)
		vdrv_reset(&v->drv);
	else
		vnic_init(v);
	guest_run(v->drv.g, 0);
}

/* What arrives while the cable is out or the driver away never comes. */
static void test_stale(void **state)
{
	(void)state;
	for (enum away what = LINK; what < AWAY; what++) {
		struct vnic *v =
			vnic_create("backend=tap,ifname=" IFNAME ",mac=" VNIC_MAC,
				    (struct vdrv_shape){.iommu = true});
		struct virtio_net_hdr h = {0};
		struct vnic_flow f = flow(false);
		uint8_t text[100] = {1}, mark = 0;
		uint64_t stale;
		unsigned l4;
		size_t len;
		int fd;

		flags_up(IFNAME);
		fd = open_packet(IFNAME);
		guest_run(v->drv.g, 0);
		stale = guest_stat(v->drv.g, "tap_stale");
		set_away(v, what, true);
		len = vnic_build(frame, &f, text, sizeof(text), false, &l4);
		for (unsigned i = 0; i < 10; i++)
			send_in(fd, &h, frame, len);
		guest_run(v->drv.g, 0);
		set_away(v, what, false);
		assert_true(guest_stat(v->drv.g, "tap_stale") >= stale + 10);
		vnic_post(v, 0, 20, 1536, 1);
		text[0] = 2;
		len = vnic_build(frame, &f, text, sizeof(text), false, &l4);
		send_in(fd, &h, frame, len);
		assert_int_equal(count_in(v, &mark), 1);
		assert_int_equal(mark, 2);
		close(fd);
		vnic_destroy(v);
	}
}

/* As many as are looked at, and one more. */
static void test_stale_limit(void **state)
{
	struct vnic *v = vnic_create("backend=tap,ifname=" IFNAME ",mac=" VNIC_MAC,
				     (struct vdrv_shape){.iommu = true});
	struct virtio_net_hdr h = {0};
	struct vnic_flow f = flow(false);
	uint8_t mark = 0;
	unsigned l4;
	size_t len;
	int fd;

	(void)state;
	set_queue_len(IFNAME, 2 * NET_STALE_MAX);
	flags_up(IFNAME);
	fd = open_packet(IFNAME);
	vnic_post(v, 0, 20, 1536, 1);
	set_away(v, LINK, true);
	set_away(v, LINK, false);
	len = vnic_build(frame, &f, payload, 100, false, &l4);
	for (unsigned more = 0; more < 2; more++) {
		set_away(v, LINK, true);
		for (unsigned i = 0; i < NET_STALE_MAX + more; i++)
			send_in(fd, &h, frame, len);
		set_away(v, LINK, false);
		assert_int_equal(count_in(v, &mark), more);
	}
	close(fd);
	vnic_destroy(v);
}

/* Frames that are handed over together come whole and in order, with buffers for
 * all of them or for none: as many, in number and in bytes, as are read before the
 * first is handed over, and one more. */
static void test_batches(void **state)
{
	static const struct {
		unsigned nr, len;
	} cases[] = {
		{NET_BATCH_MAX, 100},	     {NET_BATCH_MAX + 1, 100},
		{3 * NET_BATCH_MAX, 900},    {2, NET_BATCH_LEN / 4 - 80},
		{5, NET_BATCH_LEN / 4 - 80}, {7, NET_BATCH_LEN - 100},
	};
	struct vnic *v = vnic_create("backend=tap,ifname=" IFNAME ",mac=" VNIC_MAC,
				     (struct vdrv_shape){.iommu = true});
	static uint8_t text[NET_BATCH_LEN];
	struct vnic_flow f = flow(false);
	struct virtio_net_hdr h, back;
	size_t len, n, at;
	unsigned l4;
	int fd;

	(void)state;
	set_queue_len(IFNAME, 1000);
	flags_up(IFNAME);
	fd = open_packet(IFNAME);
	for (unsigned i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned nr = cases[i / 2].nr;

		for (unsigned k = 0; k < nr; k++) {
			memset(text, (int)k + 1, cases[i / 2].len);
			len = vnic_build(frame, &f, text, cases[i / 2].len, true, &l4);
			h = vnic_header(&f, l4, cases[i / 2].len > 900 ? 900 : 0);
			send_in(fd, &h, frame, len);
		}
		/* Without buffers some wait here, the others there. */
		if (i & 1)
			guest_run(v->drv.g, 0);
		for (unsigned k = 0; k < nr; k++) {
			vnic_post(v, 0, VDRV_SIZE - drvq_out_nr(&v->drv.q[0]), 1536, 1);
			vdrv_kick(&v->drv, 0);
			len = vnic_receive(v, 0, &back, got, PATIENCE);
			at = vnic_payload(got, len, &n);
			assert_int_equal(n, cases[i / 2].len);
			memset(text, (int)k + 1, n);
			assert_memory_equal(got + at, text, n);
		}
		assert_int_equal(vnic_receive(v, 0, &back, got, 0), 0);
		vdrv_reset(&v->drv);
		vnic_init(v);
	}
	assert_int_equal(guest_stat(v->drv.g, "rx_dropped"), 0);
	assert_int_equal(guest_stat(v->drv.g, "tap_stale"), 0);
	close(fd);
	vnic_destroy(v);
}

static void test_queues(void **state)
{
	struct vnic *v =
		vnic_create("backend=tap,ifname=" IFNAME ",queues=3,mac=" VNIC_MAC,
			    (struct vdrv_shape){.iommu = true, .queues = 3});
	struct vnic_flow f = flow(true);
	struct virtio_net_hdr h = {0}, back;
	uint16_t pairs = 3;
	unsigned l4;
	size_t len;
	int fd;

	(void)state;
	flags_up(IFNAME);
	fd = open_packet(IFNAME);
	assert_int_equal(vnic_control(v, 4, 0, &pairs, 2), VIRTIO_NET_OK);
	len = vnic_build(frame, &f, payload, 100, false, &l4);
	for (unsigned i = 0; i < 3; i++) {
		vnic_send(v, i, &h, frame, len, 0);
		assert_int_equal(take(fd, got, &back), len);
	}
	pairs = 1;
	assert_int_equal(vnic_control(v, 4, 0, &pairs, 2), VIRTIO_NET_OK);
	assert_int_equal(guest_stat(v->drv.g, "queue_pairs"), 1);
	vnic_send(v, 2, &h, frame, len, 0);
	assert_int_equal(take(fd, got, &back), len);
	close(fd);
	vnic_destroy(v);
}

/* A descriptor that somebody else opened; it stays theirs. */
static void test_descriptor(void **state)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR);
	struct guest *g = guest_create(true);
	char options[64];

	(void)state;
	strcpy(ifr.ifr_name, IFNAME);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	snprintf(options, sizeof(options), "backend=tap,fd=%d", fd);
	assert_int_equal(guest_endpoint(g, "net", options), 0);
	endpoint_destroy(g->ep);
	g->ep = NULL;
	assert_int_equal(fcntl(fd, F_GETFD), 0);
	snprintf(options, sizeof(options), "backend=tap,fd=%d,queues=2", fd);
	assert_int_equal(guest_endpoint(g, "net", options), -EINVAL);
	snprintf(options, sizeof(options), "backend=tap,fd=%d+%d", fd, fd);
	assert_int_equal(guest_endpoint(g, "net", options), -EINVAL);
	close(fd);
	guest_destroy(g);
}

static void delete_interface(const char *name)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg link;
	} m = {
		{sizeof(m), RTM_DELLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0},
		{.ifi_index = (int)if_nametoindex(name)},
	};
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	assert_true(m.link.ifi_index > 0);
	assert_int_equal(send(fd, &m, sizeof(m), 0), sizeof(m));
	assert_true(recv(fd, &m, sizeof(m), 0) > 0);
	close(fd);
	assert_int_equal(if_nametoindex(name), 0);
}

/* Descriptors that would end a sleep now. */
static int ready(struct vnic *v)
{
	struct pollfd fds[ENDPOINT_FDS_MAX];
	int nr = endpoint_fds(v->drv.g->ep, fds, ENDPOINT_FDS_MAX);

	return poll(fds, (nfds_t)nr, 0);
}

/* An interface that somebody deletes is no reason never to sleep again. */
static void test_deleted(void **state)
{
	struct vnic *v =
		vnic_create("backend=tap,ifname=" IFNAME ",queues=2,mac=" VNIC_MAC,
			    (struct vdrv_shape){.iommu = true, .queues = 2});
	struct vnic_flow f = flow(true);
	struct virtio_net_hdr h = {0};
	uint16_t pairs = 2;
	unsigned l4;
	size_t len = vnic_build(frame, &f, payload, 100, false, &l4);

	(void)state;
	assert_int_equal(vnic_control(v, 4, 0, &pairs, 2), VIRTIO_NET_OK);
	delete_interface(IFNAME);
	assert_int_equal(ready(v), 2);
	guest_run(v->drv.g, 0);
	assert_int_equal(ready(v), 0);
	assert_int_equal(guest_stat(v->drv.g, "tap_errors"), 2);
	vnic_send(v, 1, &h, frame, len, 0);
	assert_int_equal(drvq_out_nr(&v->drv.q[3]), 0);
	assert_int_equal(guest_stat(v->drv.g, "tx_dropped"), 1);
	/* Nor are commands that concern it. */
	for (pairs = 1; pairs <= 2; pairs++)
		assert_int_equal(vnic_control(v, 4, 0, &pairs, 2), VIRTIO_NET_OK);
	guest_run(v->drv.g, 0);
	assert_int_equal(ready(v), 0);
	vnic_destroy(v);
}

/* 0: there is a namespace where TAP devices can be made. */
static int prepare(void)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd, r;

	if (unshare(geteuid() ? CLONE_NEWUSER | CLONE_NEWNET : CLONE_NEWNET))
		return -1;
	fd = open("/dev/net/tun", O_RDWR);
	if (fd < 0)
		return -1;
	r = ioctl(fd, TUNSETIFF, &ifr);
	close(fd);
	return r;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_out),	   cmocka_unit_test(test_in),
		cmocka_unit_test(test_unmapped),   cmocka_unit_test(test_queues),
		cmocka_unit_test(test_descriptor), cmocka_unit_test(test_deleted),
		cmocka_unit_test(test_stale),	   cmocka_unit_test(test_stale_limit),
		cmocka_unit_test(test_batches),
	};

	if (prepare()) {
		printf("skipped: no TAP devices here: %s\n", strerror(errno));
		return SKIPPED;
	}
	for (unsigned i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 31 >> 3);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
