// SPDX-License-Identifier: GPL-2.0-only
/*
 * talk: TCP between two network namespaces, both ends in one thread, so that nothing but the work
 * itself is timed: whatever one end sends has arrived when the call returns.
 *
 *	talk crr CLIENT SERVER ADDRESS PORT LISTEN COUNT [ask=N] [answer=N]
 *		COUNT times: connect, request (ask bytes, 64), response (answer bytes, 64), close
 *	talk keepalive ... the same words
 *		COUNT requests and responses on one connection
 *	talk bulk ... the same words
 *		COUNT times a MiB from the client to the server
 *
 * The server listens on LISTEN in the namespace SERVER, the client connects to ADDRESS PORT from
 * CLIENT. A tenth of COUNT goes before, unmeasured. Prints the nanoseconds that one of COUNT took.
 */
#include <netinet/tcp.h>
#include <poll.h>

#include "../../tests/integration/tools/netns.h"
#include "mark.h"

#define MEBIBYTE (1u << 20)

static size_t ask = 64, answer = 64;
static char buffer[MEBIBYTE];
static union address to;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static int listen_on(const union address *any)
{
	int fd = socket(any->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, &any->sa, address_len(any)) || listen(fd, 128))
		die("talk: listen: %s", strerror(errno));
	return fd;
}

static int connect_client(void)
{
	int fd = socket(to.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
	    connect(fd, &to.sa, address_len(&to)))
		die("talk: connect: %s", strerror(errno));
	return fd;
}

static int accept_client(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), one = 1;

	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		die("talk: accept: %s", strerror(errno));
	return fd;
}

static void move(int from, int into, size_t n)
{
	if (send(from, buffer, n, 0) != (ssize_t)n)
		die("talk: send: %s", strerror(errno));
	while (n) {
		ssize_t got = recv(into, buffer, n, 0);

		if (got <= 0)
			die("talk: recv: %s", got ? strerror(errno) : "closed");
		n -= got;
	}
}

static void crr(int listener)
{
	int client = connect_client(), server = accept_client(listener);

	move(client, server, ask);
	move(server, client, answer);
	close(client);
	if (recv(server, buffer, 1, 0) != 0)
		die("talk: the client's end did not arrive");
	close(server);
}

/* A MiB, in turns: as much as the socket takes, then as much as has arrived. */
static void bulk(int client, int server)
{
	size_t sent = 0, received = 0;

	while (received < MEBIBYTE) {
		ssize_t n = sent < MEBIBYTE ? send(client, buffer, MEBIBYTE - sent, MSG_DONTWAIT) :
					      0;

		if (n < 0 && errno != EAGAIN)
			die("talk: send: %s", strerror(errno));
		sent += n < 0 ? 0 : n;
		n = recv(server, buffer, sizeof(buffer), MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN) {
			struct pollfd wait = { .fd = server, .events = POLLIN };

			if (poll(&wait, 1, 5000) != 1)
				die("talk: nothing arrives");
			continue;
		}
		if (n <= 0)
			die("talk: recv: %s", n ? strerror(errno) : "closed");
		received += n;
	}
}

int main(int argc, char **argv)
{
	int listener, client = -1, server = -1;
	unsigned long count;
	uint64_t began = 0;
	bool is_crr, is_bulk;
	union address any;

	if (argc < 8)
		die("talk: want crr|keepalive|bulk CLIENT SERVER ADDRESS PORT LISTEN COUNT");
	is_crr = !strcmp(argv[1], "crr");
	is_bulk = !strcmp(argv[1], "bulk");
	if (!is_crr && !is_bulk && strcmp(argv[1], "keepalive"))
		die("talk: \"%s\"?", argv[1]);
	address_parse(&to, argv[4], atoi(argv[5]));
	address_parse(&any, to.sa.sa_family == AF_INET ? "0.0.0.0" : "::", atoi(argv[6]));
	count = strtoul(argv[7], NULL, 10);
	for (int i = 8; i < argc; i++) {
		if (sscanf(argv[i], "ask=%zu", &ask) != 1 &&
		    sscanf(argv[i], "answer=%zu", &answer) != 1)
			die("talk: unknown word \"%s\"", argv[i]);
	}
	if (!count || !ask || !answer || ask > sizeof(buffer) || answer > sizeof(buffer))
		die("talk: bad numbers");

	netns_enter(argv[3]);
	listener = listen_on(&any);
	netns_enter(argv[2]);
	if (!is_crr) {
		client = connect_client();
		server = accept_client(listener);
	}
	for (unsigned long i = 0; i < count + count / 10; i++) {
		if (i == count / 10) {
			mark_begin();
			began = now_ns();
		}
		if (is_crr) {
			crr(listener);
		} else if (is_bulk) {
			bulk(client, server);
		} else {
			move(client, server, ask);
			move(server, client, answer);
		}
	}
	began = now_ns() - began;
	mark_end();
	printf("%.2f\n", (double)began / count);
	return 0;
}
