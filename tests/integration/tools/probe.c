// SPDX-License-Identifier: GPL-2.0-only
/*
 * probe: can A talk to B? Any number of probes at once.
 *
 *	probe [--timeout MS] NETNS PROTO ADDRESS PORT [KEY=VALUE ...]
 *	probe [--timeout MS] --batch <probes, one a line, the same words
 *
 * PROTO is tcp, udp, sctp or icmp (PORT is then ignored). Keys: count=N (that many probes at
 * once), sport=N, src=ADDRESS, size=N (bytes asked; all of the answer is compared), ttl=N.
 *
 * Prints one line a probe, in the order asked:
 *
 *	allow NAME PEER PORT	answered (tests/integration/tools/echo.c); icmp: "allow ADDRESS"
 *	deny			silence for as long as the timeout (2000 ms; $PROBE_TIMEOUT)
 *	reject tcp		refused by a reset, or an SCTP abort
 *	reject T/C ADDRESS	refused by an ICMP message of type T and code C from ADDRESS
 *	unreachable		refused by an ICMP message of another kind (TCP, SCTP)
 *	broken WHY		an answer that is not the one expected, or a local error
 *
 * All probes run in one poll loop: what is denied costs one timeout for all together.
 */
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h> /* which linux/errqueue.h needs and does not include */

#include <linux/errqueue.h>

#include "netns.h"

#define MAX_PROBES 8192
#define RESEND_MS 400
#define NAP_MS 50
#define LONGEST_MS 120000

struct probe {
	char netns[128];
	int proto;
	int family;
	union address to, from;
	bool have_from;
	uint16_t sport;
	size_t size;
	int ttl;
	int fd;
	bool connecting;
	bool done;
	uint64_t sent_at;
	uint16_t ident;
	char *answer; /* received so far */
	size_t len;
	char verdict[256];
};

static struct probe *probes;
static size_t n_probes;
static int timeout_ms = 2000;

static void __attribute__((format(printf, 2, 3))) finish(struct probe *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->verdict, sizeof(p->verdict), fmt, ap);
	va_end(ap);
	p->done = true;
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

static void parse_words(char **w, int n)
{
	struct probe *p = &probes[n_probes];
	int count = 1;

	if (n < 4)
		die("probe: want NETNS PROTO ADDRESS PORT");
	if (n_probes >= MAX_PROBES)
		die("probe: more than %d probes", MAX_PROBES);
	memset(p, 0, sizeof(*p));
	snprintf(p->netns, sizeof(p->netns), "%s", w[0]);
	p->proto = protocol_number(w[1]);
	address_parse(&p->to, w[2], atoi(w[3]));
	p->family = p->to.sa.sa_family;
	p->size = 5;
	for (int i = 4; i < n; i++) {
		if (!strncmp(w[i], "count=", 6))
			count = atoi(w[i] + 6);
		else if (!strncmp(w[i], "sport=", 6))
			p->sport = atoi(w[i] + 6);
		else if (!strncmp(w[i], "size=", 5))
			p->size = atoi(w[i] + 5);
		else if (!strncmp(w[i], "ttl=", 4))
			p->ttl = atoi(w[i] + 4);
		else if (!strncmp(w[i], "src=", 4)) {
			address_parse(&p->from, w[i] + 4, 0);
			p->have_from = true;
		} else {
			die("probe: unknown key \"%s\"", w[i]);
		}
	}
	if (p->size > 65000 ||
	    (p->proto != IPPROTO_UDP && p->proto != IPPROTO_ICMP && p->size > 4000))
		die("probe: size %zu is too large", p->size);
	n_probes++;
	for (; count > 1 && n_probes < MAX_PROBES; count--)
		probes[n_probes++] = *p;
}

static void parse_line(char *line)
{
	char *words[16], *save = NULL, *w;
	int n = 0;

	for (w = strtok_r(line, " \t\n", &save); w && n < 16; w = strtok_r(NULL, " \t\n", &save))
		words[n++] = w;
	if (n)
		parse_words(words, n);
}

static void send_echo(struct probe *p)
{
	unsigned char buf[65536] = { 0 };
	struct icmphdr *h = (void *)buf;
	uint32_t sum = 0;

	h->type = p->family == AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
	h->un.echo.id = htons(p->ident);
	h->un.echo.sequence = htons(1);
	memcpy(buf + 8, pattern(0), p->size);
	if (p->family == AF_INET) {
		for (size_t i = 0; i < 8 + p->size; i += 2)
			sum += buf[i] | buf[i + 1] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
		h->checksum = ~sum;
	}
	if (send(p->fd, buf, 8 + p->size, 0) < 0 && errno != ENOBUFS)
		finish(p, "broken send: %s", strerror(errno));
}

