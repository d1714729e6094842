// SPDX-License-Identifier: GPL-2.0-only
/*
 * fill: puts connections through a service into the table, by netlink, as `sluicectl ct restore` does, but
 * makes them up instead of reading them: four million of them are 3 GB of JSON.
 *
 *	fill [--state NAME] [--from N] [--udp] SERVICE PORT BACKEND PORT COUNT
 *
 * In the network namespace it is started in. Client n is 100.64.0.0 + n / 32768 (IPv6: 2001:db8::0 + the
 * same), port 1024 + n % 32768. State: a name of core/conntrack.h, "established" if not given. Prints how many
 * were taken.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/nl.h"
#include "ctl/lib/nl_object.h"

#define PORTS 32768

static void die(const struct sluice_err *err, const char *what)
{
	fprintf(stderr, "fill: %s\n", err ? sluice_err_msg(err) : what);
	exit(1);
}

static int take_count(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	uint64_t *count = arg;

	(void)err;
	if (attrs[SLUICE_A_COUNT])
		*count += nla_get_u32(attrs[SLUICE_A_COUNT]);
	return 0;
}

static uint8_t address(const char *text, struct sluice_addr *a)
{
	memset(a, 0, sizeof(*a));
	if (inet_pton(AF_INET, text, a) == 1)
		return SLUICE_IPV4;
	if (inet_pton(AF_INET6, text, a) == 1)
		return SLUICE_IPV6;
	die(NULL, "an address was expected");
	return 0;
}

static uint8_t state_number(const char *name)
{
	uint8_t state;

	for (state = 0; state < SLUICE_STATE_COUNT; state++)
		if (!strcmp(sluice_state_name(state), name))
			return state;
	die(NULL, "no such state");
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "state", required_argument, NULL, 's' },
						 { "from", required_argument, NULL, 'f' },
						 { "udp", no_argument, NULL, 'u' },
						 {} };
	struct sluice_nl_conn conn = { .state = SLUICE_STATE_TCP_ESTABLISHED,
				       .flags = SLUICE_CONN_SERVICE,
				       .verdict = SLUICE_VERDICT_ALLOW,
				       .staged_verdict = SLUICE_VERDICT_ALLOW };
	struct sluice_addr service, backend, client = {};
	uint64_t taken = 0, n, from = 0, count;
	struct nl_msg *msg = NULL;
	struct sluice_err err = {};
	struct sluice_nl nl;
	uint8_t family, proto = IPPROTO_TCP;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			conn.state = state_number(optarg);
			break;
		case 'f':
			from = strtoull(optarg, NULL, 10);
			break;
		case 'u':
			proto = IPPROTO_UDP;
			break;
		default:
			return 2;
		}
	}
	if (argc - optind != 5)
		die(NULL, "usage: fill [OPTIONS] SERVICE PORT BACKEND PORT COUNT");
	argv += optind;
	family = address(argv[0], &service);
	if (address(argv[2], &backend) != family)
		die(NULL, "service and backend are of different families");
	address(family == SLUICE_IPV4 ? "100.64.0.0" : "2001:db8::", &client);
	count = from + strtoull(argv[4], NULL, 10);

	conn.has = SLUICE_NL_HAS(SLUICE_CONN_A_ORIGINAL) | SLUICE_NL_HAS(SLUICE_CONN_A_REPLY) |
		   SLUICE_NL_HAS(SLUICE_CONN_A_STATE) | SLUICE_NL_HAS(SLUICE_CONN_A_FLAGS) |
		   SLUICE_NL_HAS(SLUICE_CONN_A_VERDICT) |
		   SLUICE_NL_HAS(SLUICE_CONN_A_STAGED_VERDICT);
	conn.original.has = conn.reply.has = ~0U;
	conn.original.t.family = conn.reply.t.family = family;
	conn.original.t.proto = conn.reply.t.proto = proto;
	conn.original.t.dst = service;
	conn.original.t.dport = htons(atoi(argv[1]));
	conn.reply.t.src = backend;
	conn.reply.t.sport = htons(atoi(argv[3]));

	if (sluice_nl_open(&nl, &err))
		die(&err, NULL);
	for (n = from; n < count; n++) {
		struct sluice_addr a = client;
		unsigned int word = family == SLUICE_IPV4 ? 0 : 3;

		a.w[word] = htonl(ntohl(a.w[word]) + n / PORTS);
		conn.original.t.src = a;
		conn.reply.t.dst = a;
		conn.original.t.sport = conn.reply.t.dport = htons(1024 + n % PORTS);
		if (msg && sluice_nl_put_conn(msg, &conn))
			continue;
		if (msg && sluice_nl_call(&nl, msg, take_count, &taken, &err))
			die(&err, NULL);
		msg = sluice_nl_message(&nl, SLUICE_CMD_SET_CONN, SLUICE_NL_MESSAGE_BYTES, &err);
		if (!msg)
			die(&err, NULL);
		sluice_nl_put_conn(msg, &conn);
	}
	if (msg && sluice_nl_call(&nl, msg, take_count, &taken, &err))
		die(&err, NULL);
	sluice_nl_close(&nl);
	printf("%llu\n", (unsigned long long)taken);
	return 0;
}
