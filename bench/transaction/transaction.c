// SPDX-License-Identifier: GPL-2.0-only
/*
 * What transactions cost the kernel: the data plane's own client, with made-up objects.
 *
 *	transaction IFINDEX SERVICES BACKENDS RULES PEERS
 *
 * IFINDEX is a pod's interface. Prints "name value" lines; times in nanoseconds of CLOCK_MONOTONIC, which
 * are instructions in a guest that counts them. The kernel does all of a message inside of sendmsg(), so
 * the time in there is the kernel's; libnl's calls of it end up here.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/ruleset.h"
#include "ctl/lib/alloc.h"
#include "ctl/lib/dataplane_netlink.h"
#include "ctl/lib/ruleset_builder.h"

#define CHANGES 21

static uint64_t in_kernel; /* since it was last set to 0 */
static unsigned long messages;

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	uint64_t began = now();
	ssize_t ret = syscall(SYS_sendmsg, fd, msg, flags);
	int error = errno;

	in_kernel += now() - began;
	messages++;
	errno = error;
	return ret;
}

static struct sluice_dataplane *dp;

static void must(int ret, const struct sluice_err *err)
{
	if (!ret)
		return;
	fprintf(stderr, "transaction: %s\n", sluice_err_msg(err));
	exit(1);
}

static struct sluice_addr address(uint32_t base, uint32_t n)
{
	return (struct sluice_addr){ { sluice_htonl(base + n) } };
}

static void set_service(uint32_t n, uint32_t n_backends, uint32_t shift)
{
	struct sluice_dp_backend *backends = sluice_zalloc(n_backends * sizeof(*backends));
	struct sluice_dp_service s = { .addr = address(0x0a600000, n),
				       .port = 80,
				       .proto = 6,
				       .family = SLUICE_IPV4,
				       .backends = backends,
				       .n_backends = n_backends };
	char name[64];
	SLUICE_ERR(err);
	uint32_t i;

	for (i = 0; i < n_backends; i++) {
		backends[i].addr = address(0x0a800000, n * n_backends + i + shift);
		backends[i].port = 8080;
	}
	snprintf(name, sizeof(name), "tenant-%u/app-%u:http", n % 40, n);
	s.name = name;
	must(dp->ops->set_service(dp, &s, &err), &err);
	free(backends);
}

static void set_peer(uint32_t n, uint32_t class)
{
	struct sluice_dp_peer p = { .addr = address(0x0a800000, n),
				    .plen = 32,
				    .family = SLUICE_IPV4,
				    .class = class };
	char name[64];
	SLUICE_ERR(err);

	snprintf(name, sizeof(name), "tenant-%u/pod-%u", n % 40, n);
	p.name = name;
	must(dp->ops->set_peer(dp, &p, &err), &err);
}

/* Each rule allows one class on one port. */
static void set_rules(uint32_t n, uint32_t shift, bool names)
{
	struct sluice_build_rule *rules = sluice_zalloc(n * sizeof(*rules));
	uint32_t *classes = sluice_zalloc(n * sizeof(*classes)), i;
	struct sluice_port_range *ports = sluice_zalloc(n * sizeof(*ports));
	struct sluice_dp_ruleset set = { .id = 1 };
	struct sluice_ruleset *blob;
	SLUICE_ERR(err);

	for (i = 0; i < n; i++) {
		struct sluice_dp_rule r = { .id = i + 1, .policy = "tenant-0/rules" };
		char name[32];

		classes[i] = i + 1 + shift;
		ports[i].lo = ports[i].hi = sluice_port_key(6, 1000 + i % 500);
		rules[i] = (struct sluice_build_rule){ .id = i + 1,
						       .action = SLUICE_ACTION_ALLOW,
						       .tier = SLUICE_TIER_POLICY,
						       .classes = &classes[i],
						       .n_classes = 1,
						       .ports = &ports[i],
						       .n_ports = 1 };
		if (!names)
			continue;
		snprintf(name, sizeof(name), "ingress[%u]", i);
		r.rule = name;
		must(dp->ops->set_rule(dp, &r, &err), &err);
	}
	must(sluice_ruleset_build(rules, n, SLUICE_ACTION_DENY, &blob, &err), &err);
	set.blob = blob;
	must(dp->ops->set_ruleset(dp, &set, &err), &err);
	free(blob);
	free(rules);
	free(classes);
	free(ports);
}

