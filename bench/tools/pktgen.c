// SPDX-License-Identifier: GPL-2.0-only
/*
 * pktgen: UDP packets from the kernel's packet generator, on a device of a network namespace.
 *
 *	pktgen NETNS DEVICE MAC SRC DST PORT COUNT [sport=N[-M]] [dport-last=N] [src-last=ADDRESS]
 *		[dst-last=ADDRESS] [thread=N] [size=N]
 *
 * Sent to the Ethernet address MAC. With sport=N-M each packet has the next source port: as many
 * flows. The same for the other words that name the last of a range, in IPv4; all of them count up together. IPv6 packets have a checksum (there, none would be invalid), which the far end of a veth
 * need not verify. Prints the nanoseconds that a packet took, with two decimals, and how many
 * packets went out. Under an instruction-counting clock a nanosecond is an instruction.
 */
#include "../../tests/integration/tools/netns.h"
#include "mark.h"

#define FOLDER "/proc/net/pktgen/"

static void __attribute__((format(printf, 2, 3))) command(const char *file, const char *fmt, ...)
{
	char path[128], line[128];
	va_list ap;
	int fd, n;

	snprintf(path, sizeof(path), FOLDER "%s", file);
	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	line[n++] = '\n'; /* pgctrl takes the last character for it, whatever it is */
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, line, n) != n)
		die("pktgen: %s: \"%s\": %s", path, line, strerror(errno));
	close(fd);
}

/* "Result: OK: 66318(c66214+d103) usec, 20000 (100byte,0frags)" */
static void print_result(const char *device)
{
	char path[128], text[4096];
	unsigned long us, count;
	const char *line;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), FOLDER "%s", device);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0)
		die("pktgen: %s: %s", path, strerror(errno));
	text[n] = 0;
	line = strstr(text, "Result: OK: ");
	if (!line || sscanf(line, "Result: OK: %lu(%*[^)]) usec, %lu", &us, &count) != 2 || !count)
		die("pktgen: %s", text);
	printf("%.2f %lu\n", us * 1000.0 / count, count);
}

int main(int argc, char **argv)
{
	unsigned int sport = 1000, sport_last = 0, thread = 0, size = 100;
	const char *src_last = NULL, *dst_last = NULL, *dport_last = NULL;
	union address src, dst;
	const char *six;

	if (argc < 8)
		die("pktgen: want NETNS DEVICE MAC SRC DST PORT COUNT");
	netns_enter(argv[1]);
	address_parse(&src, argv[4], 0);
	address_parse(&dst, argv[5], 0);
	for (int i = 8; i < argc; i++) {
		if (!strncmp(argv[i], "src-last=", 9))
			src_last = argv[i] + 9;
		else if (!strncmp(argv[i], "dst-last=", 9))
			dst_last = argv[i] + 9;
		else if (!strncmp(argv[i], "dport-last=", 11))
			dport_last = argv[i] + 11;
		else if (sscanf(argv[i], "sport=%u-%u", &sport, &sport_last) < 1 &&
			 sscanf(argv[i], "thread=%u", &thread) != 1 &&
			 sscanf(argv[i], "size=%u", &size) != 1)
			die("pktgen: unknown word \"%s\"", argv[i]);
	}
	if (sport_last < sport)
		sport_last = sport;

	char worker[32];

	snprintf(worker, sizeof(worker), "kpktgend_%u", thread);
	command(worker, "rem_device_all");
	command(worker, "add_device %s", argv[2]);
	six = dst.sa.sa_family == AF_INET6 ? "6" : "";
	command(argv[2], "count %s", argv[7]);
	command(argv[2], "clone_skb 0");
	command(argv[2], "delay 0");
	command(argv[2], "pkt_size %u", size);
	command(argv[2], "dst_mac %s", argv[3]);
	if (*six) {
		command(argv[2], "flag UDPCSUM");
		command(argv[2], "src6 %s", argv[4]);
		command(argv[2], "dst6 %s", argv[5]);
	} else {
		command(argv[2], "src_min %s", argv[4]);
		command(argv[2], "src_max %s", src_last ?: argv[4]);
		command(argv[2], "dst_min %s", argv[5]);
		command(argv[2], "dst_max %s", dst_last ?: argv[5]);
	}
	command(argv[2], "udp_src_min %u", sport);
	command(argv[2], "udp_src_max %u", sport_last);
	command(argv[2], "udp_dst_min %s", argv[6]);
	command(argv[2], "udp_dst_max %s", dport_last ?: argv[6]);

	int start = open(FOLDER "pgctrl", O_WRONLY | O_CLOEXEC);

	if (start < 0)
		die("pktgen: pgctrl: %s", strerror(errno));
	mark_begin();
	if (write(start, "start\n", 6) != 6) /* returns when all are sent */
		die("pktgen: start: %s", strerror(errno));
	mark_end();
	print_result(argv[2]);
	command(worker, "rem_device_all");
	return 0;
}
