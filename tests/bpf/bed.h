/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A node without a controller: the programs are loaded, the test writes their maps, and sends frames through them
 * by BPF_PROG_RUN. It stands in a network namespace of its own, with the interfaces that frames come from.
 */
#ifndef SLUICE_TESTS_BED_H
#define SLUICE_TESTS_BED_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bpf/layout.h"
#include "frame.h"
#include "tap.h"

#ifndef BED_BUCKETS
#define BED_BUCKETS 64 /* few, so that there are chains */
#endif
#define BED_OBJECTS 512
/*
 * A flag of BPF_PROG_RUN that is newer than Debian's <linux/bpf.h>: the frame has been summed by the card
 * (CHECKSUM_COMPLETE), and is summed again behind the program; -EBADMSG where that is not what the program has made of the
 * card's sum. Not of a frame whose length changes: the kernel then forgets the card's sum, and BPF_PROG_RUN does not.
 */
#define BED_SUMMED (1U << 2)

static struct {
	struct bpf_object *object;
	struct sluice_bpf_control *control;
	struct sluice_bpf_conn4 *conns4;
	struct sluice_bpf_conn6 *conns6;
	int cpus;
	bool summed; /* frames are, by the card, see BED_SUMMED */
	uint32_t gso_size; /* frames are to be cut into segments with so much payload; 0: not */
} bed;

/* The interfaces: pods a and b, an uplink, one that is neither. */
enum {
	IF_A,
	IF_B,
	IF_UP,
	IF_OTHER,
	IF_COUNT,
};

static const char *const if_names[IF_COUNT] = { "pod-a", "pod-b", "uplink", "other" };
static uint32_t ifindex[IF_COUNT];

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

__attribute__((format(printf, 1, 2))) static void must(const char *format, ...)
{
	char command[512];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	if (system(command)) {
		printf("Bail out! %s\n", command);
		exit(1);
	}
}

static int map_fd(const char *name)
{
	int fd = bpf_object__find_map_fd_by_name(bed.object, name);

	if (fd < 0) {
		printf("Bail out! no map %s\n", name);
		exit(1);
	}
	return fd;
}

static void map_set(const char *name, const void *key, const void *value)
{
	if (bpf_map_update_elem(map_fd(name), key, value, BPF_ANY)) {
		printf("Bail out! map %s: %s\n", name, strerror(errno));
		exit(1);
	}
}

static void *map_memory(int fd, size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED) {
		printf("Bail out! mmap: %s\n", strerror(errno));
		exit(1);
	}
	return p;
}

static void *segment(const char *outer, uint32_t value_size)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "segment", 4, value_size, SLUICE_BPF_SEGMENT,
				&opts);
	uint32_t zero = 0;

	if (fd < 0) {
		printf("Bail out! segment: %s\n", strerror(errno));
		exit(1);
	}
	map_set(outer, &zero, &fd);
	return map_memory(fd, (size_t)SLUICE_BPF_SEGMENT * value_size);
}

/* Does this kernel know BED_SUMMED? */
static bool bed_can_sum(void)
{
	struct frame f =
		frame_make(&(struct spec){ "192.0.2.7", "192.0.2.8", .proto = 253, .payload = 8 });
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f.b, .data_size_in = f.len,
		    .flags = BED_SUMMED);
	struct bpf_program *p = bpf_object__find_program_by_name(bed.object, "sluice_uplink");

	return p && !bpf_prog_test_run_opts(bpf_program__fd(p), &opts);
}

static uint32_t ticks(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint32_t)(((uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec) >> 20);
}

/* Forgets all connections and statistics. */
static void bed_reset(void)
{
	struct sluice_bpf_buckets none = {};
	struct sluice_bpf_stats *stats = calloc((size_t)bed.cpus, sizeof(*stats));
	uint32_t i, zero = 0;

	memset(bed.conns4, 0, BED_OBJECTS * sizeof(*bed.conns4));
	memset(bed.conns6, 0, BED_OBJECTS * sizeof(*bed.conns6));
	for (i = 0; i < BED_OBJECTS; i++) {
		uint32_t next = i + 1 < BED_OBJECTS ? sluice_bpf_ref(i + 1, 0) : 0;

		bed.conns4[i].c.next[0] = next;
		bed.conns6[i].c.next[0] = next;
	}
	for (i = 0; i < BED_BUCKETS / SLUICE_BPF_HEADS; i++) {
		map_set("buckets4", &i, &none);
		map_set("buckets6", &i, &none);
	}
	for (i = 0; i < 2; i++) {
		struct sluice_bpf_table *t = &bed.control->table[i];

		*t = (struct sluice_bpf_table){
			.free = 1,
			.capacity = BED_OBJECTS,
			.limit = BED_OBJECTS,
			.bucket_mask = BED_BUCKETS - 1,
		};
	}
	map_set("stats", &zero, stats);
	free(stats);
}

#define STATS_FIELDS (sizeof(struct sluice_bpf_stats) / sizeof(uint64_t))