static void send_question(struct probe *p)
{
	char buf[65536];

	p->sent_at = now_ms();
	if (p->proto == IPPROTO_ICMP) {
		send_echo(p);
		return;
	}
	memcpy(buf, pattern(0), p->size);
	for (size_t i = 0; i < p->size; i++) /* printable: TCP asks by lines */
		buf[i] = 'a' + (unsigned char)buf[i] % 26;
	if (p->proto != IPPROTO_UDP)
		buf[p->size - 1] = '\n';
	/* ENOBUFS: a program at the device's egress dropped it, of which the sender hears where it asks for errors. */
	if (send(p->fd, buf, p->size, MSG_NOSIGNAL) < 0 && errno != EAGAIN &&
	    errno != ECONNREFUSED && errno != EHOSTUNREACH && errno != EMSGSIZE && errno != ENOBUFS)
		finish(p, "broken send: %s", strerror(errno));
}

static void start(struct probe *p)
{
	int one = 1, family = p->family, type, proto = p->proto;

	p->fd = -1;
	netns_enter(p->netns);
	type = proto == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM;
	if (proto == IPPROTO_ICMP) {
		type = SOCK_RAW;
		proto = family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6;
		p->ident = (uint16_t)(getpid() * 31 + (p - probes));
	}
	p->fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, proto);
	if (p->fd < 0) {
		finish(p, "broken socket: %s", strerror(errno));
		return;
	}
	if (p->ttl && family == AF_INET)
		setsockopt(p->fd, IPPROTO_IP, IP_TTL, &p->ttl, sizeof(p->ttl));
	else if (p->ttl)
		setsockopt(p->fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &p->ttl, sizeof(p->ttl));
	/* For SCTP too: without it an ICMP error is forgotten at once. */
	if (p->proto != IPPROTO_TCP) {
		setsockopt(p->fd, IPPROTO_IP, IP_RECVERR, &one, sizeof(one));
		if (family == AF_INET6)
			setsockopt(p->fd, IPPROTO_IPV6, IPV6_RECVERR, &one, sizeof(one));
	}
	/* As in echo.c: an SCTP end that is bound to one address talks on that one alone. */
	if (p->proto == IPPROTO_SCTP && !p->have_from)
		p->have_from = address_own(&p->from, family);
	if (p->sport || p->have_from) {
		p->from.sa.sa_family = family;
		if (family == AF_INET)
			p->from.in.sin_port = htons(p->sport);
		else
			p->from.in6.sin6_port = htons(p->sport);
		setsockopt(p->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		setsockopt(p->fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
		if (bind(p->fd, &p->from.sa, address_len(&p->from))) {
			finish(p, "broken bind: %s", strerror(errno));
			return;
		}
	}
	p->sent_at = now_ms();
	if (connect(p->fd, &p->to.sa, address_len(&p->to))) {
		if (errno == EINPROGRESS)
			p->connecting = true;
		else if (errno == ECONNREFUSED)
			finish(p, "reject tcp");
		else
			finish(p, "broken connect: %s", strerror(errno));
	} else {
		send_question(p);
	}
}

/* An ICMP message about what we sent. */
static void take_error(struct probe *p)
{
	char control[512], data[64];
	struct iovec iov = { data, sizeof(data) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c;

	if (recvmsg(p->fd, &msg, MSG_ERRQUEUE) < 0)
		return;
	for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		struct sock_extended_err ee;
		union address from;

		if (c->cmsg_type != IP_RECVERR && c->cmsg_type != IPV6_RECVERR)
			continue;
		memcpy(&ee, CMSG_DATA(c), sizeof(ee));
		if (ee.ee_origin != SO_EE_ORIGIN_ICMP && ee.ee_origin != SO_EE_ORIGIN_ICMP6) {
			finish(p, "broken %s", strerror((int)ee.ee_errno));
			return;
		}
		if (ee.ee_errno == EMSGSIZE) /* the path's MTU: no verdict, it is asked again */
			return;
		memcpy(&from, CMSG_DATA(c) + sizeof(ee),
		       p->family == AF_INET ? sizeof(from.in) : sizeof(from.in6));
		finish(p, "reject %u/%u %s", ee.ee_type, ee.ee_code, address_text(&from));
		return;
	}
}

static void take_echo(struct probe *p)
{
	unsigned char buf[65536];
	union address from;
	socklen_t flen = sizeof(from);
	ssize_t n = recvfrom(p->fd, buf, sizeof(buf), 0, &from.sa, &flen);
	size_t off = 0;

	if (n < 0)
		return;
	if (p->family == AF_INET)
		off = (buf[0] & 15) * 4u;
	if ((size_t)n < off + 8 || buf[off] != (p->family == AF_INET ? 0 : 129) ||
	    (buf[off + 4] << 8 | buf[off + 5]) != p->ident)
		return;
	if ((size_t)n != off + 8 + p->size || memcmp(buf + off + 8, pattern(0), p->size))
		finish(p, "broken echo of %zd bytes", n);
	else
		finish(p, "allow %s", address_text(&from));
}

static void judge_answer(struct probe *p)
{
	char name[128], peer[64];
	unsigned int port;
	int head = 0;
	size_t body;

	if (sscanf(p->answer, "%127s %63s %u %n", name, peer, &port, &head) < 3 || !head) {
		finish(p, "broken answer");
		return;
	}
	body = p->len - head;
	if (body != p->size) {
		finish(p, "broken answer of %zu bytes to %zu", body, p->size);
		return;
	}
	for (size_t i = 0; i + 1 < body; i++) {
		if (p->answer[head + i] != 'a' + pattern(0)[i] % 26) {
			finish(p, "broken byte %zu of the answer", i);
			return;
		}
	}
	finish(p, "allow %s %s %u", name, peer, port);
}

static void take_answer(struct probe *p)
{
	ssize_t n;

	if (!p->answer)
		p->answer = malloc(66000);
	if (!p->answer)
		die("out of memory");
	n = recv(p->fd, p->answer + p->len, 65999 - p->len, 0);
	if (n < 0) {
		if (errno == ECONNREFUSED || errno == ECONNRESET)
			finish(p, "reject tcp");
		else if (errno != EAGAIN)
			finish(p, "broken recv: %s", strerror(errno));
		return;
	}
	if (n == 0 && p->proto != IPPROTO_UDP) {
		finish(p, "broken connection closed");
		return;
	}
	p->len += n;
	p->answer[p->len] = 0;
	if (p->proto == IPPROTO_UDP || memchr(p->answer, '\n', p->len))
		judge_answer(p);
}

static void take(struct probe *p, short events)
{
	if (p->connecting) {
		int error = 0;
		socklen_t len = sizeof(error);

		if (!(events & (POLLOUT | POLLERR | POLLHUP)))
			return;
		p->connecting = false;
		getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len);
		if (error == ECONNREFUSED)
			finish(p, "reject tcp");
		else if (error == EHOSTUNREACH || error == ENETUNREACH)
			finish(p, "unreachable");
		else if (error == ETIMEDOUT)
			finish(p, "deny");
		else if (error)
			finish(p, "broken connect: %s", strerror(error));
		else
			send_question(p);
		return;
	}
	if ((events & POLLERR) && (p->proto == IPPROTO_UDP || p->proto == IPPROTO_ICMP))
		take_error(p);
	if (!p->done && (events & (POLLIN | POLLERR | POLLHUP))) {
		if (p->proto == IPPROTO_ICMP)
			take_echo(p);
		else
			take_answer(p);
	}
}

