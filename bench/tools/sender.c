// SPDX-License-Identifier: GPL-2.0-only
/*
 * sender: the same packet, many times, for what pktgen cannot make.
 *
 *	sender NETNS tcp ADDRESS PORT DEVICE MAC [size=N] [gso=N]
 *		makes a TCP connection, and sends its next data segment (size bytes, 64) from DEVICE
 *		to the Ethernet address MAC, past the stack; gso: one packet of that many bytes which
 *		is still to be segmented (MSS 1448 less what IPv6 needs)
 *	sender NETNS udp ADDRESS PORT [size=N]
 *		sends datagrams from a connected socket
 *
 * Prints "ready" (the connection stands), then reads counts from stdin, one a line; for each it
 * sends that many packets and prints the nanoseconds that one took, with two decimals. Sequence
 * numbers do not advance: to everybody on the way the segment is one that is repeated, inside the
 * window. As a pod's own it has its checksum left to the device.
 */
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/tcp.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>

#include "../../tests/integration/tools/netns.h"
#include "../../tests/integration/tools/wire.h"
#include "mark.h"

#define BATCH 64
#define TCP_HEADER 20

static unsigned char packet[sizeof(struct virtio_net_hdr) + ETH_HLEN + 65536];

static uint32_t queue_seq(int fd, int queue)
{
	socklen_t len = sizeof(uint32_t);
	uint32_t seq;

	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue)) ||
	    getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &seq, &len))
		die("sender: TCP_QUEUE_SEQ: %s", strerror(errno));
	return seq;
}

/* What the connection would send next, and what it would acknowledge. */
static void read_seqs(int fd, uint32_t *seq, uint32_t *ack)
{
	int on = 1, off = -1 /* without a window probe */;

	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)))
		die("sender: TCP_REPAIR: %s", strerror(errno));
	*seq = queue_seq(fd, TCP_SEND_QUEUE);
	*ack = queue_seq(fd, TCP_RECV_QUEUE);
	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)))
		die("sender: TCP_REPAIR: %s", strerror(errno));
}

static void parse_mac(unsigned char *mac, const char *text)
{
	unsigned int m[ETH_ALEN];

	if (sscanf(text, "%x:%x:%x:%x:%x:%x", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]) != 6)
		die("sender: \"%s\" is no Ethernet address", text);
	for (int i = 0; i < ETH_ALEN; i++)
		mac[i] = m[i];
}

/* virtio_net_hdr, Ethernet, IP, TCP, payload; returns the bytes of all of it. */
static size_t make_segment(int fd, const char *mac, size_t payload, bool gso)
{
	struct virtio_net_hdr *vh = (void *)packet;
	unsigned char *eth = packet + sizeof(*vh), *ip = eth + ETH_HLEN, *tcp;
	union address src, dst;
	socklen_t len = sizeof(src);
	uint32_t seq, ack, pseudo = IPPROTO_TCP + TCP_HEADER + payload;
	size_t ip_len;

	if (getsockname(fd, &src.sa, &len))
		die("sender: getsockname: %s", strerror(errno));
	len = sizeof(dst);
	if (getpeername(fd, &dst.sa, &len))
		die("sender: getpeername: %s", strerror(errno));
	read_seqs(fd, &seq, &ack);

	parse_mac(eth, mac);
	eth[ETH_ALEN] = 2; /* our own address, of which nobody makes anything */
	put16(eth + 2 * ETH_ALEN, src.sa.sa_family == AF_INET ? ETH_P_IP : ETH_P_IPV6);
	if (src.sa.sa_family == AF_INET) {
		ip_len = 20;
		ip[0] = 0x45;
		put16(ip + 2, ip_len + TCP_HEADER + payload);
		ip[6] = 0x40; /* don't fragment */
		ip[8] = 64;
		ip[9] = IPPROTO_TCP;
		memcpy(ip + 12, &src.in.sin_addr, 4);
		memcpy(ip + 16, &dst.in.sin_addr, 4);
		put16(ip + 10, ~sum_fold(sum_add(0, ip, ip_len)));
		pseudo = sum_add(pseudo, ip + 12, 8);
	} else {
		ip_len = 40;
		ip[0] = 0x60;
		put16(ip + 4, TCP_HEADER + payload);
		ip[6] = IPPROTO_TCP;
		ip[7] = 64;
		memcpy(ip + 8, &src.in6.sin6_addr, 16);
		memcpy(ip + 24, &dst.in6.sin6_addr, 16);
		pseudo = sum_add(pseudo, ip + 8, 32);
	}
	tcp = ip + ip_len;
	put16(tcp, address_port(&src));
	put16(tcp + 2, address_port(&dst));
	put32(tcp + 4, seq);
	put32(tcp + 8, ack);
	tcp[12] = TCP_HEADER / 4 << 4;
	tcp[13] = 0x18; /* PSH, ACK */
	put16(tcp + 14, 500);
	put16(tcp + 16, sum_fold(pseudo));
	memset(tcp + TCP_HEADER, 'x', payload);

	vh->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	vh->csum_start = ETH_HLEN + ip_len;
	vh->csum_offset = 16;
	vh->hdr_len = ETH_HLEN + ip_len + TCP_HEADER;
	if (gso) {
		vh->gso_type = ip_len == 20 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
		vh->gso_size = 1500 - ip_len - TCP_HEADER;
	}
	return sizeof(*vh) + ETH_HLEN + ip_len + TCP_HEADER + payload;
}

