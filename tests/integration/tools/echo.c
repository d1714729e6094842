// SPDX-License-Identifier: GPL-2.0-only
/*
 * echo: all servers of a test in one process.
 *
 *	echo [--name NAME] [--netns NS] PROTO/PORT[/sink] ... [--name NAME2] [--netns NS2] ...
 *
 * Every socket listens on IPv4 and IPv6. An answer is "NAME PEER PORT " and what was asked, so the
 * client learns who served it and whose address the server saw. TCP and SCTP are asked by lines,
 * UDP by datagrams. A sink (TCP) reads to the end of the stream, compares with the pattern
 * (netns.h) and answers "NAME PEER PORT BYTES ok", or "bad" with the offset.
 *
 * Binds everything, goes to the background, prints its process id.
 */
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "netns.h"

#define LINE_MAX_BYTES 4096

struct server {
	const char *name;
	int fd;
	int proto;
	bool listener;
	bool sink;
	union address peer; /* of a connection */
	uint64_t received;
	int64_t bad; /* offset, or -1 */
	size_t len;
	char line[LINE_MAX_BYTES];
};

static int epoll;

static void watch(struct server *s)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = s };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &ev))
		die("epoll_ctl: %s", strerror(errno));
}

static void listen_on(const char *name, const char *netns, int family, int proto, uint16_t port,
		      bool sink)
{
	int type = proto == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM, one = 1;
	struct server *s = calloc(1, sizeof(*s));
	union address a = { .sa.sa_family = family };

	if (!s)
		die("out of memory");
	/*
	 * SCTP tells its peer all addresses it is bound to. Bound to one, it talks on that one
	 * alone, as a pod behind a service address has to.
	 */
	if (proto == IPPROTO_SCTP && !address_own(&a, family)) {
		free(s);
		return;
	}
	if (family == AF_INET)
		a.in.sin_port = htons(port);
	else
		a.in6.sin6_port = htons(port);
	s->name = name;
	s->proto = proto;
	s->listener = true;
	s->sink = sink;
	s->bad = -1;
	s->fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, proto);
	if (s->fd < 0)
		die("%s: socket, protocol %d: %s", netns, proto, strerror(errno));
	setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (proto == IPPROTO_UDP)
		socket_deepen(s->fd);
	if (family == AF_INET6)
		setsockopt(s->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(s->fd, &a.sa, address_len(&a)))
		die("%s: bind to port %u, protocol %d: %s", netns, port, proto, strerror(errno));
	if (type == SOCK_STREAM && listen(s->fd, 4096))
		die("%s: listen: %s", netns, strerror(errno));
	watch(s);
}

static void drop(struct server *s)
{
	close(s->fd);
	free(s);
}

static void answer_datagram(struct server *s)
{
	static char in[65536], out[65536 + 128];
	union address peer;
	socklen_t plen;
	ssize_t n;
	int head;

	/* Not for ever: on a slow machine they may come faster than they are answered. */
	for (int i = 0; i < 32; i++) {
		plen = sizeof(peer);
		n = recvfrom(s->fd, in, sizeof(in), 0, &peer.sa, &plen);
		if (n < 0)
			return;
		head = snprintf(out, 128, "%s %s %u ", s->name, address_text(&peer),
				address_port(&peer));
		memcpy(out + head, in, n);
		if (head + n > 65487)
			n = 65487 - head;
		sendto(s->fd, out, head + n, 0, &peer.sa, plen);
	}
}

static void answer_line(struct server *s, const char *line, int len)
{
	char out[LINE_MAX_BYTES + 128];
	int n = snprintf(out, sizeof(out), "%s %s %u %.*s\n", s->name, address_text(&s->peer),
			 address_port(&s->peer), len, line);

	if (send(s->fd, out, n, MSG_NOSIGNAL) < 0)
		return; /* the peer is gone; the next read says so */
}

static bool take_lines(struct server *s, ssize_t n)
{
	char *newline;

	s->len += n;
	while ((newline = memchr(s->line, '\n', s->len))) {
		size_t used = newline + 1 - s->line;

		answer_line(s, s->line, newline - s->line);
		memmove(s->line, s->line + used, s->len - used);
		s->len -= used;
	}
	return s->len < sizeof(s->line);
}

static void take_pattern(struct server *s, const char *data, size_t n)
{
	while (n) {
		size_t part = n < PATTERN_PERIOD ? n : PATTERN_PERIOD;

		if (s->bad < 0 && memcmp(pattern(s->received), data, part))
			s->bad = (int64_t)s->received;
		s->received += part;
		data += part;
		n -= part;
	}
}

static void serve(struct server *s)
{
	static char buf[1 << 18];
	ssize_t n;

	if (s->listener && s->proto == IPPROTO_UDP) {
		answer_datagram(s);
		return;
	}
	if (s->listener) {
		struct server *c = calloc(1, sizeof(*c));
		socklen_t plen = sizeof(c->peer);

		if (!c)
			die("out of memory");
		*c = *s;
		c->listener = false;
		c->fd = accept4(s->fd, &c->peer.sa, &plen, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (c->fd < 0)
			free(c);
		else
			watch(c);
		return;
	}
	if (s->sink) {
		char line[64];

		n = recv(s->fd, buf, sizeof(buf), 0);
		if (n > 0) {
			take_pattern(s, buf, n);
			return;
		}
		if (n < 0 && errno == EAGAIN)
			return;
		if (n == 0) {
			if (s->bad < 0)
				snprintf(line, sizeof(line), "%llu ok",
					 (unsigned long long)s->received);
			else
				snprintf(line, sizeof(line), "%llu bad at %lld",
					 (unsigned long long)s->received, (long long)s->bad);
			answer_line(s, line, (int)strlen(line));
		}
		drop(s);
		return;
	}
	n = recv(s->fd, s->line + s->len, sizeof(s->line) - s->len, 0);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || !take_lines(s, n))
		drop(s);
}

int main(int argc, char **argv)
{
	const char *name = "echo", *netns = "-";
	struct rlimit files = { 16384, 16384 };
	struct epoll_event ev[64];
	pid_t pid;

	setrlimit(RLIMIT_NOFILE, &files);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 1; i < argc; i++) {
		char proto[8], sink[8] = "";
		unsigned int port;

		if (!strcmp(argv[i], "--name") && i + 1 < argc) {
			name = argv[++i];
			continue;
		}
		if (!strcmp(argv[i], "--netns") && i + 1 < argc) {
			netns = argv[++i];
			netns_enter(netns);
			continue;
		}
		if (sscanf(argv[i], "%7[a-z]/%u/%7s", proto, &port, sink) < 2 || port > 65535)
			die("echo: \"%s\" is not PROTO/PORT", argv[i]);
		listen_on(name, netns, AF_INET, protocol_number(proto), port, *sink);
		listen_on(name, netns, AF_INET6, protocol_number(proto), port, *sink);
	}
	pid = fork();
	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (pid) {
		printf("%d\n", pid);
		return 0;
	}
	setsid();
	if (!freopen("/dev/null", "r", stdin) || !freopen("/dev/null", "w", stdout))
		return 1;
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int n = epoll_wait(epoll, ev, 64, -1);

		for (int i = 0; i < n; i++)
			serve(ev[i].data.ptr);
	}
}
