// SPDX-License-Identifier: GPL-2.0-only
/*
 * The eBPF variant's loader and data plane, against the running kernel. ./run makes the namespace.
 *
 * What packets would see is read from the maps as programs read them, by a revision (view_...), and held
 * against the data plane in memory, which has been given the same objects.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf/layout.h"
#include "ctl/lib/address.h"
#include "ctl/lib/alloc.h"
#include "ctl/lib/bpf_conns.h"
#include "ctl/lib/bpf_object.h"
#include "ctl/lib/dataplane_bpf.h"
#include "ctl/lib/dataplane_memory.h"
#include "ctl/lib/ruleset_builder.h"
#include "tests/unit/tap.h"

#define PODS 6
#define BUDGET (16ULL << 20)

/* Objects ****************************************************************************/

static uint32_t pods[PODS], uplink;
static const char *cgroup;
static struct sluice_ruleset *blobs[4]; /* made of one rule each */

struct elf {
	void *bytes;
	size_t size;
};

static struct elf read_elf(const char *name)
{
	struct elf elf;
	struct stat st;
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", getenv("TEST_OBJECTS"), name);
	fd = open(path, O_RDONLY);
	if (fd < 0 || fstat(fd, &st)) {
		printf("Bail out! %s: %s\n", path, strerror(errno));
		exit(1);
	}
	elf.size = st.st_size;
	elf.bytes = malloc(elf.size);
	if (read(fd, elf.bytes, elf.size) != (ssize_t)elf.size)
		exit(1);
	close(fd);
	return elf;
}

static struct elf pass, drop, refused;

static struct sluice_bpf_options options(const struct elf *elf)
{
	return (struct sluice_bpf_options){
		.budget = BUDGET, .cgroup = cgroup, .elf = elf->bytes, .elf_size = elf->size
	};
}

static struct sluice_addr addr(const char *text)
{
	struct sluice_dp_addr a;

	if (!sluice_address_parse(text, &a))
		abort();
	return a.addr;
}

static void make_blobs(void)
{
	for (uint32_t i = 0; i < 4; i++) {
		uint32_t classes[] = { i, i + 1 };
		struct sluice_build_rule rule = { .id = i + 1,
						  .action = SLUICE_ACTION_ALLOW,
						  .tier = SLUICE_TIER_POLICY,
						  .any_port = true,
						  .classes = classes,
						  .n_classes = 2 };

		if (sluice_ruleset_build(&rule, 1, SLUICE_ACTION_DENY, &blobs[i], NULL))
			abort();
	}
}

/* What was committed, in both ************************************************************/

struct pair {
	struct sluice_dataplane *dp[2]; /* memory, BPF */
	bool failed;
};

static struct pair open_pair(const struct elf *elf)
{
	struct sluice_bpf_options o = options(elf);
	struct pair p = { { sluice_memory_new(), sluice_dataplane_bpf_new(&o) }, false };
	SLUICE_ERR(err);

	if (sluice_dataplane_bpf_open(p.dp[1], &err)) {
		printf("Bail out! %s\n", sluice_err_msg(&err));
		fflush(stdout);
		_exit(1);
	}
	return p;
}

static void close_pair(struct pair *p)
{
	for (int i = 0; i < 2; i++)
		p->dp[i]->ops->close(p->dp[i]);
}

static const struct sluice_bpf *object_of(const struct pair *p)
{
	return sluice_dataplane_bpf_object(p->dp[1]);
}