static struct sluice_bpf_stats bed_stats(void)
{
	uint64_t *each = calloc((size_t)bed.cpus, sizeof(struct sluice_bpf_stats));
	struct sluice_bpf_stats sum = {};
	uint32_t zero = 0, i;

	bpf_map_lookup_elem(map_fd("stats"), &zero, each);
	for (i = 0; i < (uint32_t)bed.cpus * STATS_FIELDS; i++)
		((uint64_t *)&sum)[i % STATS_FIELDS] += each[i];
	free(each);
	return sum;
}

static uint64_t drops(uint32_t reason)
{
	return bed_stats().drops[reason];
}

/* A value that counts from the first revision on, and no other does. */
static const struct sluice_bpf_since always = { { 1, SLUICE_BPF_NEVER } };

static void set_number(const char *map, const char *address, uint32_t value)
{
	struct sluice_bpf_number n = { .since = always, .v = { value } };
	struct sluice_bpf_addr_key k = {};
	uint8_t family;

	k.addr = addr_of(address, &family);
	k.family = family;
	map_set(map, &k, &n);
}

/* Policy has changed, by a commit: what it said before is looked at again. */
static void new_policy(void)
{
	bed.control->revision++;
	bed.control->revision++;
	bed.control->policy_gen++;
}

static void set_endpoint(uint32_t interface, uint32_t flags, uint32_t ingress, uint32_t egress)
{
	struct sluice_bpf_endpoint e = {
		.since = always,
		.v = { { .flags = flags, .ingress = ingress, .egress = egress } },
	};

	map_set("endpoints", &ifindex[interface], &e);
	new_policy();
}

static void open_endpoint(uint32_t interface)
{
	set_endpoint(interface, SLUICE_BPF_ENDPOINT_PRESENT | SLUICE_BPF_ENDPOINT_OPEN, 0, 0);
}

/* Of the two pods. */
#define A4 "10.1.0.1"
#define B4 "10.1.0.2"
#define A6 "fd00::a"
#define B6 "fd00::b"

static void open_pods(void)
{
	set_number("addrs", A4, ifindex[IF_A]);
	set_number("addrs", A6, ifindex[IF_A]);
	set_number("addrs", B4, ifindex[IF_B]);
	set_number("addrs", B6, ifindex[IF_B]);
	open_endpoint(IF_A);
	open_endpoint(IF_B);
}

static struct sluice_service_key service_key(const char *address, uint16_t port, uint8_t proto)
{
	struct sluice_service_key k = { .port = htons(port), .proto = proto };

	k.addr = addr_of(address, &k.family);
	return k;
}

/* A service with one backend, or, without a backend's address, with none. */
static void set_service(const char *address, uint16_t port, uint8_t proto, const char *backend,
			uint16_t bport)
{
	static uint32_t set = 1;
	struct sluice_bpf_service s = { .since = always };
	struct sluice_service_key k = service_key(address, port, proto);
	struct sluice_bpf_backend_ref ref = { .service = k, .port = htons(bport) };
	struct sluice_bpf_backend_key bk = { .set = set };
	struct sluice_bpf_backend b = { .port = htons(bport) };
	uint32_t one = 1;
	uint8_t family;

	if (backend) {
		b.addr = addr_of(backend, &family);
		ref.addr = b.addr;
		map_set("backends", &bk, &b);
		map_set("backend_refs", &ref, &one);
		s.v[0].set = set++;
		s.v[0].n = 1;
	}
	map_set("services", &k, &s);
	set_number("vips", address, 1);
}

static void drop_backend(const char *address, uint16_t port, uint8_t proto, const char *backend,
			 uint16_t bport)
{
	struct sluice_bpf_backend_ref ref = { .service = service_key(address, port, proto),
					      .port = htons(bport) };
	uint8_t family;

	ref.addr = addr_of(backend, &family);
	bpf_map_delete_elem(map_fd("backend_refs"), &ref);
	bed.control->backend_epoch++;
}

/* A program's answer, or a negative errno, to a frame that arrives (or, with sluice_to_pod, leaves) at one of the interfaces. */
struct answer {
	int ret;
	uint32_t mark;
	struct frame f;
};

#define PASSED 0 /* to the stack */
#define DROPPED 2
#define SENT 7 /* redirected */

static struct answer run_at(const char *program, const struct frame *in, uint32_t interface,
			    uint32_t ingress, uint32_t mark)
{
	struct bpf_program *p = bpf_object__find_program_by_name(bed.object, program);
	struct __sk_buff ctx = { .ifindex = ifindex[interface],
				 .ingress_ifindex = ingress,
				 .gso_size = bed.gso_size,
				 .gso_segs = bed.gso_size ? in->len / bed.gso_size + 1 : 0,
				 .mark = mark };
	struct __sk_buff out = {};
	struct answer a = { .ret = -1 };
	struct frame f = *in;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f.b, .data_size_in = f.len,
		    .data_out = a.f.b, .data_size_out = sizeof(a.f.b), .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .ctx_out = &out, .ctx_size_out = sizeof(out),
		    .flags = bed.summed ? BED_SUMMED : 0);

	/* To us: the interfaces' own addresses end in their number. */
	f.b[0] = 2;
	memset(f.b + 1, 0, 4);
	f.b[5] = (uint8_t)(interface + 1);
	a.ret = bpf_prog_test_run_opts(bpf_program__fd(p), &opts);
	if (a.ret)
		return a;
	a.ret = (int)opts.retval;
	a.mark = out.mark;
	a.f.len = opts.data_size_out;
	return a;
}

