// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policy in the kernel beside core in userspace: random rulesets, built as the controller builds them, put
 * into maps, and asked through BPF_PROG_RUN.
 *
 *	judge OBJECT [SEED]
 */
#include <sched.h>

#include "bpf/layout.h"
#include "ctl/lib/ruleset_builder.h"
#include "object.h"

/* bpf/judge.h is a program's header; this is what it says of a request. */
struct request {
	struct sluice_addr src, dst;
	__u32 family, gen, rev, flags, src_ifindex, dst_ifindex;
	__u16 port;
	__u8 proto, pad;
	struct sluice_judgement out;
};

#define SRC_IFINDEX 11
#define DST_IFINDEX 12
#define CLASSES 40
#define CLASS_STEP 3 /* between the numbers of two classes */
#define REVISION 7 /* the first */
#define TOMORROW (1U << 30)

static const uint8_t protos[] = { 1, 6, 17, 58, 132, 50 };

static struct request *requests; /* one a CPU; we are on CPU 0 */
static int cpus, judge_fd, anew_fd, nothing_fd;
static __u32 revision = REVISION;

static void put_ruleset(__u32 slot, const struct sluice_ruleset *rs)
{
	__u32 n = (rs->size + SLUICE_BLOB_PIECE - 1) / SLUICE_BLOB_PIECE, i;
	char *bytes = calloc(n, SLUICE_BLOB_PIECE);
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_INNER_MAP);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "ruleset", 4, SLUICE_BLOB_PIECE, n, &opts);

	memcpy(bytes, rs, rs->size);
	for (i = 0; i < n; i++)
		if (bpf_map_update_elem(fd, &i, bytes + (size_t)i * SLUICE_BLOB_PIECE, 0))
			fd = -1;
	free(bytes);
	put("rulesets", &slot, &fd);
	close(fd);
}

/* The version of tomorrow must not count, nor the one of yesterday. */
static void put_endpoint(__u32 ifindex, __u32 flags, __u32 ingress, __u32 egress)
{
	unsigned int now = tap_below(2);
	struct sluice_bpf_endpoint e = { 0 };

	e.since.since[now] = 1 + tap_below(revision);
	e.v[now].flags = flags;
	e.v[now].ingress = ingress;
	e.v[now].egress = egress;
	e.since.since[!now] = tap_one_in(2) ? e.since.since[now] - 1 : TOMORROW;
	e.v[!now].flags = SLUICE_BPF_ENDPOINT_PRESENT | SLUICE_BPF_ENDPOINT_OPEN;
	put("endpoints", &ifindex, &e);
}

static __u32 class_of(__u32 n)
{
	return n * CLASS_STEP;
}

/*
 * Class n has 10.0.n.1 and fd00::n. The first ten are whole addresses; the next ten are, too, but absent
 * at this revision, and stand as prefixes beside; the others are prefixes alone. Class 0 has none.
 */
static struct sluice_addr addr_of(__u32 n, __u32 family)
{
	struct sluice_addr a = { 0 };

	if (family == SLUICE_IPV4) {
		a.w[0] = htonl(0x0a000001 | n << 8);
	} else {
		a.w[0] = htonl(0xfd000000);
		a.w[3] = htonl(n);
	}
	return a;
}

static void put_classes(__u32 family)
{
	__u32 n;

	for (n = 1; n < CLASSES; n++) {
		struct sluice_bpf_addr_key key = { addr_of(n, family), family };
		struct sluice_bpf_number host = { .since = { { REVISION, 2 } } };
		struct sluice_bpf_class class = { .since = { { TOMORROW, REVISION } },
						  .v = { 99, class_of(n) } };

		host.v[0] = n < 10 ? class_of(n) : SLUICE_BPF_ABSENT;
		host.v[1] = 98;
		if (n < 20)
			put("hosts", &key, &host);
		if (n >= 10 && family == SLUICE_IPV4) {
			struct sluice_bpf_prefix4 p = { 24, key.addr.w[0] & htonl(~255U) };

			put("prefixes4", &p, &class);
		} else if (n >= 10) {
			struct sluice_bpf_prefix6 p = { 128, { 0 } };

			memcpy(p.addr, &key.addr, sizeof(p.addr));
			put("prefixes6", &p, &class);
		}
	}
}

static __u32 random_key(void)
{
	__u32 port = tap_one_in(4) ? (__u32)tap_below(65536) : 80 + tap_below(8);

	return sluice_port_key(protos[tap_below(sizeof(protos))], port);
}

