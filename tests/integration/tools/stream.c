// SPDX-License-Identifier: GPL-2.0-only
/*
 * stream: a flow that goes on while something happens to its path.
 *
 *	stream [--interval US] [--sport N] NETNS udp|tcp ADDRESS PORT
 *		sends numbered messages (10000 us apart) to an echo server until SIGTERM, waits for
 *		answers still on their way until two seconds were silent and prints
 *			sent=N received=N lost=N gap_ms=N by=NAME retransmits=N
 *		lost: numbers never answered; gap_ms: longest time between two answers; by: who
 *		answered last. A TCP connection that breaks ends it early with broken=WHY.
 *	stream NETNS bulk ADDRESS PORT BYTES
 *		sends that much of the pattern (netns.h) to a sink of echo.c and prints its answer
 *
 * Status 0: nothing lost or broken.
 */
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>

#include "netns.h"

#define MAX_MESSAGES (1u << 22)
#define DRAIN_MS 2000
#define NAP_MS 50

static volatile sig_atomic_t stopping;

static void stop(int sig)
{
	(void)sig;
	stopping = 1;
}

static int open_stream(int proto, const union address *to, uint16_t sport)
{
	int one = 1, fd;

	fd = socket(to->sa.sa_family, proto == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM, proto);
	if (fd < 0)
		die("socket: %s", strerror(errno));
	if (proto == IPPROTO_UDP)
		socket_deepen(fd);
	if (sport) {
		union address a = { .sa.sa_family = to->sa.sa_family };

		if (a.sa.sa_family == AF_INET)
			a.in.sin_port = htons(sport);
		else
			a.in6.sin6_port = htons(sport);
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (bind(fd, &a.sa, address_len(&a)))
			die("bind: %s", strerror(errno));
	}
	if (proto == IPPROTO_TCP)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, &to->sa, address_len(to)))
		die("connect to %s port %u: %s", address_text(to), address_port(to),
		    strerror(errno));
	return fd;
}

static int bulk(const union address *to, uint64_t bytes)
{
	int fd = open_stream(IPPROTO_TCP, to, 0);
	uint64_t sent = 0;
	char line[256];
	size_t len = 0;
	ssize_t n;

	while (sent < bytes) {
		size_t part = bytes - sent < PATTERN_PERIOD ? bytes - sent : PATTERN_PERIOD;

		n = send(fd, pattern(sent), part, MSG_NOSIGNAL);
		if (n < 0)
			die("send after %llu bytes: %s", (unsigned long long)sent, strerror(errno));
		sent += n;
	}
	shutdown(fd, SHUT_WR);
	while (len < sizeof(line) - 1 && (n = recv(fd, line + len, sizeof(line) - 1 - len, 0)) > 0)
		len += n;
	line[len] = 0;
	fputs(line, stdout);
	return strstr(line, " ok\n") ? 0 : 1;
}

/* What flows asks and learns. */
struct flow {
	int fd;
	int proto;
	unsigned char *answered; /* by number */
	uint64_t sent, received;
	uint64_t last_answer, gap;
	char by[128];
	char line[65536];
	size_t len;
	const char *broken;
};

static void take_message(struct flow *f, const char *text)
{
	uint64_t now = now_ms();
	unsigned int number;

	if (sscanf(text, "%127s %*s %*u %u", f->by, &number) != 2 || number >= f->sent)
		return;
	if (!f->answered[number]) {
		f->answered[number] = 1;
		f->received++;
	}
	if (f->last_answer && now - f->last_answer > f->gap)
		f->gap = now - f->last_answer;
	f->last_answer = now;
}