static struct answer run(uint32_t interface, const struct frame *in)
{
	return run_at(interface == IF_UP ? "sluice_uplink" : "sluice_pod", in, interface,
		      ifindex[interface], 0);
}

static struct answer send_spec(uint32_t interface, const struct spec *s)
{
	struct frame f = frame_make(s);

	return run(interface, &f);
}

#define SEND(interface, ...) send_spec(interface, &(struct spec){ __VA_ARGS__ })

/* The newest connection that lives; NULL: none. */
static struct sluice_bpf_conn *conn_any(uint8_t family)
{
	struct sluice_bpf_conn *c;
	uint32_t i;

	for (i = BED_OBJECTS; i-- > 0;) {
		c = family == SLUICE_IPV4 ? &bed.conns4[i].c : &bed.conns6[i].c;
		if ((c->bits & SLUICE_BPF_LIVE) && !(c->bits & SLUICE_BPF_DYING))
			return c;
	}
	return NULL;
}

static uint8_t state_of(uint8_t family)
{
	struct sluice_bpf_conn *c = conn_any(family);

	return c ? c->state : SLUICE_STATE_NONE;
}

static uint32_t conns_alive(uint8_t family)
{
	return bed.control->table[family == SLUICE_IPV6].alive;
}

static void bed_interfaces(void)
{
	uint32_t i;

	if (unshare(CLONE_NEWNET)) {
		printf("Bail out! a network namespace: %s\n", strerror(errno));
		exit(1);
	}
	must("echo 1 >/proc/sys/net/ipv4/ip_forward");
	must("echo 1 >/proc/sys/net/ipv6/conf/all/forwarding");
	must("echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad");
	must("ip link set lo up");
	for (i = 0; i < IF_COUNT; i++) {
		must("ip link add name %s address 02:00:00:00:00:%02x type veth peer name %s-peer",
		     if_names[i], i + 1, if_names[i]);
		must("ip link set dev %s up && ip link set dev %s-peer up", if_names[i],
		     if_names[i]);
		ifindex[i] = if_nametoindex(if_names[i]);
	}
	must("ip addr add 192.0.2.1/24 dev uplink && ip addr add 2001:db8::1/64 dev uplink nodad");
	must("ip addr add 198.51.100.1/24 dev other");
	must("ip route add default via 192.0.2.254 && ip route add default via 2001:db8::ff");
	must("ip neigh add 192.0.2.254 lladdr 02:00:00:00:00:fe dev uplink");
	must("ip neigh add 2001:db8::ff lladdr 02:00:00:00:00:fe dev uplink");
}

/* only: the one program that is needed; NULL: all. */
static void bed_load(const char *path, const char *only)
{
	struct bpf_program *p;
	struct bpf_map *map;
	uint32_t i, one = 1;

	libbpf_set_print(quiet);
	bed.cpus = libbpf_num_possible_cpus();
	bed.object = bpf_object__open_file(path, NULL);
	if (!bed.object) {
		printf("Bail out! %s: %s\n", path, strerror(errno));
		exit(1);
	}
	bpf_object__for_each_program(p, bed.object)
		bpf_program__set_autoload(p, !only || !strcmp(bpf_program__name(p), only));
	bpf_object__for_each_map(map, bed.object) if (!strncmp(bpf_map__name(map), "buckets", 7))
		bpf_map__set_max_entries(map, BED_BUCKETS / SLUICE_BPF_HEADS);
	if (bpf_object__load(bed.object)) {
		printf("Bail out! %s: %s\n", path, strerror(errno));
		exit(1);
	}
	bed.control = map_memory(map_fd("control"), sizeof(*bed.control));
	bed.conns4 = segment("conns4", sizeof(*bed.conns4));
	bed.conns6 = segment("conns6", sizeof(*bed.conns6));
	bed.control->layout = SLUICE_BPF_LAYOUT;
	bed.control->revision = 1;
	bed.control->policy_gen = 1;
	bed.control->backend_epoch = 1;
	bed.control->secret[0] = 0x9e3779b97f4a7c15ULL;
	bed.control->secret[1] = 0xbf58476d1ce4e5b9ULL;
	for (i = 0; i < SLUICE_STATE_COUNT; i++)
		bed.control->timeouts[i] = sluice_state_timeout((uint8_t)i) * 954;
	map_set("uplinks", &ifindex[IF_UP], &one);
	bed_reset();
}

#endif
