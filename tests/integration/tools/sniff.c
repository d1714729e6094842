// SPDX-License-Identifier: GPL-2.0-only
/*
 * sniff: what arrives at a device.
 *
 *	sniff NETNS DEVICE
 *
 * Prints "ready", then a line for each IP packet that comes in, until it is killed:
 *
 *	tcp SRC SPORT DST DPORT LENGTH flags=N csum=good|bad|none|offload
 *	udp|sctp SRC SPORT DST DPORT LENGTH csum=...
 *	other SRC PROTOCOL DST 0 LENGTH		also fragments (protocol 44)
 *
 * csum: of TCP and UDP; "offload" where the kernel has left it to a device that never comes.
 */
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "netns.h"
#include "wire.h"

static const char *checksum(const unsigned char *addrs, size_t naddrs, int proto,
			    const unsigned char *l4, size_t n, bool offload)
{
	uint32_t sum;

	if (offload)
		return "offload";
	if (proto == IPPROTO_UDP && n >= 8 && !l4[6] && !l4[7] && naddrs == 8)
		return "none"; /* IPv4 may go without */
	sum = sum_add(proto + n, addrs, naddrs);
	sum = sum_add(sum, l4, n);
	return sum_fold(sum) == 0xffff ? "good" : "bad";
}

static void print_packet(const unsigned char *p, size_t len, bool offload)
{
	union address src = { 0 }, dst = { 0 };
	const unsigned char *addrs, *l4;
	size_t naddrs, off, end;
	int proto;

	if (len < 20)
		return;
	if (p[0] >> 4 == 4) {
		src.sa.sa_family = dst.sa.sa_family = AF_INET;
		addrs = p + 12;
		naddrs = 8;
		memcpy(&src.in.sin_addr, p + 12, 4);
		memcpy(&dst.in.sin_addr, p + 16, 4);
		off = (p[0] & 15) * 4u;
		proto = (p[6] << 8 | p[7]) & 0x3fff ? 44 : p[9];
		end = p[2] << 8 | p[3];
	} else if (p[0] >> 4 == 6 && len >= 40) {
		src.sa.sa_family = dst.sa.sa_family = AF_INET6;
		addrs = p + 8;
		naddrs = 32;
		memcpy(&src.in6.sin6_addr, p + 8, 16);
		memcpy(&dst.in6.sin6_addr, p + 24, 16);
		off = 40;
		proto = p[6];
		end = 40 + (p[4] << 8 | p[5]);
	} else {
		return;
	}
	if (end > len)
		end = len;
	l4 = p + off;
	if (off + 8 > end ||
	    (proto != IPPROTO_TCP && proto != IPPROTO_UDP && proto != IPPROTO_SCTP)) {
		printf("other %s %d %s 0 %zu\n", address_text(&src), proto, address_text(&dst),
		       end);
		return;
	}
	printf("%s %s %u %s %u %zu",
	       proto == IPPROTO_TCP ? "tcp" :
	       proto == IPPROTO_UDP ? "udp" :
				      "sctp",
	       address_text(&src), l4[0] << 8 | l4[1], address_text(&dst), l4[2] << 8 | l4[3], end);
	if (proto == IPPROTO_TCP && off + 20 <= end)
		printf(" flags=%u", l4[13]);
	if (proto != IPPROTO_SCTP)
		printf(" csum=%s", checksum(addrs, naddrs, proto, l4, end - off, offload));
	putchar('\n');
}

int main(int argc, char **argv)
{
	static unsigned char buf[1 << 18];
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int fd, one = 1;

	if (argc != 3)
		die("sniff: want NETNS DEVICE");
	netns_enter(argv[1]);
	fd = socket(AF_PACKET, SOCK_DGRAM, 0);
	at.sll_ifindex = if_nametoindex(argv[2]);
	if (fd < 0 || !at.sll_ifindex || bind(fd, (void *)&at, sizeof(at)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)))
		die("sniff: %s: %s", argv[2], strerror(errno));
	socket_deepen(fd);
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	for (;;) {
		char control[256];
		struct sockaddr_ll from;
		struct iovec iov = { buf, sizeof(buf) };
		struct msghdr msg = { .msg_name = &from,
				      .msg_namelen = sizeof(from),
				      .msg_iov = &iov,
				      .msg_iovlen = 1,
				      .msg_control = control,
				      .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(fd, &msg, 0);
		struct cmsghdr *c;
		bool offload = false;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			die("sniff: %s", strerror(errno));
		if (from.sll_pkttype == PACKET_OUTGOING)
			continue;
		for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
			struct tpacket_auxdata aux;

			if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
				continue;
			memcpy(&aux, CMSG_DATA(c), sizeof(aux));
			offload = aux.tp_status & TP_STATUS_CSUMNOTREADY;
		}
		print_packet(buf, n, offload);
	}
}