static struct sluice_ruleset *random_ruleset(__u32 n)
{
	struct sluice_build_rule *rules = calloc(n + 1, sizeof(*rules));
	uint32_t *classes = calloc(n + 1, 4 * sizeof(*classes));
	struct sluice_port_range *ports = calloc(n + 1, 3 * sizeof(*ports));
	__u32 i, k, tier = 0, log_one_in = tap_one_in(4) ? 2 : 10;
	/* Rules that hardly ever match make long ways through the words. */
	__u32 rare = tap_one_in(2) ? 1 : 20;
	struct sluice_ruleset *rs;
	struct sluice_err err = { 0 };

	for (i = 0; i < n; i++) {
		struct sluice_build_rule *r = &rules[i];

		while (tier + 1 < SLUICE_TIERS && tap_one_in(n / SLUICE_TIERS + 1))
			tier++;
		r->id = i + 1000;
		r->tier = tier;
		r->action = tap_one_in(3) ? SLUICE_ACTION_DENY : SLUICE_ACTION_ALLOW;
		if (tap_one_in(log_one_in))
			r->action = tap_one_in(2) ? SLUICE_ACTION_LOG : SLUICE_ACTION_PASS;
		r->flags = (tap_one_in(8) ? SLUICE_RULE_STAGED : 0) |
			   (tap_one_in(8) ? SLUICE_RULE_DEFAULT : 0);
		r->any_class = tap_one_in(6 * rare);
		r->classes = classes + 4 * (size_t)i;
		r->n_classes = tap_below(5);
		for (k = 0; k < r->n_classes; k++)
			classes[4 * i + k] = class_of(tap_below(CLASSES * rare));
		r->any_port = tap_one_in(4 * rare);
		r->ports = ports + 3 * (size_t)i;
		r->n_ports = tap_below(4);
		for (k = 0; k < r->n_ports; k++) {
			__u32 lo = random_key(), more = tap_one_in(3) ? tap_below(9) : 0;

			if ((lo & 0xffff) + more > 0xffff)
				more = 0;
			ports[3 * i + k].lo = lo;
			ports[3 * i + k].hi = lo + more;
		}
	}
	if (sluice_ruleset_build(rules, n, tap_one_in(2) ? SLUICE_ACTION_ALLOW : SLUICE_ACTION_DENY,
				 &rs, &err) ||
	    sluice_ruleset_validate(rs, rs->size))
		bail("a random ruleset is not valid");
	free(rules);
	free(classes);
	free(ports);
	return rs;
}

static __u32 duration(int fd, __u32 repeat)
{
	__u32 ns;

	if (run(fd, repeat, &ns))
		bail("a program refuses its request");
	return ns;
}

static void ask(const struct request *q, struct request *answer)
{
	__u32 zero = 0;

	requests[0] = *q;
	memset(&requests[0].out, 0xaa, sizeof(requests[0].out));
	put("requests", &zero, requests);
	duration(judge_fd, 1);
	bpf_map_lookup_elem(map("requests"), &zero, requests);
	*answer = requests[0];
}

static bool same_judgement(const struct sluice_judgement *a, const struct sluice_judgement *b)
{
	return !memcmp(a, b, sizeof(*a));
}

struct pod {
	__u32 flags; /* SLUICE_BPF_ENDPOINT_* */
	struct sluice_ruleset *ingress, *egress; /* NULL: none */
};

static __u32 random_size(void)
{
	switch (tap_below(20)) {
	case 0:
		return 0;
	case 1:
		return 4000 + tap_below(5000); /* more than one word of summary */
	case 2:
	case 3:
		return 500 + tap_below(1500);
	default:
		return 1 + tap_below(200);
	}
}

static void random_pod(struct pod *p, __u32 ifindex, __u32 slot)
{
	p->flags = SLUICE_BPF_ENDPOINT_PRESENT | (tap_one_in(12) ? 0 : SLUICE_BPF_ENDPOINT_OPEN);
	p->ingress = tap_one_in(6) ? NULL : random_ruleset(random_size());
	p->egress = tap_one_in(6) ? NULL : random_ruleset(random_size());
	if (p->ingress)
		put_ruleset(slot, p->ingress);
	if (p->egress)
		put_ruleset(slot + 1, p->egress);
	put_endpoint(ifindex, p->flags, p->ingress ? slot : 0, p->egress ? slot + 1 : 0);
	/* A commit. */
	revision++;
}

static __u32 local_flags(const struct pod *p, __u32 local, __u32 closed)
{
	return local | (p->flags & SLUICE_BPF_ENDPOINT_OPEN ? 0 : closed);
}