int main(int argc, char **argv)
{
	struct rlimit files = { 16384, 16384 };
	const char *env = getenv("PROBE_TIMEOUT");
	struct pollfd *fds;
	uint64_t deadline;
	int i = 1, quiet = 0;

	setrlimit(RLIMIT_NOFILE, &files);
	signal(SIGPIPE, SIG_IGN);
	probes = calloc(MAX_PROBES, sizeof(*probes));
	fds = calloc(MAX_PROBES, sizeof(*fds));
	if (!probes || !fds)
		die("out of memory");
	if (env)
		timeout_ms = atoi(env);
	if (i + 1 < argc && !strcmp(argv[i], "--timeout")) {
		timeout_ms = atoi(argv[i + 1]);
		i += 2;
	}
	if (i < argc && !strcmp(argv[i], "--batch")) {
		char line[512];

		while (fgets(line, sizeof(line), stdin))
			parse_line(line);
	} else {
		parse_words(argv + i, argc - i);
	}
	for (size_t p = 0; p < n_probes; p++)
		start(&probes[p]);
	/*
	 * The timeout is one of silence, in naps that found nothing. On a busy host a guest stands still for
	 * longer than any timeout, with answers under way; then a nap of a second counts as one of 50 ms.
	 */
	deadline = now_ms() + LONGEST_MS;
	while (quiet < timeout_ms && now_ms() < deadline) {
		size_t open = 0;
		int ready;

		for (size_t p = 0; p < n_probes; p++) {
			fds[p].fd = probes[p].done ? -1 : probes[p].fd;
			fds[p].events = probes[p].connecting ? POLLOUT : POLLIN;
			open += !probes[p].done;
		}
		if (!open)
			break;
		ready = poll(fds, n_probes, NAP_MS);
		if (ready < 0)
			continue;
		quiet = ready ? 0 : quiet + NAP_MS;
		for (size_t p = 0; p < n_probes; p++) {
			if (!probes[p].done && fds[p].revents)
				take(&probes[p], fds[p].revents);
			if (!probes[p].done && !probes[p].connecting &&
			    (probes[p].proto == IPPROTO_UDP || probes[p].proto == IPPROTO_ICMP) &&
			    now_ms() - probes[p].sent_at > RESEND_MS)
				send_question(&probes[p]);
		}
	}
	for (size_t p = 0; p < n_probes; p++) {
		if (!probes[p].done)
			finish(&probes[p], "deny");
		puts(probes[p].verdict);
	}
	return 0;
}