static void take(struct flow *f)
{
	ssize_t n = recv(f->fd, f->line + f->len, sizeof(f->line) - 1 - f->len, MSG_DONTWAIT);
	char *newline;

	if (n < 0 && errno == EAGAIN)
		return;
	if (f->proto == IPPROTO_UDP) {
		if (n > 0) {
			f->line[n] = 0;
			take_message(f, f->line);
		}
		return; /* an ICMP error shows as a lost message */
	}
	if (n <= 0) {
		f->broken = n ? strerror(errno) : "closed";
		return;
	}
	f->len += n;
	f->line[f->len] = 0;
	while ((newline = strchr(f->line, '\n'))) {
		take_message(f, f->line);
		f->len -= newline + 1 - f->line;
		memmove(f->line, newline + 1, f->len + 1);
	}
}

static void say(struct flow *f)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)f->sent);

	if (send(f->fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT) == n)
		f->sent++;
	else if (f->proto == IPPROTO_TCP && errno != EAGAIN)
		f->broken = strerror(errno);
	else if (f->proto == IPPROTO_UDP)
		f->sent++; /* refused: counts as lost */
}

static int flow(int proto, const union address *to, uint16_t sport, unsigned int interval_us)
{
	static struct flow f;
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	struct timespec ts;
	uint64_t next, now;
	int quiet = 0;

	f.fd = open_stream(proto, to, sport);
	f.proto = proto;
	f.answered = calloc(MAX_MESSAGES, 1);
	if (!f.answered)
		die("out of memory");
	clock_gettime(CLOCK_MONOTONIC, &ts);
	next = (uint64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
	while (!stopping && !f.broken && f.sent < MAX_MESSAGES) {
		struct pollfd p = { f.fd, POLLIN, 0 };
		struct timespec wait = { 0 };

		clock_gettime(CLOCK_MONOTONIC, &ts);
		now = (uint64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
		if (now >= next) {
			say(&f);
			/* A host that slept must not be answered by a burst. */
			next = now - next > 10 * interval_us ? now + interval_us :
							       next + interval_us;
		}
		/* Also when the next message is due already: what is never read would pass for lost. */
		if (next > now) {
			wait.tv_sec = (next - now) / 1000000;
			wait.tv_nsec = (next - now) % 1000000 * 1000;
		}
		for (; !f.broken && ppoll(&p, 1, &wait, NULL) > 0; wait = (struct timespec){ 0 })
			take(&f);
	}
	/* Until a while of silence that we have lived through: see probe.c. */
	while (!f.broken && f.received < f.sent && quiet < DRAIN_MS) {
		struct pollfd p = { f.fd, POLLIN, 0 };

		quiet += NAP_MS;
		if (poll(&p, 1, NAP_MS) > 0) {
			take(&f);
			quiet = 0;
		}
	}
	if (proto == IPPROTO_TCP)
		getsockopt(f.fd, IPPROTO_TCP, TCP_INFO, &info, &len);
	printf("sent=%llu received=%llu lost=%llu gap_ms=%llu by=%s retransmits=%u%s%s\n",
	       (unsigned long long)f.sent, (unsigned long long)f.received,
	       (unsigned long long)(f.sent - f.received), (unsigned long long)f.gap,
	       *f.by ? f.by : "-", info.tcpi_total_retrans, f.broken ? " broken=" : "",
	       f.broken ? f.broken : "");
	return f.broken || f.sent != f.received;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "interval", required_argument, NULL, 'i' },
		{ "sport", required_argument, NULL, 's' },
		{ 0 },
	};
	struct sigaction sa = { .sa_handler = stop };
	unsigned int interval = 10000;
	union address to;
	int sport = 0, option;

	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'i')
			interval = atoi(optarg);
		else if (option == 's')
			sport = atoi(optarg);
		else
			return 2;
	}
	argv += optind;
	argc -= optind;
	if (argc < 4)
		die("stream: want NETNS udp|tcp|bulk ADDRESS PORT");
	netns_enter(argv[0]);
	address_parse(&to, argv[2], atoi(argv[3]));
	if (!strcmp(argv[1], "bulk")) {
		if (argc < 5)
			die("stream: bulk wants BYTES");
		return bulk(&to, strtoull(argv[4], NULL, 0));
	}
	return flow(protocol_number(argv[1]), &to, sport, interval);
}