static void compare_one(const struct pod *src, const struct pod *dst)
{
	__u32 family = tap_one_in(2) ? SLUICE_IPV4 : SLUICE_IPV6, key = random_key();
	__u32 s = tap_below(CLASSES), d = tap_below(CLASSES);
	struct request q = {
		.src = addr_of(s, family),
		.dst = addr_of(d, family),
		.family = family,
		.rev = revision,
		.src_ifindex = tap_one_in(5) ? 0 : SRC_IFINDEX,
		.dst_ifindex = tap_one_in(5) ? 0 : DST_IFINDEX,
		.port = key & 0xffff,
		.proto = key >> 16,
	}, got;
	struct sluice_judge_in in = {
		.src_class = class_of(s),
		.dst_class = class_of(d),
		.port = q.port,
		.proto = q.proto,
	};
	struct sluice_judgement want;
	int i;

	if (tap_one_in(20))
		q.flags |= SLUICE_JUDGE_SELF;
	if (tap_one_in(20))
		q.flags |= SLUICE_JUDGE_SRC_NODE;
	in.flags = q.flags;
	if (q.src_ifindex) {
		in.flags |= local_flags(src, SLUICE_JUDGE_SRC_LOCAL, SLUICE_JUDGE_SRC_CLOSED);
		in.egress = src->egress;
	}
	if (q.dst_ifindex) {
		in.flags |= local_flags(dst, SLUICE_JUDGE_DST_LOCAL, SLUICE_JUDGE_DST_CLOSED);
		in.ingress = dst->ingress;
	}
	sluice_judge(&in, &want);
	/* The second time it is a kept verdict. */
	for (i = 0; i < 2; i++) {
		ask(&q, &got);
		check(same_judgement(&got.out, &want),
		      "classes %u %u, proto %u port %u, flags %x: verdict %u reason %u rules %u %u, "
		      "expected %u %u %u %u (time %d)",
		      in.src_class, in.dst_class, q.proto, q.port, in.flags, got.out.verdict,
		      got.out.reason, got.out.egress.rule, got.out.ingress.rule, want.verdict,
		      want.reason, want.egress.rule, want.ingress.rule, i);
		check(got.flags == in.flags, "flags %x, expected %x", got.flags, in.flags);
	}
}

static void test_random(void)
{
	int round, i;

	for (round = 0; round < 60; round++) {
		struct pod src, dst;

		random_pod(&src, SRC_IFINDEX, 1 + 4 * (round % 8));
		random_pod(&dst, DST_IFINDEX, 3 + 4 * (round % 8));
		for (i = 0; i < 150; i++)
			compare_one(&src, &dst);
		free(src.ingress);
		free(src.egress);
		free(dst.ingress);
		free(dst.egress);
	}
	ok_checks("random rulesets say in the kernel what they say in userspace");
}

/* Rules that allow everything. */
static struct sluice_ruleset *open_ruleset(size_t n)
{
	struct sluice_build_rule *rules = calloc(n, sizeof(*rules));
	struct sluice_ruleset *rs;
	struct sluice_err err = { 0 };
	size_t i;

	for (i = 0; i < n; i++)
		rules[i] =
			(struct sluice_build_rule){ .id = 5, .any_class = true, .any_port = true };
	sluice_ruleset_build(rules, n, SLUICE_ACTION_ALLOW, &rs, &err);
	free(rules);
	return rs;
}

static void test_missing(void)
{
	struct request q = { .src = addr_of(1, 4),
			     .dst = addr_of(2, 4),
			     .family = 4,
			     .rev = revision,
			     .port = 80,
			     .proto = 6 },
		       got;
	struct sluice_ruleset *rs = open_ruleset(1);
	__u32 open = SLUICE_BPF_ENDPOINT_PRESENT | SLUICE_BPF_ENDPOINT_OPEN, slot = 700, ifindex;

	put_ruleset(slot, rs);
	put_endpoint(SRC_IFINDEX, open, slot, slot);
	put_endpoint(DST_IFINDEX, open, slot, slot);
	q.rev = ++revision;
	q.src_ifindex = SRC_IFINDEX;
	q.dst_ifindex = DST_IFINDEX;
	ask(&q, &got);
	ok(got.out.verdict == SLUICE_VERDICT_ALLOW && got.out.reason == SLUICE_REASON_POLICY_ALLOW,
	   "two open pods reach each other");

	q.dst_ifindex = 999;
	ask(&q, &got);
	ok(got.out.verdict == SLUICE_VERDICT_DENY &&
		   got.out.reason == SLUICE_REASON_ENDPOINT_CLOSED,
	   "a pod that is not there is closed");

	q.dst_ifindex = DST_IFINDEX;
	q.rev = 0;
	ask(&q, &got);
	ok(got.out.verdict == SLUICE_VERDICT_DENY &&
		   got.out.reason == SLUICE_REASON_ENDPOINT_CLOSED,
	   "and so is one that is not there yet");

	q.rev = ++revision;
	ifindex = DST_IFINDEX;
	put_endpoint(ifindex, open, slot + 1, 0);
	ask(&q, &got);
	ok(got.out.verdict == SLUICE_VERDICT_DENY &&
		   got.out.reason == SLUICE_REASON_ENDPOINT_CLOSED,
	   "a ruleset that is missing closes its pod");

	/* A blob whose second piece, which holds the rows, is not there. */
	free(rs);
	rs = open_ruleset(600);
	rs->size = SLUICE_BLOB_PIECE;
	put_ruleset(slot + 1, rs);
	q.rev = ++revision;
	ask(&q, &got);
	ok(got.out.verdict == SLUICE_VERDICT_DENY && got.out.ingress.rule == 0 &&
		   got.out.reason == SLUICE_REASON_DEFAULT_DENY,
	   "a ruleset of which a piece is missing denies");
	free(rs);
}

