/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Network namespaces, cgroups and addresses, for the packet tools.
 *
 * One process serves many namespaces: a socket belongs to the namespace its thread was in when it
 * was made, and stays there. So a tool enters a namespace, makes the sockets, and enters the next.
 */
#ifndef SLUICE_TOOLS_NETNS_H
#define SLUICE_TOOLS_NETNS_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IPPROTO_SCTP
#define IPPROTO_SCTP 132
#endif

union address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static inline void __attribute__((noreturn, format(printf, 1, 2))) die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

/*
 * A node's programs run in a cgroup of the node's own, $SLUICE_CGROUPS/NAME: sockets made from now on belong
 * to it. Other names have none; who enters one stays where it is, as the cgroup says nothing about the namespace.
 */
static inline void cgroup_enter(const char *name)
{
	const char *folder = getenv("SLUICE_CGROUPS");
	static char last[256];
	char path[512];
	int fd;

	if (!folder || !strcmp(name, last))
		return;
	snprintf(path, sizeof(path), "%s/%s/cgroup.procs", folder, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "0", 1) != 1)
		die("%s: %s", path, strerror(errno));
	close(fd);
	snprintf(last, sizeof(last), "%s", name);
}

/* name: as "ip netns" knows it, a path, or "-" for where the tool was started. */
static inline void netns_enter(const char *name)
{
	static int home = -1;
	char path[256];
	int fd;

	if (home < 0)
		home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (!strcmp(name, "-")) {
		if (setns(home, CLONE_NEWNET))
			die("setns: %s", strerror(errno));
		return;
	}
	snprintf(path, sizeof(path), "%s%s", *name == '/' ? "" : "/run/netns/", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		die("%s: %s", path, strerror(errno));
	close(fd);
	cgroup_enter(name);
}

static inline socklen_t address_len(const union address *a)
{
	return a->sa.sa_family == AF_INET ? sizeof(a->in) : sizeof(a->in6);
}

static inline void address_parse(union address *a, const char *text, uint16_t port)
{
	memset(a, 0, sizeof(*a));
	if (inet_pton(AF_INET, text, &a->in.sin_addr) == 1) {
		a->in.sin_family = AF_INET;
		a->in.sin_port = htons(port);
	} else if (inet_pton(AF_INET6, text, &a->in6.sin6_addr) == 1) {
		a->in6.sin6_family = AF_INET6;
		a->in6.sin6_port = htons(port);
	} else {
		die("\"%s\" is no address", text);
	}
}

static inline uint16_t address_port(const union address *a)
{
	return ntohs(a->sa.sa_family == AF_INET ? a->in.sin_port : a->in6.sin6_port);
}

static inline const char *address_text(const union address *a)
{
	static char text[4][INET6_ADDRSTRLEN];
	static unsigned int next;
	char *t = text[next++ % 4];

	if (a->sa.sa_family == AF_INET)
		inet_ntop(AF_INET, &a->in.sin_addr, t, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, &a->in6.sin6_addr, t, INET6_ADDRSTRLEN);
	return t;
}

/* The first global address of a family in the namespace we are in. */
static inline bool address_own(union address *a, int family)
{
	struct ifaddrs *list, *i;
	bool found = false;

	if (getifaddrs(&list))
		return false;
	for (i = list; i && !found; i = i->ifa_next) {
		const struct sockaddr_in6 *six = (const void *)i->ifa_addr;

		if (!i->ifa_addr || i->ifa_addr->sa_family != family ||
		    (i->ifa_flags & IFF_LOOPBACK))
			continue;
		if (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr))
			continue;
		memset(a, 0, sizeof(*a));
		memcpy(a, i->ifa_addr, family == AF_INET ? sizeof(a->in) : sizeof(a->in6));
		a->in.sin_port = 0;
		found = true;
	}
	freeifaddrs(list);
	return found;
}

static inline int protocol_number(const char *name)
{
	if (!strcmp(name, "tcp"))
		return IPPROTO_TCP;
	if (!strcmp(name, "udp"))
		return IPPROTO_UDP;
	if (!strcmp(name, "sctp"))
		return IPPROTO_SCTP;
	if (!strcmp(name, "icmp"))
		return IPPROTO_ICMP;
	die("\"%s\" is no protocol", name);
}

/* A process that does not get to run for a second must not lose what arrives meanwhile. */
static inline void socket_deepen(int fd)
{
	int bytes = 8 << 20;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
}

static inline uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/*
 * What bulk transfers carry: byte n of the stream is pattern(n). The period is a prime, so that
 * data shifted by any multiple of a segment or page shows.
 */
#define PATTERN_PERIOD 65521

static inline const unsigned char *pattern(uint64_t offset)
{
	static unsigned char bytes[2 * PATTERN_PERIOD];

	if (!bytes[1]) {
		uint32_t x = 1;

		for (size_t i = 0; i < PATTERN_PERIOD; i++) {
			x = x * 1664525 + 1013904223;
			bytes[i] = bytes[i + PATTERN_PERIOD] = (x >> 24) | 1;
		}
	}
	return bytes + offset % PATTERN_PERIOD;
}

#endif