/* The same call to both; both shall say the same. */
#define both(p, op, ...)                                                          \
	do {                                                                      \
		SLUICE_ERR(err0);                                                 \
		SLUICE_ERR(err1);                                                 \
		int ret0 = (p)->dp[0]->ops->op((p)->dp[0], ##__VA_ARGS__, &err0); \
		int ret1 = (p)->dp[1]->ops->op((p)->dp[1], ##__VA_ARGS__, &err1); \
                                                                                  \
		check(ret0 == ret1, #op ": memory %d (%s), BPF %d (%s)", ret0,    \
		      sluice_err_msg(&err0), ret1, sluice_err_msg(&err1));        \
		(p)->failed |= ret0 || ret1;                                      \
	} while (0)

static void set_service(struct pair *p, const char *ip, uint16_t port, const char *name, uint32_t n,
			uint32_t first)
{
	struct sluice_dp_backend backends[8] = { 0 };
	struct sluice_dp_service s = { .addr = addr(ip),
				       .port = port,
				       .proto = SLUICE_PROTO_TCP,
				       .family = SLUICE_IPV4,
				       .name = name,
				       .backends = backends,
				       .n_backends = n };

	for (uint32_t i = 0; i < n; i++) {
		backends[i].addr = addr("10.1.0.0");
		backends[i].addr.w[0] |= sluice_htonl(first + i);
		backends[i].port = 8080;
	}
	both(p, set_service, &s);
}

static void del_service(struct pair *p, const char *ip, uint16_t port)
{
	struct sluice_dp_service s = {
		.addr = addr(ip), .port = port, .proto = SLUICE_PROTO_TCP, .family = SLUICE_IPV4
	};

	both(p, del_service, &s);
}

static struct sluice_dp_peer peer(const char *cidr, uint32_t class, const char *name)
{
	struct sluice_cidr c;

	if (!sluice_cidr_parse(cidr, &c))
		abort();
	return (struct sluice_dp_peer){ c.addr, c.plen, c.family, class, name };
}

static void set_peer(struct pair *p, const char *cidr, uint32_t class, const char *name)
{
	struct sluice_dp_peer o = peer(cidr, class, name);

	both(p, set_peer, &o);
}

static void del_peer(struct pair *p, const char *cidr)
{
	struct sluice_dp_peer o = peer(cidr, 0, NULL);

	both(p, del_peer, &o);
}

static void set_ruleset(struct pair *p, uint32_t id, int blob)
{
	struct sluice_dp_ruleset o = { id, blobs[blob] };

	both(p, set_ruleset, &o);
}

static void set_endpoint(struct pair *p, int pod, const char *ip, uint32_t ingress, uint32_t egress,
			 bool open)
{
	struct sluice_dp_addr a = { addr(ip), SLUICE_IPV4 };
	struct sluice_dp_endpoint e = { .ifindex = pods[pod],
					.name = "shop/web",
					.container = "abc/eth0",
					.addrs = &a,
					.n_addrs = 1,
					.ingress = ingress,
					.egress = egress,
					.open = open };

	both(p, set_endpoint, &e);
}

static void del_endpoint(struct pair *p, int pod)
{
	struct sluice_dp_endpoint e = { .ifindex = pods[pod] };

	both(p, del_endpoint, &e);
}

static void begin(struct pair *p)
{
	p->failed = false;
	both(p, begin);
}

static void commit(struct pair *p, bool sweep)
{
	both(p, commit, sweep);
}

/* What packets see ***********************************************************************/

static int fd_of(const struct sluice_bpf *b, enum sluice_bpf_which_map id)
{
	return b->maps[id].fd;
}

static uint32_t view_class(const struct sluice_bpf *b, uint32_t revision,
			   const struct sluice_addr *a, uint8_t family)
{
	struct sluice_bpf_addr_key key = { *a, family };
	struct sluice_bpf_number host;
	struct sluice_bpf_prefix4 key4 = { 32, a->w[0] };
	struct sluice_bpf_prefix6 key6 = { 128, { a->w[0], a->w[1], a->w[2], a->w[3] } };
	struct sluice_bpf_class class;
	int v;

	if (!bpf_map_lookup_elem(fd_of(b, SLUICE_BPF_MAP_HOSTS), &key, &host)) {
		v = sluice_bpf_version(&host.since, revision);
		if (v >= 0 && host.v[v] != SLUICE_BPF_ABSENT)
			return host.v[v];
	}
	if (family == SLUICE_IPV4 ?
		    bpf_map_lookup_elem(fd_of(b, SLUICE_BPF_MAP_PREFIXES4), &key4, &class) :
		    bpf_map_lookup_elem(fd_of(b, SLUICE_BPF_MAP_PREFIXES6), &key6, &class))
		return 0;
	v = sluice_bpf_version(&class.since, revision);
	return v < 0 ? 0 : class.v[v];
}

/* The number of its backends, or SLUICE_BPF_ABSENT; set may be NULL. */
static uint32_t view_service(const struct sluice_bpf *b, uint32_t revision,
			     const struct sluice_service_key *key, uint32_t *set)
{
	struct sluice_bpf_service s;
	int v;

	if (bpf_map_lookup_elem(fd_of(b, SLUICE_BPF_MAP_SERVICES), key, &s))
		return SLUICE_BPF_ABSENT;
	v = sluice_bpf_version(&s.since, revision);
	if (v < 0)
		return SLUICE_BPF_ABSENT;
	if (set)
		*set = s.v[v].set;
	return s.v[v].n;
}

/* A number of vips or addrs. */
static uint32_t view_number(const struct sluice_bpf *b, enum sluice_bpf_which_map map,
			    uint32_t revision, const struct sluice_addr *a, uint8_t family)
{
	struct sluice_bpf_addr_key key = { *a, family };
	struct sluice_bpf_number number;
	int v;

	if (bpf_map_lookup_elem(fd_of(b, map), &key, &number))
		return SLUICE_BPF_ABSENT;
	v = sluice_bpf_version(&number.since, revision);
	return v < 0 ? SLUICE_BPF_ABSENT : number.v[v];
}

static bool view_endpoint(const struct sluice_bpf *b, uint32_t revision, uint32_t ifindex,
			  uint32_t words[3])
{
	struct sluice_bpf_endpoint e;
	int v;

	if (bpf_map_lookup_elem(fd_of(b, SLUICE_BPF_MAP_ENDPOINTS), &ifindex, &e))
		return false;
	v = sluice_bpf_version(&e.since, revision);
	if (v < 0 || !(e.v[v].flags & SLUICE_BPF_ENDPOINT_PRESENT))
		return false;
	memcpy(words, &e.v[v], 3 * sizeof(*words));
	return true;
}

/* The blob that an endpoint's slot leads to, its first bytes; 0: none. */
static bool view_ruleset(const struct sluice_bpf *b, uint32_t slot,
			 const struct sluice_ruleset *blob)
{
	int fd = sluice_bpf_map_inner(&b->maps[SLUICE_BPF_MAP_RULESETS], slot, NULL);
	char piece[SLUICE_BLOB_PIECE];
	bool same = fd >= 0;

	for (uint32_t i = 0, at = 0; at < blob->size && same; i++, at += sizeof(piece)) {
		size_t len = blob->size - at < sizeof(piece) ? blob->size - at : sizeof(piece);

		same = !bpf_map_lookup_elem(fd, &i, piece) &&
		       !memcmp(piece, (const char *)blob + at, len);
	}
	if (fd >= 0)
		close(fd);
	return same;
}

static bool view_ref(const struct sluice_bpf *b, const struct sluice_service_key *service,
		     const struct sluice_bpf_backend *backend)
{
	struct sluice_bpf_backend_ref ref = { *service, backend->addr, backend->port, 0 };
	uint32_t value;

	return !bpf_map_lookup_elem(fd_of(b, SLUICE_BPF_MAP_BACKEND_REFS), &ref, &value);
}

/* The universe of the random tests *******************************************************/

#define SERVICE_IPS 4
#define SERVICE_PORTS 3
#define PEER_BITS 6

static struct sluice_dp_service service_at(uint32_t ip, uint32_t port, uint8_t family)
{
	struct sluice_dp_service s = { .port = 80 + port,
				       .proto = SLUICE_PROTO_TCP,
				       .family = family };

	s.addr.w[0] = sluice_htonl(0x0a600000 + ip);
	return s;
}

/* Prefixes of 10.9.0.0/26 and 2001:db8::/122 and below: they nest in each other all the time. */
static struct sluice_dp_peer random_peer(void)
{
	uint8_t family = tap_one_in(3) ? SLUICE_IPV6 : SLUICE_IPV4;
	uint32_t bits = sluice_family_bits(family);
	struct sluice_dp_peer p = { .family = family,
				    .plen = bits - tap_below(PEER_BITS + 1),
				    .class = tap_below(5),
				    .name = tap_one_in(2) ? "shop/a" : "shop/b" };

	if (tap_one_in(10))
		p.plen = tap_below(bits - PEER_BITS); /* an ancestor of all */
	p.addr = family == SLUICE_IPV4 ? addr("10.9.0.0") : addr("2001:db8::");
	p.addr.w[family == SLUICE_IPV4 ? 0 : 3] |= sluice_htonl(tap_below(1 << PEER_BITS));
	sluice_addr_mask(&p.addr, p.plen);
	return p;
}

static void random_service(struct pair *p)
{
	struct sluice_dp_backend backends[5];
	struct sluice_dp_service s =
		service_at(tap_below(SERVICE_IPS), tap_below(SERVICE_PORTS), SLUICE_IPV4);

	if (tap_one_in(3)) {
		both(p, del_service, &s);
		return;
	}
	s.name = tap_one_in(2) ? "shop/x:80" : "shop/y:80";
	s.backends = backends;
	s.n_backends = tap_below(5);
	for (uint32_t i = 0; i < s.n_backends; i++) {
		memset(&backends[i], 0, sizeof(backends[i]));
		backends[i].addr.w[0] = sluice_htonl(0x0a010000 + tap_below(3) + i * 3);
		backends[i].port = 8080;
	}
	/* Sometimes one that is refused. */
	if (s.n_backends && tap_one_in(40))
		backends[0].port = 0;
	both(p, set_service, &s);
}

static void random_endpoint(struct pair *p)
{
	struct sluice_dp_addr a[2] = { 0 };
	struct sluice_dp_endpoint e = { .ifindex = pods[tap_below(PODS)],
					.name = tap_one_in(2) ? "shop/p" : "shop/q",
					.container = "c/eth0",
					.addrs = a,
					.n_addrs = 1 + tap_below(2),
					.ingress = tap_one_in(2) ? 1 + tap_below(3) : 0,
					.egress = tap_one_in(2) ? 1 + tap_below(3) : 0,
					.open = !tap_one_in(4) };

	if (tap_one_in(3)) {
		both(p, del_endpoint, &e);
		return;
	}
	for (uint32_t i = 0; i < e.n_addrs; i++) {
		a[i].family = SLUICE_IPV4;
		a[i].addr.w[0] = sluice_htonl(0x0a010100 + tap_below(2 * PODS) + i * 2 * PODS);
	}
	both(p, set_endpoint, &e);
}

static void random_object(struct pair *p)
{
	struct sluice_dp_ruleset ruleset = { 1 + tap_below(3), blobs[tap_below(4)] };
	struct sluice_dp_rule rule = { 1 + tap_below(4), "shop/policy", "ingress[0]" };
	struct sluice_dp_uplink up = { uplink };
	struct sluice_dp_peer o;

	switch (tap_below(6)) {
	case 0:
		random_service(p);
		break;
	case 1:
	case 2:
		o = random_peer();
		if (tap_one_in(3))
			both(p, del_peer, &o);
		else
			both(p, set_peer, &o);
		break;
	case 3:
		if (tap_one_in(6))
			both(p, del_ruleset, &ruleset);
		else
			both(p, set_ruleset, &ruleset);
		break;
	case 4:
		random_endpoint(p);
		break;
	default:
		if (tap_one_in(2))
			both(p, set_rule, &rule);
		else if (tap_one_in(2))
			both(p, set_uplink, &up);
		else
			both(p, del_uplink, &up);
	}
}

/* One transaction; true: it was committed. */
static bool random_transaction(struct pair *p)
{
	uint32_t n = 1 + tap_below(tap_one_in(4) ? 60 : 6);
	bool sweep = tap_one_in(8);

	begin(p);
	for (uint32_t i = 0; i < n && !p->failed; i++)
		random_object(p);
	if (p->failed || tap_one_in(10)) {
		for (int i = 0; i < 2; i++)
			p->dp[i]->ops->abort(p->dp[i]);
		return false;
	}
	commit(p, sweep);
	return !p->failed;
}

/* Where two texts of many lines begin to differ, for a diagnosis of a line or two. */
static const char *difference(const char *got, const char *want)
{
	static char text[1024];
	size_t same = 0;

	for (size_t i = 0; got[i] && got[i] == want[i]; i++)
		if (got[i] == '\n')
			same = i + 1;
	snprintf(text, sizeof(text), "got \"%.*s\", not \"%.*s\"", (int)strcspn(got + same, "\n"),
		 got + same, (int)strcspn(want + same, "\n"), want + same);
	return text;
}

static char *dump_of(const struct pair *p, int which)
{
	return which ? sluice_dataplane_bpf_dump(p->dp[1]) : sluice_memory_dump(p->dp[0]);
}

/* Everything that packets could ask for, as text: by the maps as of a revision. */
static char *view(const struct sluice_bpf *b, uint32_t revision)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	uint32_t words[3];

	for (uint32_t i = 0; i < 1U << PEER_BITS; i++) {
		struct sluice_addr a4 = addr("10.9.0.0"), a6 = addr("2001:db8::");

		a4.w[0] |= sluice_htonl(i);
		a6.w[3] |= sluice_htonl(i);
		fprintf(f, "%u %u ", view_class(b, revision, &a4, SLUICE_IPV4),
			view_class(b, revision, &a6, SLUICE_IPV6));
	}
	fprintf(f, "\n");
	for (uint32_t i = 0; i < SERVICE_IPS * SERVICE_PORTS; i++) {
		struct sluice_dp_service s =
			service_at(i / SERVICE_PORTS, i % SERVICE_PORTS, SLUICE_IPV4);
		struct sluice_service_key key = { s.addr, sluice_htons(s.port), s.proto, s.family };
		uint32_t set = 0, n = view_service(b, revision, &key, &set);

		fprintf(f, "service %u vip %u n %u:", i,
			view_number(b, SLUICE_BPF_MAP_VIPS, revision, &s.addr, s.family), n);
		for (uint32_t j = 0; n != SLUICE_BPF_ABSENT && j < n; j++) {
			struct sluice_bpf_backend_key at = { set, j };
			struct sluice_bpf_backend backend = { 0 };

			if (bpf_map_lookup_elem(fd_of(b, SLUICE_BPF_MAP_BACKENDS), &at, &backend))
				fprintf(f, " missing");
			fprintf(f, " %08x:%u", sluice_ntohl(backend.addr.w[0]),
				sluice_ntohs(backend.port));
		}
		fprintf(f, "\n");
	}
	for (uint32_t i = 0; i < PODS; i++) {
		if (!view_endpoint(b, revision, pods[i], words))
			continue;
		fprintf(f, "endpoint %u flags %u", i, words[0]);
		for (int dir = 1; dir < 3; dir++) {
			int blob = 0;

			while (words[dir] && blob < 4 && !view_ruleset(b, words[dir], blobs[blob]))
				blob++;
			fprintf(f, " %d", words[dir] ? blob : -1);
		}
		fprintf(f, "\n");
	}
	for (uint32_t i = 0; i < 4 * PODS + 2; i++) {
		struct sluice_addr a = addr("10.1.1.0");
		uint32_t owner;

		a.w[0] |= sluice_htonl(i);
		owner = view_number(b, SLUICE_BPF_MAP_ADDRS, revision, &a, SLUICE_IPV4);
		if (owner != SLUICE_BPF_ABSENT)
			fprintf(f, "addr %u is %u's\n", i, owner);
	}
	fclose(f);
	return text;
}

/* Which of the blobs a ruleset of the data plane in memory has: its dump has a line for each. */
static int blob_of(const char *dump, uint32_t id)
{
	static char *texts[4];
	char name[32], *line, *at;
	int found = -1;

	if (!id)
		return -1;
	for (int i = 0; i < 4 && !texts[3]; i++) {
		struct sluice_dataplane *one = sluice_memory_new();
		struct sluice_dp_ruleset r = { 1, blobs[i] };

		one->ops->begin(one, NULL);
		one->ops->set_ruleset(one, &r, NULL);
		one->ops->commit(one, false, NULL);
		line = sluice_memory_dump(one);
		line[strcspn(line, "\n")] = 0;
		texts[i] = strdup(line + strlen("ruleset 1 "));
		free(line);
		one->ops->close(one);
	}
	snprintf(name, sizeof(name), "ruleset %u ", id);
	at = strstr(dump, name);
	if (!at)
		return 4;
	at += strlen(name);
	for (int i = 0; i < 4; i++)
		if (!strncmp(at, texts[i], strlen(texts[i])))
			found = i;
	return found;
}

/* The same as text by the data plane in memory. */
static char *expected_view(const struct sluice_dataplane *memory)
{
	char *text = NULL, *dump = sluice_memory_dump(memory);
	size_t len;
	FILE *f = open_memstream(&text, &len);
	const struct sluice_dp_endpoint *owners[4 * PODS + 2];

	for (uint32_t i = 0; i < 1U << PEER_BITS; i++) {
		struct sluice_addr a4 = addr("10.9.0.0"), a6 = addr("2001:db8::");

		a4.w[0] |= sluice_htonl(i);
		a6.w[3] |= sluice_htonl(i);
		fprintf(f, "%u %u ", sluice_memory_class(memory, &a4, SLUICE_IPV4),
			sluice_memory_class(memory, &a6, SLUICE_IPV6));
	}
	fprintf(f, "\n");
	for (uint32_t i = 0; i < SERVICE_IPS * SERVICE_PORTS; i++) {
		struct sluice_dp_service s =
			service_at(i / SERVICE_PORTS, i % SERVICE_PORTS, SLUICE_IPV4);
		struct sluice_memory_query q = {
			.dst = s.addr, .family = s.family, .proto = s.proto, .port = s.port
		};
		struct sluice_memory_answer a;
		bool vip;

		sluice_memory_query(memory, &q, &a);
		vip = a.service || a.judgement.reason == SLUICE_REASON_SERVICE_PORT;
		fprintf(f, "service %u vip %u n %u:", i, vip ? 1 : SLUICE_BPF_ABSENT,
			a.service ? a.service->n_backends : SLUICE_BPF_ABSENT);
		for (uint32_t j = 0; a.service && j < a.service->n_backends; j++)
			fprintf(f, " %08x:%u", sluice_ntohl(a.service->backends[j].addr.w[0]),
				a.service->backends[j].port);
		fprintf(f, "\n");
	}
	for (uint32_t i = 0; i < 4 * PODS + 2; i++) {
		struct sluice_memory_query q = { .dst = addr("10.1.1.0"), .family = SLUICE_IPV4 };
		struct sluice_memory_answer a;

		q.dst.w[0] |= sluice_htonl(i);
		sluice_memory_query(memory, &q, &a);
		owners[i] = a.dst;
	}
	for (uint32_t i = 0; i < PODS; i++) {
		const struct sluice_dp_endpoint *e = NULL;

		for (uint32_t j = 0; j < 4 * PODS + 2; j++)
			if (owners[j] && owners[j]->ifindex == pods[i])
				e = owners[j];
		if (e)
			fprintf(f, "endpoint %u flags %u %d %d\n", i,
				SLUICE_BPF_ENDPOINT_PRESENT |
					(e->open ? SLUICE_BPF_ENDPOINT_OPEN : 0),
				blob_of(dump, e->ingress), blob_of(dump, e->egress));
	}
	for (uint32_t i = 0; i < 4 * PODS + 2; i++)
		if (owners[i])
			fprintf(f, "addr %u is %u's\n", i, owners[i]->ifindex);
	fclose(f);
	free(dump);
	return text;
}

/* Tests **********************************************************************************/

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static bool is_pinned(const struct sluice_bpf *b, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", b->dir, name);
	return !access(path, F_OK);
}

/* Objects on the free list; 0 if one is on it twice, or it leads out of the table. */
static uint32_t free_objects(const struct sluice_bpf *b, int table)
{
	const struct sluice_bpf_control *c = b->control;
	uint32_t ref = (uint32_t)c->table[table].free, n = 0, segment = UINT32_MAX;
	size_t size = table ? sizeof(struct sluice_bpf_conn6) : sizeof(struct sluice_bpf_conn4);
	bool *seen = calloc(c->table[table].capacity, sizeof(*seen));
	const char *memory = NULL;
	int fd;

	while (ref) {
		uint32_t index = sluice_bpf_ref_index(ref);
		const struct sluice_bpf_conn *conn;

		if (index >= c->table[table].capacity || seen[index] || sluice_bpf_ref_dir(ref)) {
			n = 0;
			break;
		}
		seen[index] = true;
		if (index >> SLUICE_BPF_SEGMENT_BITS != segment) {
			if (memory)
				munmap((void *)memory,
				       sluice_bpf_map_pages(SLUICE_BPF_SEGMENT * size));
			segment = index >> SLUICE_BPF_SEGMENT_BITS;
			fd = sluice_bpf_map_inner(
				&b->maps[table ? SLUICE_BPF_MAP_CONNS6 : SLUICE_BPF_MAP_CONNS4],
				segment, NULL);
			memory = sluice_bpf_map_memory(fd, SLUICE_BPF_SEGMENT * size, true, "conns",
						       NULL);
			close(fd);
		}
		conn = (const void *)(memory + (index & (SLUICE_BPF_SEGMENT - 1)) * size);
		ref = conn->next[0];
		n++;
	}
	if (memory)
		munmap((void *)memory, sluice_bpf_map_pages(SLUICE_BPF_SEGMENT * size));
	free(seen);
	return n;
}

static uint32_t link_prog(const struct sluice_bpf *b, const char *name, uint32_t *link_id)
{
	uint32_t info[32] = { 0 }, len = sizeof(info);
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", b->dir, name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return 0;
	bpf_obj_get_info_by_fd(fd, info, &len);
	close(fd);
	if (link_id)
		*link_id = info[1];
	return info[2];
}

static const char *link_name(uint32_t ifindex, const char *way)
{
	static char name[64];

	snprintf(name, sizeof(name), "link-%u-%s", ifindex, way);
	return name;
}

static void remove_all(void)
{
	struct sluice_bpf_removed removed;
	SLUICE_ERR(err);

	if (sluice_bpf_remove(&removed, &err))
		diag("remove: %s", sluice_err_msg(&err));
}

static void test_fresh(void)
{
	struct pair p = open_pair(&pass);
	const struct sluice_bpf *b = object_of(&p);
	const struct sluice_bpf_control *c = b->control;
	uint64_t cookie = 0;

	ok(b->fresh && is_pinned(b, "control") && is_pinned(b, "prog-sluice_pod") &&
		   is_pinned(b, "conns6") && is_pinned(b, "sockets"),
	   "a fresh namespace gets all pins");
	sluice_bpf_cookie(&cookie, NULL);
	is_u64(c->layout, SLUICE_BPF_LAYOUT, "control says which layout it is");
	is_u64(c->netns_cookie, cookie, "... and which namespace");
	ok(c->secret[0] & 1 && c->secret[1] & 1 && c->secret[0] != c->secret[1],
	   "its secrets are odd, and two");
	is_u64(c->timeouts[SLUICE_STATE_TCP_ESTABLISHED], 86400ULL * 1000000000 >> 20,
	       "timeouts are core's, in ticks");
	is_u64(c->timeouts[SLUICE_STATE_DENIED], 5ULL * 1000000000 >> 20, "... the short one too");
	is_u64(c->table[0].capacity, SLUICE_BPF_SEGMENT, "IPv4 begins with a segment");
	is_u64(c->table[1].capacity, SLUICE_BPF_SEGMENT, "so does IPv6");
	is_u64(free_objects(b, 0), SLUICE_BPF_SEGMENT, "all its objects are free, each once");
	is_u64(free_objects(b, 1), SLUICE_BPF_SEGMENT, "likewise IPv6");
	is_u64(c->budget, BUDGET, "the budget is what was asked for");
	ok(sluice_bpf_conn_bytes(c) + (c->table[0].limit - c->table[0].capacity) *
					      sizeof(struct sluice_bpf_conn4) <=
		   BUDGET,
	   "the limit of IPv4 keeps within it");
	ok((c->table[0].bucket_mask & (c->table[0].bucket_mask + 1)) == 0 &&
		   c->table[0].bucket_mask + 1 >= BUDGET / 148 &&
		   b->maps[SLUICE_BPF_MAP_BUCKETS4].max_entries * SLUICE_BPF_HEADS ==
			   c->table[0].bucket_mask + 1,
	   "a head for each connection, a power of two");
	if (cgroup)
		ok(is_pinned(b, "link-cgroup-connect4") &&
			   is_pinned(b, "link-cgroup-getpeername6") && !b->warning,
		   "the cgroup has its programs");
	else
		ok(true, "the cgroup has its programs # SKIP no cgroup2");
	close_pair(&p);
}

static void test_commit(void)
{
	struct pair p = open_pair(&pass);
	const struct sluice_bpf *b = object_of(&p);
	struct sluice_service_key key = { addr("10.96.0.1"), sluice_htons(80), SLUICE_PROTO_TCP,
					  SLUICE_IPV4 };
	struct sluice_bpf_backend gone = { addr("10.1.0.2"), sluice_htons(8080), 0 };
	struct sluice_addr host = addr("10.2.0.1"), other = addr("10.2.0.2"),
			   out = addr("10.3.0.1");
	uint32_t r, words[3] = { 0 }, gen, epoch;
	struct sluice_dp_uplink up = { uplink };
	char *mine, *memory;

	begin(&p);
	set_service(&p, "10.96.0.1", 80, "shop/api:http", 3, 1);
	set_service(&p, "10.96.0.1", 81, "shop/api:none", 0, 0);
	set_peer(&p, "10.2.0.0/16", 7, "all");
	set_peer(&p, "10.2.0.1/32", 8, "one");
	set_ruleset(&p, 1, 0);
	set_ruleset(&p, 2, 1);
	set_endpoint(&p, 0, "10.1.0.1", 1, 2, true);
	both(&p, set_uplink, &up);
	r = b->control->revision;
	is_u64(view_service(b, r, &key, NULL), SLUICE_BPF_ABSENT,
	       "nothing is there before the commit");
	commit(&p, false);
	ok_checks("a transaction is committed");
	is_u64(b->control->revision, r + 1, "the revision counts up by one");
	r = b->control->revision;
	is_u64(view_service(b, r, &key, NULL), 3, "the service has its backends");
	is_u64(view_service(b, r - 1, &key, NULL), SLUICE_BPF_ABSENT,
	       "a packet of the revision before does not see it");
	is_u64(view_number(b, SLUICE_BPF_MAP_VIPS, r, &key.addr, SLUICE_IPV4), 1,
	       "its address is known to be a service's");
	is_u64(view_class(b, r, &host, SLUICE_IPV4), 8, "an address of its own has its class");
	is_u64(view_class(b, r, &other, SLUICE_IPV4), 7, "others have that of the prefix");
	is_u64(view_class(b, r, &out, SLUICE_IPV4), 0, "and those outside have none");
	is_u64(view_class(b, r - 1, &host, SLUICE_IPV4), 0,
	       "nobody had one in the revision before");
	ok(view_endpoint(b, r, pods[0], words) &&
		   words[0] == (SLUICE_BPF_ENDPOINT_PRESENT | SLUICE_BPF_ENDPOINT_OPEN) &&
		   view_ruleset(b, words[1], blobs[0]) && view_ruleset(b, words[2], blobs[1]),
	   "the endpoint is open and obeys its rulesets");
	ok(!view_endpoint(b, r - 1, pods[0], words), "it was not there in the revision before");
	ok(sluice_bpf_role(b, pods[0]) == SLUICE_BPF_ROLE_POD &&
		   sluice_bpf_role(b, uplink) == SLUICE_BPF_ROLE_UPLINK,
	   "the interfaces have their programs");
	if (b->tcx)
		ok(link_prog(b, link_name(pods[0], "out"), NULL) ==
				   b->prog_ids[SLUICE_BPF_PROG_TO_POD] &&
			   !is_pinned(b, link_name(uplink, "out")),
		   "a pod's has one at egress, the uplink has not");
	mine = dump_of(&p, 1);
	memory = dump_of(&p, 0);
	is_str(mine, memory, "it holds what the data plane in memory holds");
	free(mine);
	free(memory);

	gen = b->control->policy_gen;
	epoch = b->control->backend_epoch;
	begin(&p);
	set_service(&p, "10.96.0.1", 80, "shop/api:http", 3, 1);
	commit(&p, false);
	ok(b->control->policy_gen == gen && b->control->backend_epoch == epoch,
	   "writing what is there changes no generation");
	begin(&p);
	set_service(&p, "10.96.0.1", 80, "shop/api:http", 4, 1);
	commit(&p, false);
	ok(b->control->policy_gen == gen && b->control->backend_epoch == epoch,
	   "one backend more does neither");
	ok(view_ref(b, &key, &gone), "a backend is known as one of the service's");
	begin(&p);
	set_service(&p, "10.96.0.1", 80, "shop/api:http", 1, 1);
	commit(&p, false);
	is_u64(b->control->backend_epoch, epoch + 1, "one less counts up the backends' epoch");
	ok(!view_ref(b, &key, &gone), "and it is not known as one any more");
	r = b->control->revision;
	is_u64(view_service(b, r - 1, &key, NULL), 4,
	       "a packet of the revision before still sees four backends");
	begin(&p);
	set_peer(&p, "10.2.0.1/32", 9, "one");
	commit(&p, false);
	is_u64(b->control->policy_gen, gen + 1, "a peer's class counts up the policy generation");
	r = b->control->revision;
	ok(view_class(b, r, &host, SLUICE_IPV4) == 9 &&
		   view_class(b, r - 1, &host, SLUICE_IPV4) == 8,
	   "both revisions have theirs");
	begin(&p);
	set_ruleset(&p, 1, 3);
	commit(&p, false);
	r = b->control->revision;
	ok(view_endpoint(b, r, pods[0], words) && view_ruleset(b, words[1], blobs[3]),
	   "a ruleset that changes takes its endpoints along");
	ok(view_endpoint(b, r - 1, pods[0], words) && view_ruleset(b, words[1], blobs[0]),
	   "in the revision before they obey the old one");
	begin(&p);
	del_peer(&p, "10.2.0.1/32");
	del_service(&p, "10.96.0.1", 81);
	commit(&p, false);
	ok_checks("and each of that was committed");
	is_u64(view_class(b, b->control->revision, &host, SLUICE_IPV4), 7,
	       "without a class of its own an address has its prefix's");
	close_pair(&p);
}

static void test_refusals(void)
{
	struct pair p = open_pair(&pass);
	const struct sluice_bpf *b = object_of(&p);
	struct sluice_dp_uplink up = { .ifindex = 1000000 };
	struct sluice_dp_addr a = { addr("10.1.0.9"), SLUICE_IPV4 };
	struct sluice_dp_endpoint e = {
		.name = "shop/x", .container = "", .addrs = &a, .n_addrs = 1
	};
	struct sluice_dp_service s = { .family = SLUICE_IPV4,
				       .proto = SLUICE_PROTO_TCP,
				       .port = 1 };
	struct sluice_dataplane *dp = p.dp[1];
	char *before = view(b, b->control->revision), *after;
	int ret;
	SLUICE_ERR(err);

	dp->ops->begin(dp, &err);
	ret = dp->ops->begin(dp, &err);
	is_u64(-ret, EBUSY, "a second transaction is refused");
	e.ifindex = 1000000;
	dp->ops->set_service(
		dp, &(struct sluice_dp_service){ addr("10.96.0.9"), 80, 6, 4, "a/b:c" }, NULL);
	dp->ops->set_endpoint(dp, &e, NULL);
	ret = dp->ops->commit(dp, false, &err);
	is_u64(-ret, ENODEV, "an endpoint on no interface fails the commit");
	ok(strstr(sluice_err_msg(&err), "endpoint shop/x"), "... by name: %s",
	   sluice_err_msg(&err));
	after = view(b, b->control->revision);
	is_str(after, before, "and nothing of it is in the maps");
	free(after);
	dp->ops->begin(dp, &err);
	e.ifindex = pods[1];
	e.ingress = 99;
	dp->ops->set_endpoint(dp, &e, NULL);
	ret = dp->ops->commit(dp, false, &err);
	is_u64(-ret, ENOENT, "a ruleset that is not there: %s", sluice_err_msg(&err));
	dp->ops->begin(dp, &err);
	e.ingress = 0;
	e.ifindex = uplink;
	dp->ops->set_endpoint(dp, &e, NULL);
	ret = dp->ops->commit(dp, false, &err);
	is_u64(-ret, EBUSY, "an uplink is no endpoint: %s", sluice_err_msg(&err));
	ok(sluice_bpf_role(b, uplink) == SLUICE_BPF_ROLE_UPLINK, "and stays an uplink");
	dp->ops->begin(dp, &err);
	e.ifindex = if_nametoindex("lo");
	dp->ops->set_endpoint(dp, &e, NULL);
	ret = dp->ops->commit(dp, false, &err);
	is_u64(-ret, EINVAL, "the loopback is none either: %s", sluice_err_msg(&err));
	dp->ops->begin(dp, &err);
	ret = dp->ops->set_service(dp, &s, &err);
	dp->ops->abort(dp);
	is_u64(-ret, 0, "a service with address 0 is one");
	/* More than a map takes. */
	dp->ops->begin(dp, &err);
	for (uint32_t i = 0; i < 65537; i++) {
		struct sluice_dp_service many = { .port = 80,
						  .proto = SLUICE_PROTO_TCP,
						  .family = SLUICE_IPV4,
						  .name = "shop/many:80" };

		many.addr.w[0] = sluice_htonl(0x0b000000 + i);
		dp->ops->set_service(dp, &many, NULL);
	}
	ret = dp->ops->commit(dp, false, &err);
	is_u64(-ret, E2BIG, "more services than a map takes");
	ok(strstr(sluice_err_msg(&err), "map services") &&
		   strstr(sluice_err_msg(&err), "shop/many"),
	   "... by the names of map and object: %s", sluice_err_msg(&err));
	dp->ops->begin(dp, &err);
	e.ifindex = pods[1];
	dp->ops->set_endpoint(dp, &e, NULL);
	dp->ops->set_uplink(dp, &up, NULL);
	ret = dp->ops->commit(dp, false, &err);
	is_u64(-ret, ENODEV, "an uplink on no interface");
	ok(sluice_bpf_role(b, pods[1]) == SLUICE_BPF_ROLE_NONE,
	   "what was attached for a transaction that failed is detached");
	after = view(b, b->control->revision);
	is_str(after, before, "after all that the maps hold what they did");
	free(after);
	dp->ops->begin(dp, NULL);
	ret = dp->ops->commit(dp, false, &err);
	is_u64(-ret, 0, "and the next transaction works: %s", sluice_err_msg(&err));
	free(before);
	close_pair(&p);
}

static void test_restart(void)
{
	struct pair p = open_pair(&pass);
	const struct sluice_bpf *b = object_of(&p);
	uint32_t prog = b->prog_ids[SLUICE_BPF_PROG_POD], link = 0, again = 0, cg = 0, cg_again = 0;
	char *before = sluice_dataplane_bpf_dump(p.dp[1]), *seen = view(b, b->control->revision);
	struct sluice_bpf second;
	struct sluice_bpf_options o = options(&pass);
	char *after, pid[32];
	int ret;
	SLUICE_ERR(err);

	ret = sluice_bpf_open(&second, &o, &err);
	is_u64(-ret, EBUSY, "a second writer is refused");
	snprintf(pid, sizeof(pid), "process %d ", getpid());
	ok(strstr(sluice_err_msg(&err), pid), "... by the first one's pid: %s",
	   sluice_err_msg(&err));
	link_prog(b, link_name(pods[0], "in"), &link);
	link_prog(b, "link-cgroup-connect4", &cg);
	close_pair(&p);
	p = open_pair(&pass);
	b = object_of(&p);
	ok(!b->fresh && !b->replaced, "another start of the same build takes what is there");
	is_u64(b->prog_ids[SLUICE_BPF_PROG_POD], prog, "with its programs");
	link_prog(b, link_name(pods[0], "in"), &again);
	link_prog(b, "link-cgroup-connect4", &cg_again);
	ok(again == link && cg_again == cg, "and their attachments");
	after = sluice_dataplane_bpf_dump(p.dp[1]);
	is_str(after, before, "it knows from the maps what they hold");
	free(after);
	after = view(b, b->control->revision);
	is_str(after, seen, "and packets see what they saw");
	free(after);
	free(before);
	free(seen);
	close_pair(&p);
}

static void test_upgrade(void)
{
	struct pair p = open_pair(&pass);
	const struct sluice_bpf *b = object_of(&p);
	uint32_t old = b->prog_ids[SLUICE_BPF_PROG_POD], link = 0, again = 0;
	char *before = sluice_dataplane_bpf_dump(p.dp[1]), *after;
	struct sluice_bpf_options o = options(&refused);
	struct sluice_bpf second;
	int ret;
	SLUICE_ERR(err);

	if (b->tcx)
		link_prog(b, link_name(pods[0], "in"), &link);
	close_pair(&p);

	ret = sluice_bpf_open(&second, &o, &err);
	ok(ret == -EACCES || ret == -EINVAL, "a program that the verifier refuses");
	ok(strstr(sluice_err_msg(&err), "sluice_pod") &&
		   strstr(sluice_err_msg(&err), "invalid mem"),
	   "... with the end of its log: %s", sluice_err_msg(&err));
	p = open_pair(&pass);
	b = object_of(&p);
	ok(!b->replaced && b->prog_ids[SLUICE_BPF_PROG_POD] == old, "leaves the others in place");
	close_pair(&p);

	p = open_pair(&drop);
	b = object_of(&p);
	ok(b->replaced && b->prog_ids[SLUICE_BPF_PROG_POD] != old, "another build is loaded");
	ok(sluice_bpf_role(b, pods[0]) == SLUICE_BPF_ROLE_POD, "the pod's interface has programs");
	if (b->tcx) {
		is_u64(link_prog(b, link_name(pods[0], "in"), &again),
		       b->prog_ids[SLUICE_BPF_PROG_POD], "the new ones, at ingress");
		is_u64(link_prog(b, link_name(pods[0], "out"), NULL),
		       b->prog_ids[SLUICE_BPF_PROG_TO_POD], "and at egress");
		is_u64(link_prog(b, link_name(uplink, "in"), NULL),
		       b->prog_ids[SLUICE_BPF_PROG_UPLINK], "so has the uplink");
		is_u64(again, link,
		       "through the same links: there was no moment without a program");
	}
	if (cgroup)
		is_u64(link_prog(b, "link-cgroup-sendmsg6", NULL),
		       b->prog_ids[SLUICE_BPF_PROG_SENDMSG6], "and the cgroup");
	after = sluice_dataplane_bpf_dump(p.dp[1]);
	is_str(after, before, "the maps are what they were");
	free(after);
	free(before);
	close_pair(&p);
	p = open_pair(&drop);
	ok(!object_of(&p)->replaced, "the next start of that build finds it there");
	close_pair(&p);
}

static void test_sweep(void)
{
	struct pair p = open_pair(&pass);
	struct sluice_dataplane *memory = p.dp[0];
	char *mine, *want;

	(void)memory;
	begin(&p);
	set_service(&p, "10.96.0.7", 80, "shop/only:80", 2, 1);
	set_endpoint(&p, 2, "10.1.0.3", 0, 0, true);
	commit(&p, true);
	ok_checks("a full transaction is committed");
	mine = dump_of(&p, 1);
	want = dump_of(&p, 0);
	is_str(mine, want, "what it did not write is gone");
	free(mine);
	free(want);
	ok(sluice_bpf_role(object_of(&p), pods[0]) == SLUICE_BPF_ROLE_POD,
	   "an endpoint that goes leaves its interface closed");
	ok(sluice_bpf_role(object_of(&p), uplink) == SLUICE_BPF_ROLE_NONE,
	   "an uplink that goes leaves nothing");
	close_pair(&p);
}

static void test_bad_pins(void)
{
	struct pair p = open_pair(&pass);
	const struct sluice_bpf *b = object_of(&p);
	struct sluice_bpf_options o = options(&pass);
	uint32_t prog = link_prog(b, link_name(pods[2], "in"), NULL);
	struct sluice_bpf_removed removed;
	struct sluice_bpf second;
	char path[512];
	int ret;
	SLUICE_ERR(err);

	b->control->layout = 99;
	snprintf(path, sizeof(path), "%s/vips", b->dir);
	close_pair(&p);
	ret = sluice_bpf_open(&second, &o, &err);
	is_u64(-ret, EPROTONOSUPPORT, "another layout is refused: %s", sluice_err_msg(&err));
	o = options(&drop);
	ret = sluice_bpf_open(&second, &o, &err);
	is_u64(-ret, EPROTONOSUPPORT, "by another build, too");
	second = (struct sluice_bpf){ .lock = -1 };
	{
		/* As the map says itself, so that the rest of the test may go on. */
		char control[512];
		int fd;

		snprintf(control, sizeof(control), "%.*s/control", (int)(strrchr(path, '/') - path),
			 path);
		fd = bpf_obj_get(control);
		uint32_t *layout = sluice_bpf_map_memory(fd, 4, true, "control", NULL);

		*layout = SLUICE_BPF_LAYOUT;
		munmap(layout, sluice_bpf_map_pages(4));
		close(fd);
	}
	unlink(path);
	o = options(&pass);
	ret = sluice_bpf_open(&second, &o, &err);
	is_u64(-ret, EUCLEAN, "a pin that is missing is refused");
	ok(strstr(sluice_err_msg(&err), "vips") &&
		   strstr(sluice_err_msg(&err), "sluicectl bpf remove"),
	   "... by its name, and with the remedy: %s", sluice_err_msg(&err));
	*strrchr(path, '/') = 0;
	memcpy(second.dir, path, strlen(path) + 1);
	if (prog)
		is_u64(link_prog(&second, link_name(pods[2], "in"), NULL), prog,
		       "what is attached stays attached");
	ret = sluice_bpf_remove(&removed, &err);
	ok(!ret && access(path, F_OK), "removing takes away the rest");
	ok(removed.programs == SLUICE_BPF_PROG_COUNT && removed.maps >= SLUICE_BPF_MAP_COUNT - 1 &&
		   removed.attachments,
	   "and says how much: %u attachments, %u programs, %u maps", removed.attachments,
	   removed.programs, removed.maps);
	ret = sluice_bpf_remove(&removed, &err);
	ok(!ret && !removed.maps, "once more: there is nothing");
	snprintf(path, sizeof(path), "/run/sluice/bpf-%s.lock", strrchr(second.dir, '-') + 1);
	ok(access(path, F_OK), "the lock's file is gone, too");
	p = open_pair(&pass);
	ok(object_of(&p)->fresh, "and a start begins anew");
	ok(sluice_bpf_role(object_of(&p), pods[2]) == SLUICE_BPF_ROLE_NONE,
	   "on interfaces without programs");
	close_pair(&p);
}

static void test_growth(void)
{
	struct pair p = open_pair(&pass);
	const struct sluice_bpf *b = object_of(&p);
	struct sluice_bpf_control *c = b->control;
	uint32_t limit;
	SLUICE_ERR(err);

	sluice_dataplane_bpf_tick(p.dp[1], &err);
	is_u64(c->table[0].capacity, SLUICE_BPF_SEGMENT, "an empty table does not grow");
	c->table[0].used = 1;
	sluice_dataplane_bpf_tick(p.dp[1], &err);
	is_u64(c->table[0].capacity, 2 * SLUICE_BPF_SEGMENT, "a segment is kept free");
	is_u64(free_objects(b, 0), 2 * SLUICE_BPF_SEGMENT, "the new objects are on the free list");
	limit = c->table[1].limit;
	c->table[0].used = 7 * SLUICE_BPF_SEGMENT / 2;
	sluice_dataplane_bpf_tick(p.dp[1], &err);
	ok(c->table[0].capacity <= c->table[0].limit && sluice_bpf_conn_bytes(c) <= BUDGET,
	   "growth ends at the budget: %u objects, limit %u, %llu bytes", c->table[0].capacity,
	   c->table[0].limit, (unsigned long long)sluice_bpf_conn_bytes(c));
	is_u64(c->table[0].capacity, c->table[0].limit, "and there the limit is what it has");
	ok(c->table[1].limit < limit, "what IPv4 took IPv6 has no more: %u of %u",
	   c->table[1].limit, limit);
	sluice_bpf_set_budget(c, BUDGET * 4, &err);
	ok(c->table[0].limit > c->table[0].capacity, "a larger budget lets it grow again");
	sluice_dataplane_bpf_tick(p.dp[1], &err);
	ok(c->table[0].capacity - c->table[0].used >= c->table[0].capacity / 4,
	   "until a quarter is free: %u of %u", c->table[0].capacity - c->table[0].used,
	   c->table[0].capacity);
	is_u64(free_objects(b, 0), c->table[0].capacity, "all of them once on the free list");
	sluice_bpf_set_budget(c, BUDGET / 8, &err);
	ok(c->table[0].limit < c->table[0].capacity &&
		   (uint64_t)c->table[0].limit * sizeof(struct sluice_bpf_conn4) +
				   (uint64_t)c->table[1].limit * sizeof(struct sluice_bpf_conn6) <=
			   BUDGET / 8,
	   "a smaller one holds for both together: %u and %u", c->table[0].limit,
	   c->table[1].limit);
	ok(sluice_bpf_set_budget(c, 0, &err) == -EINVAL, "none at all is refused");
	c->table[0].used = 0;
	sluice_bpf_set_budget(c, BUDGET, &err);
	close_pair(&p);
	p = open_pair(&pass);
	b = object_of(&p);
	ok(b->control->table[0].capacity > SLUICE_BPF_SEGMENT &&
		   free_objects(b, 0) == b->control->table[0].capacity,
	   "a restart finds the table as large as it was");
	close_pair(&p);
}

/* The object at an index, in memory of its own. */
static struct sluice_bpf_conn4 *conn4_at(const struct sluice_bpf *b, uint32_t index)
{
	int fd = sluice_bpf_map_inner(&b->maps[SLUICE_BPF_MAP_CONNS4],
				      index >> SLUICE_BPF_SEGMENT_BITS, NULL);
	struct sluice_bpf_conn4 *all =
		sluice_bpf_map_memory(fd, SLUICE_BPF_SEGMENT * sizeof(*all), true, "conns4", NULL);

	close(fd);
	return &all[index & (SLUICE_BPF_SEGMENT - 1)];
}

static void test_endpoint_gone(void)
{
	struct pair p = open_pair(&pass);
	const struct sluice_bpf *b = object_of(&p);
	struct sluice_bpf_conn4 *mine, *others;
	uint32_t alive = b->control->table[0].alive;

	begin(&p);
	set_endpoint(&p, 5, "10.1.0.5", 0, 0, true);
	set_endpoint(&p, 4, "10.1.0.4", 0, 0, true);
	commit(&p, true);
	mine = conn4_at(b, 5);
	others = conn4_at(b, 6);
	mine->c.bits = others->c.bits = SLUICE_BPF_LIVE;
	mine->c.side[1] = SLUICE_BPF_SIDE_POD << SLUICE_BPF_SIDE_SHIFT | pods[5];
	others->c.side[1] = SLUICE_BPF_SIDE_POD << SLUICE_BPF_SIDE_SHIFT | pods[4];
	b->control->table[0].alive = alive + 2;
	if (system("ip link del p5"))
		diag("ip link del failed");
	begin(&p);
	del_endpoint(&p, 5);
	commit(&p, false);
	ok_checks("an endpoint whose interface is gone is deleted without complaint");
	is_u64(mine->c.bits, SLUICE_BPF_LIVE | SLUICE_BPF_DYING, "its connections are dying");
	is_u64(others->c.bits, SLUICE_BPF_LIVE, "those of others are not");
	is_u64(b->control->table[0].alive, alive + 1, "and they are counted");
	ok(!is_pinned(b, link_name(pods[5], "in")) && !is_pinned(b, link_name(pods[5], "out")),
	   "the pins of its attachments are gone");
	mine->c.bits = others->c.bits = 0;
	b->control->table[0].alive = alive;
	close_pair(&p);
	if (system("ip link add p5 type veth peer name q5"))
		diag("ip link add failed");
	pods[5] = if_nametoindex("p5");
}

/* Killed at any moment of a commit: before or after, and the next writer finds it whole. */
static void test_kill(void)
{
	unsigned int before = 0, after = 0;

	for (int round = 0; round < 50; round++) {
		struct pair p = open_pair(&pass);
		char *views[2], *seen;
		uint32_t delay;
		double began;
		uint64_t seed = tap_random();
		pid_t child;
		int status;

		/* Both know nothing at first, and then the same. */
		begin(&p);
		for (int i = 0; i < 30; i++)
			random_object(&p);
		if (p.failed) {
			for (int i = 0; i < 2; i++)
				p.dp[i]->ops->abort(p.dp[i]);
			close_pair(&p);
			continue;
		}
		began = seconds();
		commit(&p, true);
		if (p.failed) {
			close_pair(&p);
			continue;
		}
		/* Machines differ: up to twice the time that this one took. */
		delay = tap_below(1 + (uint32_t)((seconds() - began) * 2e6));
		views[0] = expected_view(p.dp[0]);
		/* The child has our lock and our memory: it goes on where we are. */
		child = fork();
		tap.random = seed;
		if (!child) {
			int got = 0;

			p.dp[1]->ops->begin(p.dp[1], NULL);
			for (int i = 0; i < 40 && !got; i++) {
				struct pair one = { { sluice_memory_new(), p.dp[1] }, false };

				one.dp[0]->ops->begin(one.dp[0], NULL);
				random_object(&one);
				got |= one.failed;
				one.dp[0]->ops->close(one.dp[0]);
			}
			kill(getpid(), SIGSTOP);
			p.dp[1]->ops->commit(p.dp[1], false, NULL);
			_exit(0);
		}
		waitpid(child, &status, WUNTRACED);
		kill(child, SIGCONT);
		usleep(delay);
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		/* The same with the data plane in memory. */
		p.dp[0]->ops->begin(p.dp[0], NULL);
		tap.random = seed;
		for (int i = 0; i < 40; i++) {
			struct pair one = { { p.dp[0], sluice_memory_new() }, false };

			one.dp[1]->ops->begin(one.dp[1], NULL);
			random_object(&one);
			one.dp[1]->ops->close(one.dp[1]);
			if (one.failed)
				break;
		}
		p.dp[0]->ops->commit(p.dp[0], false, NULL);
		views[1] = expected_view(p.dp[0]);
		close_pair(&p);

		p = open_pair(&pass);
		seen = view(object_of(&p), object_of(&p)->control->revision);
		if (!strcmp(seen, views[0]))
			before++;
		else if (!strcmp(seen, views[1]))
			after++;
		else
			check(false, "round %d: after %u us packets see neither state: %s", round,
			      delay, difference(seen, views[0]));
		free(seen);
		/* And it can go on. */
		begin(&p);
		for (int i = 0; i < 10 && !p.failed; i++)
			random_object(&p);
		if (p.failed)
			for (int i = 0; i < 2; i++)
				p.dp[i]->ops->abort(p.dp[i]);
		else
			commit(&p, true);
		if (!p.failed) {
			char *want = expected_view(p.dp[0]);

			seen = view(object_of(&p), object_of(&p)->control->revision);
			check(!strcmp(seen, want), "round %d: afterwards: %s", round,
			      difference(seen, want));
			free(seen);
			free(want);
		}
		free(views[0]);
		free(views[1]);
		close_pair(&p);
	}
	diag("killed before the commit %u times, after it %u times", before, after);
	ok_checks("a writer that is killed leaves the state before or after");
	ok(before && after, "and both were seen");
}

/* After the same random transactions both hold the same, in each revision and after a restart. */
static void test_random(void)
{
	struct pair p;
	char *last = NULL;
	uint32_t committed = 0;

	remove_all();
	p = open_pair(&pass);
	for (int i = 0; i < 300; i++) {
		const struct sluice_bpf *b = object_of(&p);
		char *mine, *memory, *seen, *want;

		if (!random_transaction(&p) && last) {
			seen = view(b, b->control->revision);
			check(!strcmp(seen, last), "transaction %d: one that failed left traces",
			      i);
			free(seen);
			continue;
		}
		committed++;
		mine = dump_of(&p, 1);
		memory = dump_of(&p, 0);
		check(!strcmp(mine, memory), "transaction %d: %s", i, difference(mine, memory));
		seen = view(b, b->control->revision);
		want = expected_view(p.dp[0]);
		check(!strcmp(seen, want), "transaction %d: packets: %s", i,
		      difference(seen, want));
		free(seen);
		if (last && b->control->revision > 1) {
			seen = view(b, b->control->revision - 1);
			check(!strcmp(seen, last),
			      "transaction %d: packets of the revision before: %s", i,
			      difference(seen, last));
			free(seen);
		}
		free(last);
		last = want;
		if (tap_one_in(5))
			sluice_dataplane_bpf_tick(p.dp[1], NULL);
		if (tap_one_in(10)) {
			struct sluice_bpf_options o = options(&pass);

			p.dp[1]->ops->close(p.dp[1]);
			p.dp[1] = sluice_dataplane_bpf_new(&o);
			sluice_dataplane_bpf_open(p.dp[1], NULL);
			free(mine);
			mine = dump_of(&p, 1);
			check(!strcmp(mine, memory),
			      "after %d and a restart: BPF has\n%s\nmemory has\n%s", i, mine,
			      memory);
		}
		free(mine);
		free(memory);
	}
	free(last);
	diag("%u transactions committed", committed);
	ok_checks("memory and BPF hold the same after the same random transactions");
	close_pair(&p);
}

/* What an interface costs, by either way. */
static void test_attach(void)
{
	for (int clsact = 0; clsact < 2; clsact++) {
		struct sluice_bpf_options o = options(&pass);
		double at, on = 0, off = 0;
		struct sluice_bpf b;
		SLUICE_ERR(err);

		remove_all();
		o.clsact = clsact;
		check(!sluice_bpf_open(&b, &o, &err), "%s", sluice_err_msg(&err));
		for (int i = 0; i < 20; i++) {
			at = seconds();
			check(!sluice_bpf_attach(&b, pods[i % PODS], SLUICE_BPF_ROLE_POD, false,
						 &err),
			      "%s", sluice_err_msg(&err));
			on += seconds() - at;
			check(sluice_bpf_role(&b, pods[i % PODS]) == SLUICE_BPF_ROLE_POD,
			      "it has no programs");
			at = seconds();
			sluice_bpf_attach(&b, pods[i % PODS], SLUICE_BPF_ROLE_NONE, false, &err);
			off += seconds() - at;
			check(sluice_bpf_role(&b, pods[i % PODS]) == SLUICE_BPF_ROLE_NONE,
			      "it still has programs");
		}
		diag("%s: attach %.2f ms, detach %.2f ms", b.tcx ? "tcx" : "clsact", on / 20 * 1e3,
		     off / 20 * 1e3);
		sluice_bpf_close(&b);
		ok_checks("%s: programs come and go", b.tcx ? "tcx" : "clsact");
	}
}

/* Many at once are attached in haste, and well when there is time. */
static void set_all_endpoints(struct pair *p)
{
	char ip[32];

	begin(p);
	for (int i = 0; i < PODS; i++) {
		snprintf(ip, sizeof(ip), "10.1.0.%d", i + 1);
		set_endpoint(p, i, ip, 0, 0, true);
	}
	commit(p, true);
}

static void test_haste(void)
{
	struct pair p;
	const struct sluice_bpf *b;
	unsigned int quick = 0;

	remove_all();
	p = open_pair(&pass);
	b = object_of(&p);
	set_all_endpoints(&p);
	ok_checks("many endpoints come at once");
	for (int i = 0; i < PODS; i++) {
		quick += sluice_bpf_is_quick(b, pods[i]);
		check(sluice_bpf_role(b, pods[i]) == SLUICE_BPF_ROLE_POD, "%d has no programs", i);
	}
	ok_checks("all have their programs");
	is_u64(quick, b->tcx ? PODS : 0, "with tcx: by clsact first");
	close_pair(&p);
	p = open_pair(&drop);
	b = object_of(&p);
	set_all_endpoints(&p);
	for (int i = 0; i < PODS; i++)
		check(!sluice_dataplane_bpf_tick(p.dp[1], NULL), "tick");
	for (int i = 0; i < PODS; i++) {
		check(!sluice_bpf_is_quick(b, pods[i]), "%d is still by clsact", i);
		check(sluice_bpf_role(b, pods[i]) == SLUICE_BPF_ROLE_POD, "%d has no programs", i);
		if (b->tcx)
			check(link_prog(b, link_name(pods[i], "out"), NULL) ==
				      b->prog_ids[SLUICE_BPF_PROG_TO_POD],
			      "%d has another program", i);
	}
	ok_checks("after a restart with another build they are attached well, too");
	close_pair(&p);
}

/* Figures, for whoever reads the log. */
static void test_speed(void)
{
	struct sluice_bpf_options o = options(&pass);
	struct sluice_dataplane *dp;
	double begun = 0, committed = 0, at;
	SLUICE_ERR(err);

	remove_all();
	dp = sluice_dataplane_bpf_new(&o);
	for (int i = 0; i < 50; i++) {
		struct sluice_dp_peer one = peer("10.2.0.1/32", i, "one");

		at = seconds();
		dp->ops->begin(dp, NULL);
		begun += i ? seconds() - at : 0;
		dp->ops->set_peer(dp, &one, NULL);
		at = seconds();
		check(!dp->ops->commit(dp, false, &err), "%s", sluice_err_msg(&err));
		committed += seconds() - at;
	}
	diag("one peer: begin %.2f ms, commit %.2f ms", begun / 49 * 1e3, committed / 50 * 1e3);
	at = seconds();
	dp->ops->begin(dp, NULL);
	for (uint32_t i = 0; i < 10000; i++) {
		struct sluice_dp_service s = { .port = 80,
					       .proto = SLUICE_PROTO_TCP,
					       .family = SLUICE_IPV4,
					       .name = "shop/many:80" };
		struct sluice_dp_backend backends[4] = { 0 };

		s.addr.w[0] = sluice_htonl(0x0b000000 + i);
		for (uint32_t j = 0; j < 4; j++) {
			backends[j].addr.w[0] = sluice_htonl(0x0c000000 + 4 * i + j);
			backends[j].port = 80;
		}
		s.backends = backends;
		s.n_backends = 4;
		dp->ops->set_service(dp, &s, NULL);
	}
	for (uint32_t i = 0; i < 50000; i++) {
		struct sluice_dp_peer p = {
			.plen = 32, .family = SLUICE_IPV4, .class = i % 100, .name = "shop/pod"
		};

		p.addr.w[0] = sluice_htonl(0x0d000000 + i);
		dp->ops->set_peer(dp, &p, NULL);
	}
	check(!dp->ops->commit(dp, true, &err), "%s", sluice_err_msg(&err));
	diag("10,000 services with 4 backends and 50,000 peers: %.3f s", seconds() - at);
	dp->ops->close(dp);
	dp = sluice_dataplane_bpf_new(&o);
	at = seconds();
	check(!sluice_dataplane_bpf_open(dp, &err), "%s", sluice_err_msg(&err));
	diag("read again: %.3f s", seconds() - at);
	dp->ops->close(dp);
	ok_checks("many objects are committed and read again");
}

/* The object that is built in. */
static void test_real(void)
{
	struct sluice_bpf_options o = { .budget = BUDGET, .cgroup = cgroup };
	struct sluice_bpf b;
	struct elf elf;
	double began;
	int ret;
	SLUICE_ERR(err);

	remove_all();
	began = seconds();
	ret = sluice_bpf_open(&b, &o, &err);
	ok(!ret, "the object that is built in loads: %s", sluice_err_msg(&err));
	if (ret)
		return;
	diag("loaded in %.3f s", seconds() - began);
	ret = sluice_bpf_attach(&b, pods[0], SLUICE_BPF_ROLE_POD, false, &err);
	ok(!ret, "and attaches");
	sluice_bpf_close(&b);

	/* Another build with the same programs: some bytes behind the file's end. Its timer runs already. */
	elf = read_elf("../../bpf/sluice.bpf.o");
	o.elf_size = elf.size + 8;
	o.elf = calloc(1, o.elf_size);
	memcpy((void *)o.elf, elf.bytes, elf.size);
	ret = sluice_bpf_open(&b, &o, &err);
	ok(!ret && b.replaced, "another build of it takes over, the sweeper's timer included: %s",
	   sluice_err_msg(&err));
	if (!ret)
		sluice_bpf_close(&b);
	free((void *)o.elf);
	free(elf.bytes);
}

int main(void)
{
	char name[16];

	tap_seed();
	cgroup = getenv("TEST_CGROUP");
	cgroup = cgroup && *cgroup ? cgroup : NULL;
	for (int i = 0; i < PODS; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		pods[i] = if_nametoindex(name);
	}
	uplink = if_nametoindex("u0");
	make_blobs();
	pass = read_elf("pass.o");
	drop = read_elf("drop.o");
	refused = read_elf("refused.o");

	test_fresh();
	test_commit();
	test_refusals();
	test_restart();
	test_upgrade();
	test_sweep();
	test_bad_pins();
	test_growth();
	test_endpoint_gone();
	test_attach();
	test_haste();
	test_random();
	test_kill();
	test_speed();
	test_real();
	remove_all();
	for (int i = 0; i < 4; i++)
		free(blobs[i]);
	free(pass.bytes);
	free(drop.bytes);
	free(refused.bytes);
	return done_testing();
}
