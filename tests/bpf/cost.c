// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a packet costs: pktgen in pod a, dropped at the tc ingress of pod b, less the same dropped at the host's end
 * of pod a's interface. In a guest whose clock counts instructions, those; the programs' maps are filled by hand.
 *
 *	tests/integration/vm --kernel 6.12 --icount -- build/tests/bpf/cost build/bpf/sluice.bpf.o build/bench/tools/pktgen
 *
 * With the name of a measurement that one alone, and the kernel's symbols go where bench/profile would have them.
 */
#define BED_BUCKETS 4096
#include "bed.h"
#include <sys/syscall.h>

#define TCX_INGRESS 46 /* enum bpf_attach_type, in headers newer than Debian 12's */

#define PACKETS 4000
#define FLOWS 40

static const char *generator;

static double pktgen(const char *src, const char *dst, uint32_t port, uint32_t sport,
		     uint32_t flows, uint32_t count)
{
	char command[512];
	double cost = 0;
	FILE *p;

	snprintf(command, sizeof(command),
		 "%s cost-a pod-a-peer 02:00:00:00:00:01 %s %s %u %u sport=%u-%u", generator, src,
		 dst, port, count, sport, sport + flows - 1);
	p = popen(command, "r");
	if (!p || fscanf(p, "%lf", &cost) != 1) {
		printf("Bail out! %s\n", command);
		exit(1);
	}
	pclose(p);
	return cost;
}

static void drop_at(const char *netns, const char *device, bool on)
{
	if (!on) {
		must("tc %s %s qdisc del dev %s clsact", *netns ? "-n" : "", netns, device);
		return;
	}
	must("tc %s %s qdisc add dev %s clsact", *netns ? "-n" : "", netns, device);
	must("tc %s %s filter add dev %s ingress matchall action drop", *netns ? "-n" : "", netns,
	     device);
}

/* By tcx, which libbpf of Debian 12 has no call for. */
static void attach(uint32_t interface, const char *program)
{
	union bpf_attr attr = {
		.link_create = {
			.prog_fd = (uint32_t)bpf_program__fd(
				bpf_object__find_program_by_name(bed.object, program)),
			.target_ifindex = ifindex[interface],
			.attach_type = TCX_INGRESS,
		},
	};

	if (syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr)) < 0) {
		printf("Bail out! %s: %s\n", program, strerror(errno));
		exit(1);
	}
}

/* A kind of packets, and what it is called. */
struct measurement {
	const char *name;
	const char *src, *dst;
	uint32_t port;
	const char *backend;
	uint32_t bport;
	bool new;
};

static const struct measurement measurements[] = {
	{ "svc4", A4, "10.96.0.1", 53, B4, 5353, false },
	{ "svc4-new", A4, "10.96.0.1", 53, B4, 5353, true },
	{ "pod4", A4, B4, 5353, B4, 5353, false },
	{ "pod4-new", A4, B4, 5353, B4, 5353, true },
	{ "svc6", A6, "fd00:96::1", 53, B6, 5353, false },
	{ "svc6-new", A6, "fd00:96::1", 53, B6, 5353, true },
	{ "pod6", A6, B6, 5353, B6, 5353, false },
};

static void measure(const struct measurement *m, double floor)
{
	uint32_t count = m->new ? 400 : PACKETS, i;
	struct sluice_bpf_stats before;
	double cost;

	bed_reset();
	pktgen(m->src, m->dst, m->port, 1000, FLOWS, FLOWS);
	for (i = 0; i < FLOWS; i++)
		SEND(IF_B, m->backend, m->src, (uint16_t)m->bport, (uint16_t)(1000 + i),
		     IPPROTO_UDP);
	before = bed_stats();
	if (m->new)
		cost = pktgen(m->src, m->dst, m->port, 4000, count, count);
	else
		cost = pktgen(m->src, m->dst, m->port, 1000, FLOWS, count);
	if (bed_stats().fast_pod - before.fast_pod != count)
		diag("only %llu of %u arrived",
		     (unsigned long long)(bed_stats().fast_pod - before.fast_pod), count);
	diag("%s: %.0f a packet", m->name, cost - floor);
}

int main(int argc, char **argv)
{
	const char *only = argc == 4 ? argv[3] : NULL;
	double floor4, floor6;
	uint32_t i;

	if (argc != 3 && argc != 4) {
		fprintf(stderr, "usage: cost OBJECT PKTGEN [NAME]\n");
		return 2;
	}
	generator = argv[2];
	must("mkdir -p /run/netns; modprobe -a pktgen sch_ingress cls_matchall act_gact cls_bpf veth");
	bed_interfaces();
	must("ip netns add cost-a && ip netns add cost-b");
	must("ip link set dev pod-a-peer netns cost-a && ip link set dev pod-b-peer netns cost-b");
	must("ip -n cost-a link set dev pod-a-peer up && ip -n cost-b link set dev pod-b-peer up");
	bed_load(argv[1], "sluice_pod");
	open_pods();
	set_service("10.96.0.1", 53, IPPROTO_UDP, B4, 5353);
	set_service("fd00:96::1", 53, IPPROTO_UDP, B6, 5353);

	drop_at("", "pod-a", true);
	pktgen(A4, "10.96.0.1", 53, 1000, FLOWS, 200);
	floor4 = pktgen(A4, "10.96.0.1", 53, 1000, FLOWS, PACKETS);
	floor6 = pktgen(A6, "fd00:96::1", 53, 1000, FLOWS, PACKETS);
	drop_at("", "pod-a", false);
	drop_at("cost-b", "pod-b-peer", true);
	attach(IF_A, "sluice_pod");
	diag("floor %.0f, IPv6 %.0f", floor4, floor6);
	for (i = 0; i < sizeof(measurements) / sizeof(measurements[0]); i++)
		if (!only || !strcmp(only, measurements[i].name))
			measure(&measurements[i],
				strchr(measurements[i].src, ':') ? floor6 : floor4);
	if (only)
		must("cp /proc/kallsyms \"$SLUICE_OUT\"");
	must("ip netns del cost-a; ip netns del cost-b");
	return 0;
}