/* What a first packet pays for 100 rules each way. Under a clock that counts instructions: exactly. */
static void measure(void)
{
	enum { RULES = 100, RUNS = 20000 };
	struct sluice_build_rule rules[RULES + 1] = { 0 };
	struct sluice_port_range ports[RULES];
	uint32_t classes[RULES], i, zero = 0,
				    open = SLUICE_BPF_ENDPOINT_PRESENT | SLUICE_BPF_ENDPOINT_OPEN;
	struct sluice_ruleset *rs;
	struct sluice_err err = { 0 };
	__u32 none, kept, anew;

	for (i = 0; i < RULES; i++) {
		classes[i] = class_of(i);
		ports[i].lo = ports[i].hi = sluice_port_key(6, 8000 + i);
		rules[i] = (struct sluice_build_rule){ .id = i + 1,
						       .tier = SLUICE_TIER_POLICY,
						       .classes = &classes[i],
						       .n_classes = 1,
						       .ports = &ports[i],
						       .n_ports = 1 };
	}
	rules[RULES] = (struct sluice_build_rule){
		.id = RULES + 1,
		.tier = SLUICE_TIER_POLICY,
		.action = SLUICE_ACTION_DENY,
		.flags = SLUICE_RULE_DEFAULT,
		.any_class = true,
		.any_port = true,
	};
	sluice_ruleset_build(rules, RULES + 1, SLUICE_ACTION_DENY, &rs, &err);
	put_ruleset(800, rs);
	put_endpoint(SRC_IFINDEX, open, 0, 800);
	put_endpoint(DST_IFINDEX, open, 800, 0);
	requests[0] = (struct request){ .src = addr_of(8, 4),
					.dst = addr_of(8, 4),
					.family = 4,
					.rev = ++revision,
					.src_ifindex = SRC_IFINDEX,
					.dst_ifindex = DST_IFINDEX,
					.port = 8008,
					.proto = 6 };
	put("requests", &zero, requests);
	none = duration(nothing_fd, RUNS);
	kept = duration(judge_fd, RUNS);
	anew = duration(anew_fd, RUNS);
	bpf_map_lookup_elem(map("requests"), &zero, requests);
	ok(requests[0].out.verdict == SLUICE_VERDICT_ALLOW && requests[0].out.egress.rule == 9 &&
		   requests[0].out.ingress.rule == 9,
	   "100 rules each way: rule 9 decides");
	diag("%u rules each way: kept %u ns, anew %u ns (an empty program %u)", RULES,
	     kept > none ? kept - none : 0, anew - none, none);
	free(rs);
}

int main(int argc, char **argv)
{
	cpu_set_t cpu;

	if (argc > 2)
		setenv("SEED", argv[2], 1);
	tap_seed();
	if (argc < 2)
		return 2;
	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu);
	cpus = libbpf_num_possible_cpus();
	requests = calloc(cpus, sizeof(*requests));
	object_open(argv[1]);
	object_load();
	if (bpf_map__value_size(object_map("requests")) != sizeof(*requests))
		bail("a request is not what bpf/judge.h says");
	judge_fd = program("judge_packet");
	anew_fd = program("judge_anew");
	nothing_fd = program("nothing");
	put_classes(SLUICE_IPV4);
	put_classes(SLUICE_IPV6);
	test_random();
	test_missing();
	measure();
	free(requests);
	bpf_object__close(object);
	return done_testing();
}