static void set_endpoint(uint32_t ifindex)
{
	struct sluice_dp_addr addr = { address(0x0a800000, 0), SLUICE_IPV4 };
	struct sluice_dp_endpoint e = { .ifindex = ifindex,
					.name = "tenant-0/pod-0",
					.container = "c/eth0",
					.addrs = &addr,
					.n_addrs = 1,
					.ingress = 1,
					.open = true };
	SLUICE_ERR(err);

	must(dp->ops->set_endpoint(dp, &e, &err), &err);
}

static uint64_t began;

static void begin(void)
{
	SLUICE_ERR(err);

	in_kernel = messages = 0;
	began = now();
	must(dp->ops->begin(dp, &err), &err);
}

static void commit(bool sweep)
{
	SLUICE_ERR(err);

	must(dp->ops->commit(dp, sweep, &err), &err);
	began = now() - began;
}

static void tell(const char *name)
{
	printf("%s.kernel %llu\n%s.total %llu\n%s.messages %lu\n", name,
	       (unsigned long long)in_kernel, name, (unsigned long long)began, name, messages);
	fflush(stdout);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The medians of several changes. */
static void repeat(const char *name, void (*change)(uint32_t n), uint32_t times)
{
	uint64_t kernel[CHANGES], total[CHANGES];
	uint32_t i;

	for (i = 0; i < times; i++) {
		begin();
		change(i + 1);
		commit(false);
		kernel[i] = in_kernel;
		total[i] = began;
		/* As apart as changes are: what died is buried in between. */
		usleep(300000);
	}
	qsort(kernel, times, sizeof(*kernel), compare);
	qsort(total, times, sizeof(*total), compare);
	in_kernel = kernel[times / 2];
	began = total[times / 2];
	tell(name);
}

static uint32_t n_services, n_backends, n_rules, n_peers;

static void change_endpoint(uint32_t n)
{
	set_service(n_services / 2, n_backends, n % 2);
}

static void change_rules(uint32_t n)
{
	set_rules(n_rules, n, false);
}

static void change_policy(uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n_peers; i++)
		set_peer(i, 1 + (i + n) % 100);
}

int main(int argc, char **argv)
{
	uint32_t ifindex, i;

	if (argc != 6) {
		fprintf(stderr, "usage: transaction IFINDEX SERVICES BACKENDS RULES PEERS\n");
		return 2;
	}
	ifindex = strtoul(argv[1], NULL, 10);
	n_services = strtoul(argv[2], NULL, 10);
	n_backends = n_services ? strtoul(argv[3], NULL, 10) / n_services : 0;
	n_rules = strtoul(argv[4], NULL, 10);
	n_peers = strtoul(argv[5], NULL, 10);
	dp = sluice_dataplane_netlink_new();

	begin();
	for (i = 0; i < n_services; i++)
		set_service(i, n_backends, 0);
	commit(true);
	tell("load");
	if (n_services)
		repeat("endpoint", change_endpoint, CHANGES);

	begin();
	for (i = 0; i < n_peers; i++)
		set_peer(i, 1 + i % 100);
	if (n_rules)
		set_rules(n_rules, 0, true);
	if (n_rules)
		set_endpoint(ifindex);
	commit(false);
	tell("policy-load");
	if (n_rules)
		repeat("rules", change_rules, 3);
	if (n_peers)
		repeat("policy", change_policy, 3);
	dp->ops->close(dp);
	return 0;
}