static int open_packet_socket(const char *device)
{
	struct sockaddr_ll link = { .sll_family = AF_PACKET };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), one = 1;

	link.sll_ifindex = if_nametoindex(device);
	if (fd < 0 || !link.sll_ifindex || bind(fd, (void *)&link, sizeof(link)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)))
		die("sender: %s: %s", device, strerror(errno));
	return fd;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static double send_many(int fd, struct mmsghdr *batch, unsigned long count)
{
	unsigned long sent = 0;
	uint64_t began;

	mark_begin();
	began = now_ns();
	while (sent < count) {
		int n = sendmmsg(fd, batch, count - sent < BATCH ? count - sent : BATCH, 0);

		if (n < 0 && errno != ECONNREFUSED) /* of a datagram before: sent all the same */
			die("sender: sendmmsg: %s", strerror(errno));
		sent += n < 0 ? 0 : n;
	}
	began = now_ns() - began;
	mark_end();
	return (double)began / count;
}

int main(int argc, char **argv)
{
	struct mmsghdr batch[BATCH] = { 0 };
	size_t size = 64, gso = 0, len;
	struct iovec part;
	union address to;
	char line[64];
	int proto, fd;

	if (argc < 5)
		die("sender: want NETNS udp|tcp ADDRESS PORT");
	proto = protocol_number(argv[2]);
	if (proto == IPPROTO_TCP && argc < 7)
		die("sender: want NETNS tcp ADDRESS PORT DEVICE MAC");
	for (int i = proto == IPPROTO_TCP ? 7 : 5; i < argc; i++) {
		if (sscanf(argv[i], "size=%zu", &size) != 1 &&
		    sscanf(argv[i], "gso=%zu", &gso) != 1)
			die("sender: unknown word \"%s\"", argv[i]);
	}
	if (size > 1400 || gso > 65000)
		die("sender: too big");
	netns_enter(argv[1]);
	address_parse(&to, argv[3], atoi(argv[4]));
	fd = socket(to.sa.sa_family,
		    (proto == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, proto);
	if (fd < 0 || connect(fd, &to.sa, address_len(&to)))
		die("sender: %s: %s", argv[3], strerror(errno));
	if (proto == IPPROTO_TCP) {
		len = make_segment(fd, argv[6], gso ? gso : size, gso);
		fd = open_packet_socket(argv[5]);
	} else {
		memset(packet, 'x', size);
		len = size;
	}
	part = (struct iovec){ .iov_base = packet, .iov_len = len };
	for (int i = 0; i < BATCH; i++) {
		batch[i].msg_hdr.msg_iov = &part;
		batch[i].msg_hdr.msg_iovlen = 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (fgets(line, sizeof(line), stdin)) {
		unsigned long count = strtoul(line, NULL, 10);

		if (!count)
			die("sender: \"%s\" is no count", line);
		printf("%.2f\n", send_many(fd, batch, count));
	}
	return 0;
}
