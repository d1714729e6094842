// SPDX-License-Identifier: GPL-2.0-only
/*
 * pace: what a steady stream of packets meets while something else happens.
 *
 *	pace [--interval US] [--flows N] CLIENT SERVER ADDRESS PORT SERVERPORT
 *
 * A thread in the network namespace CLIENT sends a numbered UDP datagram every interval (1,000 us) to
 * ADDRESS:PORT, from N sockets (64) in turn; another one in SERVER receives on SERVERPORT. Both run before
 * any ordinary task (SCHED_FIFO): what delays a packet is code that does not yield. Prints "ready" once each
 * flow has been answered for, and after SIGTERM
 *	sent=N received=N lost=N late_us=N late_ms_count=N
 * late_us: the longest time from when a packet was due to be sent until it was received;
 * late_ms_count: how many came later than a millisecond after that.
 */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include "tests/integration/tools/netns.h"

#define MAX_FLOWS 4096

struct packet {
	uint64_t number;
	uint64_t due; /* ns, CLOCK_MONOTONIC */
};

static volatile sig_atomic_t stopping;
static uint64_t received, latest, late;
static int server;

static void stop(int sig)
{
	(void)sig;
	stopping = 1;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void sleep_until(uint64_t ns)
{
	struct timespec ts = { ns / 1000000000, ns % 1000000000 };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR && !stopping)
		;
}

static void *receive(void *arg)
{
	struct packet p;

	(void)arg;
	while (recv(server, &p, sizeof(p), 0) == sizeof(p)) {
		uint64_t delay = now_ns() - p.due;

		if (p.due) {
			if (delay > latest)
				latest = delay;
			late += delay > 1000000;
		}
		__atomic_add_fetch(&received, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "interval", required_argument, NULL, 'i' },
						 { "flows", required_argument, NULL, 'f' },
						 {} };
	uint64_t interval = 1000000, sent = 0, due;
	unsigned int flows = 64, i;
	struct sched_param fifo = { .sched_priority = 10 };
	static int sockets[MAX_FLOWS];
	union address to, any;
	pthread_t receiver;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'i':
			interval = strtoull(optarg, NULL, 10) * 1000;
			break;
		case 'f':
			flows = atoi(optarg);
			break;
		default:
			return 2;
		}
	}
	if (argc - optind != 5 || !flows || flows > MAX_FLOWS)
		die("usage: pace [--interval US] [--flows N] CLIENT SERVER ADDRESS PORT SERVERPORT");
	argv += optind;
	address_parse(&to, argv[2], atoi(argv[3]));
	address_parse(&any, to.sa.sa_family == AF_INET ? "0.0.0.0" : "::", atoi(argv[4]));
	netns_enter(argv[1]);
	server = socket(to.sa.sa_family, SOCK_DGRAM, 0);
	if (server < 0 || bind(server, &any.sa, address_len(&any)))
		die("server: %s", strerror(errno));
	socket_deepen(server);
	netns_enter(argv[0]);
	for (i = 0; i < flows; i++) {
		sockets[i] = socket(to.sa.sa_family, SOCK_DGRAM, 0);
		if (sockets[i] < 0 || connect(sockets[i], &to.sa, address_len(&to)))
			die("client: %s", strerror(errno));
	}
	signal(SIGTERM, stop);
	mlockall(MCL_CURRENT | MCL_FUTURE);
	if (sched_setscheduler(0, SCHED_FIFO, &fifo))
		die("sched_setscheduler: %s", strerror(errno));
	if (pthread_create(&receiver, NULL, receive, NULL))
		die("pthread_create failed");

	for (due = now_ns(); !stopping; due += interval) {
		struct packet p = { .number = sent, .due = sent < flows ? 0 : due };

		/* A first packet of each flow makes its connection: not what is timed. */
		if (send(sockets[sent % flows], &p, sizeof(p), 0) == sizeof(p))
			sent++;
		else if (errno != EINTR)
			die("send: %s", strerror(errno));
		if (sent == flows) {
			puts("ready");
			fflush(stdout);
		}
		sleep_until(due + interval);
	}
	for (i = 0; i < 200 && __atomic_load_n(&received, __ATOMIC_ACQUIRE) < sent; i++)
		sleep_until(now_ns() + 10000000);
	printf("sent=%llu received=%llu lost=%lld late_us=%llu late_ms_count=%llu\n",
	       (unsigned long long)sent, (unsigned long long)received, (long long)(sent - received),
	       (unsigned long long)latest / 1000, (unsigned long long)late);
	return received == sent ? 0 : 1;
}
