// SPDX-License-Identifier: GPL-2.0-only
/*
 * The real sluicectl on maps that are filled by hand: what each command prints is compared with what was put
 * there. Nothing here shares code with the answerer but bpf/layout.h: the table of connections is filled, searched
 * and swept by functions of this file.
 *
 * Everything is in a network and a mount namespace of this process, with a bpffs of its own; it ends with it.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "bpf/layout.h"
#include "ctl/lib/address.h"
#include "ctl/lib/nl.h"
#include "ctl/lib/nl_object.h"
#include "ctl/lib/ruleset_builder.h"
#include "tests/unit/tap.h"

#define SLUICECTL "build/bin/sluicectl"
#define OBJECT "build/tests/bpf_answer/maps.bpf.o"

#define REVISION 7

static struct bpf_object *object;
static char dir[128];
static struct sluice_bpf_control *control;
static uint32_t web, api, shut, up0; /* interfaces */

/* Anything that goes wrong before the tests begin. */
__attribute__((noreturn, format(printf, 1, 2))) static void give_up(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("# ");
	vprintf(fmt, ap);
	printf(": %s\n", strerror(errno));
	va_end(ap);
	ok(false, "the maps are made");
	done_testing();
	exit(1);
}

__attribute__((noreturn)) static void skip(const char *why)
{
	printf("ok 1 - answers from maps # SKIP %s (%s)\n1..1\n", why, strerror(errno));
	exit(0);
}

static int fd_of(const char *name)
{
	return bpf_object__find_map_fd_by_name(object, name);
}

static void put(const char *map, const void *key, const void *value)
{
	if (bpf_map_update_elem(fd_of(map), key, value, BPF_ANY))
		give_up("put into map %s", map);
}

static void run(const char *command)
{
	if (system(command))
		give_up("%s", command);
}

static uint32_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint32_t)(((uint64_t)t.tv_sec * 1000000000 + t.tv_nsec) >> 20);
}

/* Ticks of a number of seconds. */
static uint32_t ticks(double seconds)
{
	return (uint32_t)(seconds * 1e9 / (1 << 20));
}

static struct sluice_dp_addr addr_of(const char *text)
{
	struct sluice_dp_addr a;

	if (!sluice_address_parse(text, &a))
		give_up("%s is no address", text);
	return a;
}

/* What sluicectl prints, also as an error; to be freed. *status: its exit status. */
static char *ask(int *status, const char *fmt, ...)
{
	char command[1024], *text = NULL;
	size_t len = 0, cap = 0, n;
	va_list ap;
	FILE *f;
	int used = snprintf(command, sizeof(command), SLUICECTL " ");

	va_start(ap, fmt);
	used += vsnprintf(command + used, sizeof(command) - used, fmt, ap);
	va_end(ap);
	snprintf(command + used, sizeof(command) - used, " 2>&1");
	f = popen(command, "r");
	if (!f)
		give_up("%s", command);
	do {
		if (len + 4096 > cap) {
			cap = cap * 2 + 65536;
			text = realloc(text, cap);
		}
		n = fread(text + len, 1, 4096, f);
		len += n;
	} while (n);
	text[len] = '\0';
	*status = WEXITSTATUS(pclose(f));
	return text;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Maps have no order: lines are compared sorted. In place. */
static char *sort_lines(char *text)
{
	char *lines[1000], *copy = strdup(text), *save = NULL, *at = text;
	size_t n = 0;

	for (char *l = strtok_r(copy, "\n", &save); l && n < 1000; l = strtok_r(NULL, "\n", &save))
		lines[n++] = l;
	qsort(lines, n, sizeof(lines[0]), by_text);
	for (size_t i = 0; i < n; i++)
		at += sprintf(at, "%s\n", lines[i]);
	*at = '\0';
	free(copy);
	return text;
}

/* Lines in any order. */
static void says(const char *command, const char *want, const char *what)
{
	char *got, *sorted = sort_lines(strdup(want));
	int status;

	got = sort_lines(ask(&status, "%s", command));
	is_str(got, sorted, "%s", what);
	is_u64(status, 0, "and ends well");
	free(got);
	free(sorted);
}

static void fails(const char *command, const char *want, const char *what)
{
	int status;
	char *got = ask(&status, "%s", command);

	is_str(got, want, "%s", what);
	is_u64(status, 1, "and ends with status 1");
	free(got);
}

static json_t *sort_array(json_t *list)
{
	char *texts[1000];
	size_t n = json_array_size(list), i;
	json_t *sorted, *item;

	if (!json_is_array(list))
		return list;
	sorted = json_array();
	json_array_foreach(list, i, item)
		if (json_object_get(item, "rules"))
			json_object_set_new(
				item, "rules",
				sort_array(json_incref(json_object_get(item, "rules"))));
	for (i = 0; i < n && i < 1000; i++)
		texts[i] = json_dumps(json_array_get(list, i), JSON_SORT_KEYS | JSON_ENCODE_ANY);
	qsort(texts, n, sizeof(texts[0]), by_text);
	for (i = 0; i < n; i++) {
		json_array_append_new(sorted, json_loads(texts[i], JSON_DECODE_ANY, NULL));
		free(texts[i]);
	}
	json_decref(list);
	return sorted;
}

/* want: JSON with ' for ", an array in any order. */
static bool json_is_same(const char *got, const char *want)
{
	char *quoted = strdup(want), *c;
	json_t *a, *b;
	bool same;

	for (c = quoted; *c; c++)
		if (*c == '\'')
			*c = '"';
	/* An error may follow. */
	a = sort_array(json_loads(got, JSON_DISABLE_EOF_CHECK, NULL));
	b = sort_array(json_loads(quoted, 0, NULL));
	same = a && b && json_equal(a, b);
	json_decref(a);
	json_decref(b);
	free(quoted);
	return same;
}

static void is_json(const char *got, const char *want, const char *what)
{
	if (ok(json_is_same(got, want), "%s, as JSON", what))
		return;
	diag("got  %s", got);
	diag("want %s", want);
}

static void says_json(const char *command, const char *want, const char *what)
{
	int status;
	char *got = ask(&status, "%s -o json", command);

	is_json(got, want, what);
	if (status)
		is_u64(status, 0, "and ends well");
	free(got);
}

/* Making the maps ************************************************************************/

static void make_namespace(void)
{
	if (unshare(CLONE_NEWNS | CLONE_NEWNET))
		skip("no namespaces of our own");
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL))
		skip("no bpffs of our own");
	run("ip link set lo up && "
	    "ip link add web0 type veth peer name api0 && "
	    "ip link add shut0 type veth peer name up0 && "
	    "ip address add 192.168.7.2/24 dev up0 && "
	    "ip address add fd00:7::2/64 dev up0 nodad && ip link set up0 up");
	web = if_nametoindex("web0");
	api = if_nametoindex("api0");
	shut = if_nametoindex("shut0");
	up0 = if_nametoindex("up0");
}

static void make_maps(uint32_t buckets)
{
	uint64_t cookie;
	socklen_t len = sizeof(cookie);
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	if (getsockopt(s, SOL_SOCKET, 71 /* SO_NETNS_COOKIE */, &cookie, &len))
		skip("no cookies of namespaces");
	close(s);
	libbpf_set_print(NULL);
	object = bpf_object__open_file(OBJECT, NULL);
	if (!object)
		give_up("open " OBJECT);
	bpf_map__set_max_entries(bpf_object__find_map_by_name(object, "buckets4"),
				 buckets / SLUICE_BPF_HEADS);
	bpf_map__set_max_entries(bpf_object__find_map_by_name(object, "buckets6"),
				 buckets / SLUICE_BPF_HEADS);
	if (bpf_object__load(object))
		skip("no BPF maps and programs");
	mkdir(SLUICE_BPF_DIR, 0700);
	snprintf(dir, sizeof(dir), "%s/net-%llu", SLUICE_BPF_DIR, (unsigned long long)cookie);
	mkdir(dir, 0700);
	if (bpf_object__pin_maps(object, dir))
		give_up("pin the maps in %s", dir);
	control = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd_of("control"),
		       0);
	if (control == MAP_FAILED)
		give_up("map control into memory");
	control->layout = SLUICE_BPF_LAYOUT;
	control->policy_gen = 3;
	control->backend_epoch = 5;
	control->netns_cookie = cookie;
	control->secret[0] = 0x0123456789abcdefULL;
	control->secret[1] = 0xfedcba9876543211ULL;
	control->budget = 64 << 20;
	for (int state = 0; state < SLUICE_STATE_COUNT; state++)
		control->timeouts[state] = ticks(sluice_state_timeout(state));
}

/* Control state **************************************************************************/

/* Versions: 0 since revision "first", 1 since "second". */
static void put_service(const char *addr, uint16_t port, uint8_t proto, const char *name,
			uint32_t first, uint32_t set0, uint32_t n0, uint32_t second, uint32_t set1,
			uint32_t n1)
{
	struct sluice_dp_addr a = addr_of(addr);
	struct sluice_service_key key = { a.addr, htons(port), proto, a.family };
	struct sluice_bpf_service value = { .since = { { first, second } },
					    .v = { { set0, n0 }, { set1, n1 } } };
	struct sluice_bpf_service_info info = { .revision = first };
	struct sluice_bpf_addr_key vip = { a.addr, a.family };
	struct sluice_bpf_number known = { .since = { { first, SLUICE_BPF_NEVER } }, .v = { 1 } };

	put("services", &key, &value);
	strcpy(info.name, name);
	put("service_info", &key, &info);
	put("vips", &vip, &known);
}

static void put_backend(uint32_t set, uint32_t index, const char *addr, uint16_t port)
{
	struct sluice_bpf_backend_key key = { set, index };
	struct sluice_bpf_backend value = { .addr = addr_of(addr).addr, .port = htons(port) };

	put("backends", &key, &value);
}

static void put_peer(const char *prefix, uint32_t class, uint32_t revision, const char *name)
{
	struct sluice_bpf_peer_info info = { .class = class, .revision = revision };
	struct sluice_bpf_class value = { .since = { { revision, SLUICE_BPF_NEVER } },
					  .v = { class } };
	struct sluice_cidr c;
	struct sluice_bpf_peer_key key;

	if (!sluice_cidr_parse(prefix, &c))
		give_up("%s is no prefix", prefix);
	key = (struct sluice_bpf_peer_key){ c.addr, c.plen, c.family, 0 };
	strcpy(info.name, name);
	put("peer_info", &key, &info);
	if (c.plen == sluice_family_bits(c.family)) {
		struct sluice_bpf_addr_key host = { c.addr, c.family };
		struct sluice_bpf_number number = { .since = { { revision, SLUICE_BPF_NEVER } },
						    .v = { class } };

		put("hosts", &host, &number);
	} else if (c.family == SLUICE_IPV4) {
		struct sluice_bpf_prefix4 p = { c.plen, c.addr.w[0] };

		put("prefixes4", &p, &value);
	} else {
		struct sluice_bpf_prefix6 p = { .plen = c.plen };

		memcpy(p.addr, &c.addr, sizeof(p.addr));
		put("prefixes6", &p, &value);
	}
}

static void put_rule(uint32_t id, const char *policy, const char *rule, uint32_t revision)
{
	struct sluice_bpf_rule_info info = { .revision = revision };

	strcpy(info.policy, policy);
	strcpy(info.rule, rule);
	put("rule_info", &id, &info);
}

static void put_ruleset(uint32_t id, uint32_t slot, uint32_t revision,
			const struct sluice_build_rule *rules, size_t n)
{
	struct sluice_bpf_ruleset_info info = { .slot = slot, .revision = revision };
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_INNER_MAP);
	struct sluice_ruleset *blob;
	char piece[SLUICE_BLOB_PIECE];
	SLUICE_ERR(err);
	uint32_t n_pieces;
	int fd;

	if (sluice_ruleset_build(rules, n, SLUICE_ACTION_DENY, &blob, &err))
		give_up("build a ruleset");
	info.size = blob->size;
	n_pieces = (blob->size + SLUICE_BLOB_PIECE - 1) / SLUICE_BLOB_PIECE;
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "ruleset", 4, SLUICE_BLOB_PIECE, n_pieces, &opts);
	if (fd < 0)
		give_up("make a ruleset's map");
	for (uint32_t i = 0; i < n_pieces; i++) {
		uint32_t left = blob->size - i * SLUICE_BLOB_PIECE;

		memset(piece, 0, sizeof(piece));
		memcpy(piece, (char *)blob + i * SLUICE_BLOB_PIECE,
		       left < SLUICE_BLOB_PIECE ? left : SLUICE_BLOB_PIECE);
		if (bpf_map_update_elem(fd, &i, piece, BPF_ANY))
			give_up("fill a ruleset's map");
	}
	put("rulesets", &slot, &fd);
	put("ruleset_info", &id, &info);
	close(fd);
	free(blob);
}

static void put_endpoint(uint32_t ifindex, const char *name, const char *addr4, const char *addr6,
			 bool open, uint32_t ingress_slot, uint32_t ingress)
{
	struct sluice_bpf_endpoint value = {
		.since = { { 6, SLUICE_BPF_NEVER } },
		.v = { { SLUICE_BPF_ENDPOINT_PRESENT | (open ? SLUICE_BPF_ENDPOINT_OPEN : 0),
			 ingress_slot, 0 } },
	};
	struct sluice_bpf_endpoint_info info = { .ingress = ingress, .revision = 6 };
	struct sluice_bpf_number number = { .since = { { 6, SLUICE_BPF_NEVER } },
					    .v = { ifindex } };
	const char *addrs[2] = { addr4, addr6 };

	strcpy(info.name, name);
	snprintf(info.container, sizeof(info.container), "c-%s/eth0", name);
	for (int i = 0; i < 2; i++) {
		struct sluice_dp_addr a;
		struct sluice_bpf_addr_key key = { 0 };

		if (!addrs[i])
			continue;
		a = addr_of(addrs[i]);
		key.addr = a.addr;
		key.family = a.family;
		put("addrs", &key, &number);
		info.addrs[info.n_addrs++] = key;
	}
	put("endpoints", &ifindex, &value);
	put("endpoint_info", &ifindex, &info);
}

static void fill_state(void)
{
	const uint32_t class_of_api = 11;
	const struct sluice_port_range http = { SLUICE_PROTO_TCP << 16 | 8080,
						SLUICE_PROTO_TCP << 16 | 8080 };
	const struct sluice_build_rule rules[] = {
		{ .id = 1,
		  .action = SLUICE_ACTION_ALLOW,
		  .tier = SLUICE_TIER_POLICY,
		  .classes = &class_of_api,
		  .n_classes = 1,
		  .ports = &http,
		  .n_ports = 1 },
		{ .id = 2,
		  .action = SLUICE_ACTION_DENY,
		  .tier = SLUICE_TIER_POLICY,
		  .flags = SLUICE_RULE_DEFAULT,
		  .any_class = true,
		  .any_port = true },
	};
	const struct sluice_bpf_backend_ref ref = {
		.service = { addr_of("10.96.0.1").addr, htons(80), SLUICE_PROTO_TCP, SLUICE_IPV4 },
		.addr = addr_of("10.244.1.2").addr,
		.port = htons(8080),
	};
	uint32_t gone = 4000, revision = 6, there = 1;

	/* Two backends since 3; a third is written for revision 8, which has not come. */
	put_service("10.96.0.1", 80, SLUICE_PROTO_TCP, "shop/web:http", 3, 1, 2, 8, 2, 3);
	put_backend(1, 0, "10.244.1.2", 8080);
	put_backend(1, 1, "10.244.2.2", 8080);
	put_backend(2, 0, "10.244.1.2", 8080);
	put_backend(2, 1, "10.244.2.2", 8080);
	put_backend(2, 2, "10.244.3.2", 8080);
	/* Its second version counts. */
	put_service("10.96.0.1", 53, SLUICE_PROTO_UDP, "shop/dns:dns", 2, 3, 1, 5, 4, 1);
	put_backend(3, 0, "10.244.9.9", 53);
	put_backend(4, 0, "10.244.2.3", 5353);
	put_backend(6, 0, "10.244.2.4", 80);
	/* Absent since 6, never there before 8, and one without backends. */
	put_service("10.96.0.2", 81, SLUICE_PROTO_TCP, "shop/old:http", 2, 5, 1, 6, 0,
		    SLUICE_BPF_ABSENT);
	put_service("10.96.0.3", 82, SLUICE_PROTO_TCP, "shop/new:http", 8, 6, 1, SLUICE_BPF_NEVER,
		    0, 0);
	put_service("fd00:96::1", 443, SLUICE_PROTO_TCP, "shop/empty:https", 4, 0, 0,
		    SLUICE_BPF_NEVER, 0, 0);

	put_peer("10.244.0.0/16", 9, 2, "");
	put_peer("10.244.1.2/32", 10, 3, "shop/web");
	put_peer("10.244.1.3/32", 11, 3, "shop/api");
	put_peer("fd00:244::/48", 12, 4, "");
	put_rule(1, "shop/allow-api", "ingress[0]", 4);
	put_rule(2, "shop/allow-api,shop/more", "default-deny", 4);
	put_ruleset(5, 3, 4, rules, 2);
	put_endpoint(web, "shop/web", "10.244.1.2", "fd00:244::2", true, 3, 5);
	put_endpoint(api, "shop/api", "10.244.1.3", NULL, true, 0, 0);
	put_endpoint(shut, "shop/shut", "10.244.1.4", NULL, false, 0, 0);
	put_endpoint(gone, "shop/gone", "10.244.1.5", NULL, true, 3, 5);
	put("uplinks", &up0, &revision);
	put("uplinks", &gone, &revision);
	put("backend_refs", &ref, &there);
	control->revision = REVISION;
}

/* A text with the numbers of the interfaces in it. */
#define WITH(...)                                          \
	({                                                 \
		snprintf(text, sizeof(text), __VA_ARGS__); \
		text;                                      \
	})

static void test_state(void)
{
	char text[4096];

	says("get services",
	     "SERVICE           ADDRESS           PROTOCOL  COUNT  BACKENDS\n"
	     "shop/web:http     10.96.0.1:80      TCP       2      10.244.1.2:8080 10.244.2.2:8080\n"
	     "shop/dns:dns      10.96.0.1:53      UDP       1      10.244.2.3:5353\n"
	     "shop/empty:https  [fd00:96::1]:443  TCP       0      -\n",
	     "services, each in the version that counts");
	says_json(
		"get services",
		"[{'name': 'shop/web:http', 'address': '10.96.0.1', 'port': 80, 'protocol': 'TCP',"
		"  'backends': [{'address': '10.244.1.2', 'port': 8080},"
		"               {'address': '10.244.2.2', 'port': 8080}], 'revision': 3},"
		" {'name': 'shop/dns:dns', 'address': '10.96.0.1', 'port': 53, 'protocol': 'UDP',"
		"  'backends': [{'address': '10.244.2.3', 'port': 5353}], 'revision': 2},"
		" {'name': 'shop/empty:https', 'address': 'fd00:96::1', 'port': 443,"
		"  'protocol': 'TCP', 'backends': [], 'revision': 4}]",
		"services");
	says("get peers",
	     "PREFIX         CLASS  NAME\n"
	     "10.244.0.0/16  9      -\n"
	     "10.244.1.2/32  10     shop/web\n"
	     "10.244.1.3/32  11     shop/api\n"
	     "fd00:244::/48  12     -\n",
	     "peers");
	says_json("get peers",
		  "[{'prefix': '10.244.0.0/16', 'class': 9, 'name': '', 'revision': 2},"
		  " {'prefix': '10.244.1.2/32', 'class': 10, 'name': 'shop/web', 'revision': 3},"
		  " {'prefix': '10.244.1.3/32', 'class': 11, 'name': 'shop/api', 'revision': 3},"
		  " {'prefix': 'fd00:244::/48', 'class': 12, 'name': '', 'revision': 4}]",
		  "peers");
	says("get rules",
	     "ID  POLICY                    RULE\n"
	     "1   shop/allow-api            ingress[0]\n"
	     "2   shop/allow-api,shop/more  default-deny\n",
	     "rules");
	says_json("get rules",
		  "[{'id': 1, 'policy': 'shop/allow-api', 'rule': 'ingress[0]', 'revision': 4},"
		  " {'id': 2, 'policy': 'shop/allow-api,shop/more', 'rule': 'default-deny',"
		  "  'revision': 4}]",
		  "rules");
	says("get rulesets",
	     "ID  RULES  CLASSES  ENDPOINTS  SIZE\n"
	     "5   2      1        1          192 B\n",
	     "rulesets");
	says_json("get rulesets",
		  "[{'id': 5, 'rules': 2, 'classes': 1, 'endpoints': 1, 'bytes': 192,"
		  "  'ruleIDs': [1, 2], 'revision': 4}]",
		  "rulesets");
	says("get policies",
	     "POLICY          RULES  RULESETS  ENDPOINTS\n"
	     "shop/allow-api  2      1         1\n"
	     "shop/more       1      1         1\n",
	     "policies");
	says_json("get policies",
		  "[{'policy': 'shop/allow-api', 'rules': [{'id': 1, 'rule': 'ingress[0]'},"
		  "  {'id': 2, 'rule': 'default-deny'}], 'rulesets': [5], 'endpoints': 1},"
		  " {'policy': 'shop/more', 'rules': [{'id': 2, 'rule': 'default-deny'}],"
		  "  'rulesets': [5], 'endpoints': 1}]",
		  "policies");
	says("get endpoints",
	     "POD        INTERFACE  ADDRESSES               STATE   INGRESS  EGRESS  CONTAINER\n"
	     "shop/web   web0       10.244.1.2,fd00:244::2  open    5        -       "
	     "c-shop/web/eth0\n"
	     "shop/api   api0       10.244.1.3              open    -        -       "
	     "c-shop/api/eth0\n"
	     "shop/shut  shut0      10.244.1.4              closed  -        -       "
	     "c-shop/shut/eth0\n",
	     "endpoints, without one whose interface is gone");
	says_json(
		"get endpoints",
		WITH("[{'name': 'shop/web', 'interface': 'web0', 'ifindex': %u,"
		     "  'container': 'c-shop/web/eth0', 'addresses': ['10.244.1.2', 'fd00:244::2'],"
		     "  'open': true, 'ingressRuleset': 5, 'egressRuleset': null, 'revision': 6},"
		     " {'name': 'shop/api', 'interface': 'api0', 'ifindex': %u,"
		     "  'container': 'c-shop/api/eth0', 'addresses': ['10.244.1.3'],"
		     "  'open': true, 'ingressRuleset': null, 'egressRuleset': null, 'revision': 6},"
		     " {'name': 'shop/shut', 'interface': 'shut0', 'ifindex': %u,"
		     "  'container': 'c-shop/shut/eth0', 'addresses': ['10.244.1.4'],"
		     "  'open': false, 'ingressRuleset': null, 'egressRuleset': null,"
		     "  'revision': 6}]",
		     web, api, shut),
		"endpoints");
	says("get uplinks", WITH("INTERFACE  IFINDEX\nup0        %u\n", up0),
	     "uplinks, without one that is gone");
	says_json("get uplinks", WITH("[{'interface': 'up0', 'ifindex': %u, 'revision': 6}]", up0),
		  "uplinks");
}

/* One that takes many elements of its map, and more rules than a dump lists. */
static void test_large_ruleset(void)
{
	enum { RULES = 9000 };
	struct sluice_build_rule *rules = calloc(RULES, sizeof(*rules));
	uint32_t *classes = calloc(RULES, sizeof(*classes)), id = 6;
	json_t *list, *ids;
	int status;
	char *got;

	for (uint32_t i = 0; i < RULES; i++) {
		classes[i] = 100 + i;
		rules[i] = (struct sluice_build_rule){ .id = 1000 + i,
						       .action = SLUICE_ACTION_ALLOW,
						       .tier = SLUICE_TIER_POLICY,
						       .classes = &classes[i],
						       .n_classes = 1,
						       .any_port = true };
	}
	put_ruleset(id, 4, 5, rules, RULES);
	got = ask(&status, "get rulesets -o json");
	list = sort_array(json_loads(got, 0, NULL));
	ids = json_object_get(json_array_get(list, 1), "ruleIDs");
	ok(json_integer_value(json_object_get(json_array_get(list, 1), "rules")) == RULES &&
		   json_integer_value(json_object_get(json_array_get(list, 1), "classes")) ==
			   RULES &&
		   json_array_size(ids) == 8192 &&
		   json_integer_value(json_array_get(ids, 0)) == 1000 &&
		   json_integer_value(json_array_get(ids, 8191)) == 1000 + 8191,
	   "a large ruleset is read to where its list is cut");
	json_decref(list);
	free(got);
	bpf_map_delete_elem(fd_of("ruleset_info"), &id);
	free(classes);
	free(rules);
}

/* Statistics *****************************************************************************/

static void fill_stats(void)
{
	int cpus = libbpf_num_possible_cpus();
	struct sluice_bpf_stats *all = calloc(cpus, sizeof(*all));
	uint32_t key = 0;

	/* Sums over two CPUs where there are two: 40 = 30 + 10, and so on. */
	for (int cpu = 0; cpu < 2; cpu++) {
		struct sluice_bpf_stats *s = &all[cpu % cpus];
		uint64_t n = cpu ? 30 : 10;

		s->drops[SLUICE_REASON_DEFAULT_DENY] += n;
		s->drops[SLUICE_REASON_TABLE_FULL] += n + 1;
		s->hits += n + 100;
		s->misses += n + 200;
		s->created += n + 300;
		s->expired += n + 400;
		s->evicted[SLUICE_EVICT_IDLE] += n + 500;
		s->rejudged += n + 600;
		s->cut += n + 700;
		s->remapped += n + 800;
		s->fast_pod += n + 900;
		s->fast_uplink += n + 1000;
		s->stack += n + 1100;
		s->foreign += n + 1200;
		s->fragments += n + 1300;
		s->events_lost += n + 1400;
	}
	put("stats", &key, all);
	free(all);
}

static void test_stats(void)
{
	int status;
	char *got = ask(&status, "stats -o json");
	json_t *json = json_loads(got, 0, NULL), *drops = json_object_get(json, "drops");
	static const struct {
		const char *name;
		int value;
	} sums[] = {
		{ "hits", 240 },	{ "misses", 440 },    { "created", 640 },
		{ "expired", 840 },	{ "rejudged", 1240 }, { "cut", 1440 },
		{ "remapped", 1640 },	{ "fastPod", 1840 },  { "fastUplink", 2040 },
		{ "stack", 2240 },	{ "foreign", 2440 },  { "fragments", 2640 },
		{ "eventsLost", 2840 },
	};

	for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++)
		check(json_integer_value(json_object_get(json, sums[i].name)) == sums[i].value,
		      "%s in %s", sums[i].name, got);
	check(json_integer_value(json_object_get(drops, "default-deny")) == 40, "%s", got);
	check(json_integer_value(json_object_get(drops, "table-full")) == 42, "%s", got);
	check(json_integer_value(json_object_get(drops, "martian")) == 0, "%s", got);
	check(json_integer_value(json_object_get(json_object_get(json, "evicted"), "idle")) == 1040,
	      "%s", got);
	ok_checks("counters are summed over the processors");
	json_decref(json);
	free(got);
	says("stats",
	     "Packets dropped, by reason:\n"
	     "default-deny                   40  a policy isolates the pod and no rule allows it\n"
	     "table-full                     42  the memory budget is used by established connections\n"
	     "Packets:\n"
	     "hits                          240  of known connections\n"
	     "misses                        440  first packets\n"
	     "fast-pod                     1840  delivered straight into a pod\n"
	     "fast-uplink                  2040  sent by the cached route\n"
	     "stack                        2240  handed to the stack, handled\n"
	     "foreign                      2440  handed to the stack untouched: not ours\n"
	     "fragments                    2640  sent to reassembly\n"
	     "events-lost                  2840  events that could not be built or sent\n",
	     "stats as text");
}

/* Connections ****************************************************************************/

/* This file's own idea of the table: what programs, the sweeper and the loader do to it. */
struct table {
	int family; /* index: IPv4, IPv6 */
	size_t size;
	uint32_t *heads;
	char *segments[SLUICE_BPF_SEGMENTS];
	uint32_t n_segments;
};

static struct table tables[2];

static struct sluice_bpf_conn *conn_at(struct table *t, uint32_t index)
{
	return (void *)(t->segments[index / SLUICE_BPF_SEGMENT] +
			index % SLUICE_BPF_SEGMENT * t->size);
}

static void free_conn(struct table *t, uint32_t index)
{
	struct sluice_bpf_table *c = &control->table[t->family];
	struct sluice_bpf_conn *conn = conn_at(t, index);

	memset(conn, 0, t->size);
	conn->next[0] = (uint32_t)c->free;
	c->free = ((c->free >> 32) + 1) << 32 | ((index << 1) + 1);
}

static void add_segment(struct table *t)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "segment", 4, t->size, SLUICE_BPF_SEGMENT,
				&opts);
	uint32_t first = t->n_segments * SLUICE_BPF_SEGMENT;

	if (fd < 0)
		give_up("make a segment");
	put(t->family ? "conns6" : "conns4", &t->n_segments, &fd);
	t->segments[t->n_segments] =
		mmap(NULL, SLUICE_BPF_SEGMENT * t->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (t->segments[t->n_segments++] == MAP_FAILED)
		give_up("map a segment into memory");
	close(fd);
	for (uint32_t i = SLUICE_BPF_SEGMENT; i-- > 0;)
		free_conn(t, first + i);
	control->table[t->family].capacity += SLUICE_BPF_SEGMENT;
}

static void make_tables(uint32_t buckets)
{
	for (int f = 0; f < 2; f++) {
		struct table *t = &tables[f];

		t->family = f;
		t->size = f ? sizeof(struct sluice_bpf_conn6) : sizeof(struct sluice_bpf_conn4);
		t->heads = mmap(NULL, buckets * 4, PROT_READ | PROT_WRITE, MAP_SHARED,
				fd_of(f ? "buckets6" : "buckets4"), 0);
		if (t->heads == MAP_FAILED)
			give_up("map buckets into memory");
		control->table[f].bucket_mask = buckets - 1;
		control->table[f].limit = 100000;
		add_segment(t);
	}
}

static void *key_of(struct table *t, struct sluice_bpf_conn *c, int dir)
{
	return t->family ? (void *)&((struct sluice_bpf_conn6 *)c)->key[dir] :
			   (void *)&((struct sluice_bpf_conn4 *)c)->key[dir];
}

static uint32_t *head_of(struct table *t, struct sluice_bpf_conn *c, int dir)
{
	uint32_t hash = t->family ? sluice_bpf_hash6(key_of(t, c, dir), control->secret) :
				    sluice_bpf_hash4(key_of(t, c, dir), control->secret);

	return &t->heads[hash & control->table[t->family].bucket_mask];
}

static void set_key(struct table *t, struct sluice_bpf_conn *c, int dir, const char *src,
		    uint16_t sport, const char *dst, uint16_t dport, uint8_t proto)
{
	struct sluice_dp_addr from = addr_of(src), to = addr_of(dst);

	if (t->family) {
		struct sluice_bpf_key6 *k = key_of(t, c, dir);

		memcpy(k->src, &from.addr, 16);
		memcpy(k->dst, &to.addr, 16);
		k->sport = htons(sport);
		k->dport = htons(dport);
		k->proto = proto;
	} else {
		struct sluice_bpf_key4 *k = key_of(t, c, dir);

		k->src = from.addr.w[0];
		k->dst = to.addr.w[0];
		k->sport = htons(sport);
		k->dport = htons(dport);
		k->proto = proto;
	}
}

static struct sluice_bpf_conn *take_conn(struct table *t, uint32_t *index)
{
	struct sluice_bpf_table *c = &control->table[t->family];
	struct sluice_bpf_conn *conn;

	*index = ((uint32_t)c->free - 1) >> 1;
	conn = conn_at(t, *index);
	c->free = ((c->free >> 32) + 1) << 32 | conn->next[0];
	c->used++;
	c->alive++;
	memset(conn, 0, t->size);
	return conn;
}

static void link_conn(struct table *t, struct sluice_bpf_conn *c, uint32_t index, int dir)
{
	c->next[dir] = *head_of(t, c, dir);
	*head_of(t, c, dir) = (index << 1 | dir) + 1;
}

/* How often an entry stands in its chain: 1, or something is wrong. */
static int times_linked(struct table *t, uint32_t index, int dir)
{
	uint32_t ref = *head_of(t, conn_at(t, index), dir);
	int n = 0, steps = 0;

	for (; ref && steps < 100000; steps++) {
		n += ref == (index << 1 | dir) + 1;
		ref = conn_at(t, (ref - 1) >> 1)->next[(ref - 1) & 1];
	}
	return n;
}

static void unlink_conn(struct table *t, uint32_t index, int dir)
{
	uint32_t *at = head_of(t, conn_at(t, index), dir), me = (index << 1 | dir) + 1;

	while (*at && *at != me)
		at = &conn_at(t, (*at - 1) >> 1)->next[(*at - 1) & 1];
	if (*at)
		*at = conn_at(t, index)->next[dir];
}

/* What the sweeper does, without its second in between; returns how many were dying. */
static int sweep(void)
{
	int n = 0;

	for (int f = 0; f < 2; f++) {
		struct table *t = &tables[f];

		for (uint32_t i = 0; i < control->table[f].capacity; i++) {
			if (!(conn_at(t, i)->bits & SLUICE_BPF_DYING))
				continue;
			unlink_conn(t, i, 0);
			unlink_conn(t, i, 1);
			free_conn(t, i);
			control->table[f].used--;
			n++;
		}
	}
	return n;
}

static uint32_t established; /* index of a connection */

/* Connections that are to be as old, and as silent, whenever they are looked at. */
static struct {
	struct sluice_bpf_conn *c;
	double silent, age; /* seconds */
} clocks[16];

static size_t n_clocks;

/* So many ticks ahead: about when they are read. */
static void set_clocks(uint32_t ahead)
{
	for (size_t i = 0; i < n_clocks; i++) {
		clocks[i].c->last_seen = now() + ahead - ticks(clocks[i].silent);
		clocks[i].c->created = now() + ahead - ticks(clocks[i].age);
	}
}

static void keep_clock(struct sluice_bpf_conn *c, double silent, double age)
{
	clocks[n_clocks].c = c;
	clocks[n_clocks].silent = silent;
	clocks[n_clocks++].age = age;
	set_clocks(0);
}

/*
 * What sluicectl says that depends on the time: the same for half a second, since all clocks stand half a second behind
 * a whole one. On a machine that is busy, or slow as a guest is, it is asked again, with the clocks
 * ahead by a part of what it took. Ends when it is as wanted, or cannot be by the time's fault.
 */
static char *ask_now(const char *command, const char *want,
		     bool (*same)(char *got, const char *want), int *status)
{
	uint32_t ahead = 0, begun, taken;
	char *got = NULL;

	for (int tries = 0;; tries++) {
		free(got);
		set_clocks(ahead);
		begun = now();
		got = ask(status, "%s", command);
		taken = now() - begun;
		if (same(got, want) || tries == 20 || (!tries && taken < ticks(0.4)))
			return got;
		ahead = taken * (1 + tries % 4) / 4;
	}
}

static bool same_lines(char *got, const char *want)
{
	return !strcmp(sort_lines(got), want);
}

static bool same_json(char *got, const char *want)
{
	return json_is_same(got, want);
}

static void says_now(const char *command, const char *want, const char *what)
{
	char *sorted = sort_lines(strdup(want)), *got;
	int status;

	got = ask_now(command, sorted, same_lines, &status);
	is_str(got, sorted, "%s", what);
	is_u64(status, 0, "and ends well");
	free(got);
	free(sorted);
}

static void says_json_now(const char *command, const char *want, const char *what)
{
	int status;
	char *got = ask_now(command, want, same_json, &status);

	is_json(got, want, what);
	free(got);
}

static void fill_conns(void)
{
	struct sluice_bpf_conn *c;
	struct table *t = &tables[0];
	uint32_t i;

	/* Through a service, remapped, to a pod of this node. */
	c = take_conn(t, &established);
	set_key(t, c, 0, "10.244.1.3", 40000, "10.96.0.1", 80, SLUICE_PROTO_TCP);
	set_key(t, c, 1, "10.244.1.2", 8080, "10.244.1.3", 50000, SLUICE_PROTO_TCP);
	keep_clock(c, 100.5, 200.5);
	c->policy_gen = 3;
	c->backend_epoch = 5;
	c->packets[0] = 10;
	c->packets[1] = 8;
	c->bytes[0] = 1000;
	c->bytes[1] = 9000;
	c->side[0] = SLUICE_BPF_SIDE_POD << SLUICE_BPF_SIDE_SHIFT | api;
	c->side[1] = SLUICE_BPF_SIDE_POD << SLUICE_BPF_SIDE_SHIFT | web;
	c->tcp[0] = (struct sluice_tcp_dir){ 0xfffffff0, 2, 3, 4, 9 };
	c->tcp[1] = (struct sluice_tcp_dir){ 6, 7, 8, 9, 9 };
	c->rule[1] = 1;
	c->staged_rule[1] = 2;
	c->state = SLUICE_STATE_TCP_ESTABLISHED;
	c->verdict = SLUICE_VERDICT_ALLOW;
	c->reason = SLUICE_REASON_POLICY_ALLOW;
	c->staged_verdict = SLUICE_VERDICT_DENY;
	c->bits = SLUICE_BPF_LIVE | SLUICE_BPF_SERVICE | SLUICE_BPF_REMAPPED | SLUICE_BPF_NAT;
	link_conn(t, c, established, 1);
	link_conn(t, c, established, 0);

	/* From the node to a pod. */
	c = take_conn(t, &i);
	set_key(t, c, 0, "192.168.7.2", 5000, "10.244.1.2", 53, SLUICE_PROTO_UDP);
	set_key(t, c, 1, "10.244.1.2", 53, "192.168.7.2", 5000, SLUICE_PROTO_UDP);
	keep_clock(c, 3.5, 3.5);
	c->packets[0] = 1;
	c->bytes[0] = 60;
	c->side[0] = SLUICE_BPF_SIDE_STACK << SLUICE_BPF_SIDE_SHIFT;
	c->side[1] = SLUICE_BPF_SIDE_POD << SLUICE_BPF_SIDE_SHIFT | web;
	c->state = SLUICE_STATE_UNREPLIED;
	c->verdict = c->staged_verdict = SLUICE_VERDICT_ALLOW;
	c->reason = SLUICE_REASON_NODE;
	c->bits = SLUICE_BPF_LIVE | SLUICE_BPF_NODE;
	link_conn(t, c, i, 1);
	link_conn(t, c, i, 0);

	/* Denied: a negative entry. */
	c = take_conn(t, &i);
	set_key(t, c, 0, "10.244.3.9", 4444, "10.244.1.2", 22, SLUICE_PROTO_TCP);
	set_key(t, c, 1, "10.244.1.2", 22, "10.244.3.9", 4444, SLUICE_PROTO_TCP);
	keep_clock(c, 0.5, 0.5);
	c->rule[1] = 2;
	c->state = SLUICE_STATE_DENIED;
	c->verdict = c->staged_verdict = SLUICE_VERDICT_DENY;
	c->reason = SLUICE_REASON_DEFAULT_DENY;
	c->bits = SLUICE_BPF_LIVE | SLUICE_BPF_DENIED;
	link_conn(t, c, i, 0);

	/* None of these three is to be seen: silent for too long, dying, in limbo. */
	for (int which = 0; which < 3; which++) {
		c = take_conn(t, &i);
		set_key(t, c, 0, "10.244.3.9", 1 + which, "10.244.1.2", 8080, SLUICE_PROTO_UDP);
		set_key(t, c, 1, "10.244.1.2", 8080, "10.244.3.9", 1 + which, SLUICE_PROTO_UDP);
		c->last_seen = c->created = now() - ticks(which ? 1 : 31);
		c->state = SLUICE_STATE_UNREPLIED;
		c->bits = which == 2 ? SLUICE_BPF_LIMBO :
			  which == 1 ? SLUICE_BPF_LIVE | SLUICE_BPF_DYING :
				       SLUICE_BPF_LIVE;
		control->table[0].alive -= !!which;
		if (which == 2)
			continue;
		link_conn(t, c, i, 1);
		link_conn(t, c, i, 0);
	}

	t = &tables[1];
	c = take_conn(t, &i);
	set_key(t, c, 0, "fd00:244::2", 7, "2001:db8::1", 0, SLUICE_PROTO_ICMPV6);
	set_key(t, c, 1, "2001:db8::1", 0, "fd00:244::2", 7, SLUICE_PROTO_ICMPV6);
	keep_clock(c, 1.5, 9.5);
	c->packets[0] = c->packets[1] = 2;
	c->bytes[0] = c->bytes[1] = 208;
	c->side[0] = SLUICE_BPF_SIDE_POD << SLUICE_BPF_SIDE_SHIFT | web;
	c->side[1] = SLUICE_BPF_SIDE_ROUTE << SLUICE_BPF_SIDE_SHIFT | up0;
	c->state = SLUICE_STATE_ICMP_REPLIED;
	c->verdict = c->staged_verdict = SLUICE_VERDICT_ALLOW;
	c->reason = SLUICE_REASON_NO_POLICY;
	c->bits = SLUICE_BPF_LIVE;
	link_conn(t, c, i, 1);
	link_conn(t, c, i, 0);
}

#define LINE_TCP                                                                                  \
	"TCP    established  86300 src=10.244.1.3 dst=10.96.0.1 sport=40000 dport=80 packets=10 " \
	"bytes=1000 src=10.244.1.2 dst=10.244.1.3 sport=8080 dport=50000 packets=8 bytes=9000 "   \
	"[service] [port-remapped] verdict=allow reason=policy-allow "                            \
	"ingress=\"shop/allow-api ingress[0]\" staged=deny "                                      \
	"staged-ingress=\"shop/allow-api,shop/more default-deny\"\n"
#define LINE_UDP                                                                                  \
	"UDP    unreplied       27 src=192.168.7.2 dst=10.244.1.2 sport=5000 dport=53 packets=1 " \
	"bytes=60 src=10.244.1.2 dst=192.168.7.2 sport=53 dport=5000 packets=0 bytes=0 [node] "   \
	"verdict=allow reason=node\n"
#define LINE_DENIED                                                                              \
	"TCP    denied           5 src=10.244.3.9 dst=10.244.1.2 sport=4444 dport=22 packets=0 " \
	"bytes=0 src=10.244.1.2 dst=10.244.3.9 sport=22 dport=4444 packets=0 bytes=0 [denied] "  \
	"verdict=deny reason=default-deny ingress=\"shop/allow-api,shop/more default-deny\"\n"
#define LINE_ICMP                                                                               \
	"ICMPv6 echo-replied     29 src=fd00:244::2 dst=2001:db8::1 sport=7 dport=0 packets=2 " \
	"bytes=208 src=2001:db8::1 dst=fd00:244::2 sport=0 dport=7 packets=2 bytes=208 "        \
	"verdict=allow reason=no-policy\n"

static void test_conns(void)
{
	says_now("ct list", LINE_TCP LINE_UDP LINE_DENIED LINE_ICMP,
		 "connections, without those that are none any more");
	says_json_now(
		"ct list --proto ICMPv6 -o json",
		"[{'protocol': 'ICMPv6', 'state': 'echo-replied', 'timeout': 29, 'age': 9,"
		"  'original': {'src': 'fd00:244::2', 'dst': '2001:db8::1', 'sport': 7, 'dport': 0},"
		"  'reply': {'src': '2001:db8::1', 'dst': 'fd00:244::2', 'sport': 0, 'dport': 7},"
		"  'flags': [], 'verdict': 'allow', 'reason': 'no-policy', 'egress': null,"
		"  'ingress': null, 'stagedVerdict': 'allow', 'stagedEgress': null,"
		"  'stagedIngress': null, 'packets': {'original': 2, 'reply': 2},"
		"  'bytes': {'original': 208, 'reply': 208}, 'tcp': null}]",
		"one connection");
	says_now("ct list --src 10.244.1.3 --sport 40000", LINE_TCP, "narrowed by the source");
	says_now("ct list --dst 10.244.1.2", LINE_UDP LINE_DENIED, "by the destination");
	says_now("ct list --port 53 --proto UDP", LINE_UDP, "by port and protocol");
	says_now("ct list --state denied", LINE_DENIED, "by the state");
	says_now("ct list --verdict deny", LINE_DENIED, "by the verdict");
	says_now("ct list --dst 2001:db8::1", LINE_ICMP, "by an IPv6 address");
	says_now("ct list --src 10.99.99.99", "", "by what is not there");
}

/* Trace **********************************************************************************/

#define NOT_JUDGED "null"
#define NO_POLICY "{'verdict': 'allow', 'reason': 'no-policy', 'policy': null, 'rule': null}"
#define BY_RULE                                                                       \
	"{'verdict': 'allow', 'reason': 'policy-allow', 'policy': 'shop/allow-api', " \
	"'rule': 'ingress[0]'}"
#define BY_DEFAULT                                       \
	"{'verdict': 'deny', 'reason': 'default-deny', " \
	"'policy': 'shop/allow-api,shop/more', 'rule': 'default-deny'}"

static void traces(const char *from, const char *to, const char *protocol, int port,
		   const char *verdict, const char *reason, const char *egress, const char *ingress,
		   const char *service, const char *backend, const char *what)
{
	char command[512], want[1024], quoted[2][64];
	const char *texts[2] = { service, backend };

	for (int i = 0; i < 2; i++)
		snprintf(quoted[i], sizeof(quoted[i]), texts[i] ? "'%s'" : "null", texts[i]);
	snprintf(command, sizeof(command), "trace --from %s --to %s --protocol %s --port %d", from,
		 to, protocol, port);
	snprintf(want, sizeof(want),
		 "{'verdict': '%s', 'reason': '%s', 'egress': %s, 'ingress': %s, 'service': %s, "
		 "'backend': %s}",
		 verdict, reason, egress, ingress, quoted[0], quoted[1]);
	says_json(command, want, what);
}

static void test_trace(void)
{
	traces("shop/api", "shop/web", "TCP", 8080, "allow", "policy-allow", NO_POLICY, BY_RULE,
	       NULL, NULL, "a packet that a rule allows");
	traces("shop/api", "shop/web", "TCP", 81, "deny", "default-deny", NO_POLICY, BY_DEFAULT,
	       NULL, NULL, "one that none does");
	traces("10.244.3.9", "shop/web", "TCP", 8080, "deny", "default-deny", NOT_JUDGED,
	       BY_DEFAULT, NULL, NULL, "one from elsewhere, of a wider prefix");
	traces("192.168.7.2", "shop/web", "TCP", 81, "allow", "node", NOT_JUDGED, NOT_JUDGED, NULL,
	       NULL, "one from the node");
	traces("shop/shut", "shop/web", "TCP", 8080, "deny", "endpoint-closed", NOT_JUDGED,
	       NOT_JUDGED, NULL, NULL, "one from a pod that is closed");
	traces("shop/api", "shop/shut", "TCP", 8080, "deny", "endpoint-closed", NOT_JUDGED,
	       NOT_JUDGED, NULL, NULL, "one to a pod that is closed");
	traces("shop/api", "svc:shop/dns", "UDP", 53, "allow", "no-policy", NO_POLICY, NOT_JUDGED,
	       "shop/dns:dns", "10.244.2.3:5353", "one to a service");
	traces("shop/web", "svc:shop/empty", "TCP", 443, "reject", "no-endpoints", NOT_JUDGED,
	       NOT_JUDGED, "shop/empty:https", NULL, "one to a service without backends");
	traces("shop/api", "10.96.0.1", "TCP", 81, "reject", "service-port", NOT_JUDGED, NOT_JUDGED,
	       NULL, NULL, "one to a port that a service does not have");
	traces("10.1.1.1", "10.96.0.1", "TCP", 81, "none", "none", NOT_JUDGED, NOT_JUDGED, NULL,
	       NULL, "the same from outside");
	traces("shop/api", "127.0.0.1", "TCP", 81, "deny", "martian", NOT_JUDGED, NOT_JUDGED, NULL,
	       NULL, "one to where none goes");
	traces("127.0.0.9", "shop/web", "TCP", 81, "deny", "martian", NOT_JUDGED, NOT_JUDGED, NULL,
	       NULL, "one from where none comes");
	traces("shop/api", "192.168.7.2", "TCP", 22, "allow", "node", NOT_JUDGED, NOT_JUDGED, NULL,
	       NULL, "one to the node");
	traces("shop/web", "10.244.1.2", "TCP", 22, "allow", "self", NOT_JUDGED, NOT_JUDGED, NULL,
	       NULL, "one to oneself");
}

/* Forgetting and putting back ************************************************************/

static uint64_t count_free(int f)
{
	struct table *t = &tables[f];
	uint32_t ref = (uint32_t)control->table[f].free;
	uint64_t n = 0;

	for (; ref && n < 1000000; n++)
		ref = conn_at(t, (ref - 1) >> 1)->next[0];
	return n;
}

/* Every object is free, or linked as often as it has entries to be found by. */
static void check_tables(const char *what)
{
	for (int f = 0; f < 2; f++) {
		struct table *t = &tables[f];
		uint32_t used = 0, alive = 0;

		for (uint32_t i = 0; i < control->table[f].capacity; i++) {
			struct sluice_bpf_conn *c = conn_at(t, i);

			used += !!c->bits;
			if (!(c->bits & SLUICE_BPF_LIVE))
				continue;
			alive += !(c->bits & SLUICE_BPF_DYING);
			check(times_linked(t, i, 0) == 1, "original of %u", i);
			check(times_linked(t, i, 1) == !(c->bits & SLUICE_BPF_DENIED),
			      "reply of %u", i);
		}
		check(used == control->table[f].used, "%u used, %u counted", used,
		      control->table[f].used);
		check(alive == control->table[f].alive, "%u alive, %u counted", alive,
		      control->table[f].alive);
		check(count_free(f) == control->table[f].capacity - used, "%llu are free",
		      (unsigned long long)count_free(f));
	}
	ok_checks("%s", what);
}

/*
 * Saved connections, sorted, without what time changes; and without the rules, which are found again when
 * policy judges the next packet.
 */
static char *saved_state(const char *path)
{
	json_t *list = json_load_file(path, 0, NULL), *item;
	char *text;
	size_t i;

	json_array_foreach(list, i, item) {
		json_object_del(item, "timeout");
		json_object_del(item, "age");
		json_object_del(item, "egress");
		json_object_del(item, "ingress");
		json_object_del(item, "stagedEgress");
		json_object_del(item, "stagedIngress");
	}
	list = sort_array(list);
	text = json_dumps(list, JSON_INDENT(1) | JSON_SORT_KEYS);
	json_decref(list);
	return text;
}

static void test_flush_and_restore(void)
{
	char path[] = "/tmp/sluice-answer-XXXXXX", again[sizeof(path) + 2], command[256];
	char *before, *after;
	struct sluice_bpf_conn copy, *c;

	close(mkstemp(path));
	snprintf(again, sizeof(again), "%s.2", path);
	check_tables("the table is what it should be");
	set_clocks(0);
	says("ct flush --state denied", "1 connections flushed\n", "denied ones are forgotten");
	says_now("ct list", LINE_TCP LINE_UDP LINE_ICMP, "and are not to be seen any more");
	is_u64(control->table[0].alive, 3, "nor counted");
	says("ct flush --state denied", "0 connections flushed\n", "twice they are not");

	snprintf(command, sizeof(command), "ct save %s", path);
	says(command, "", "connections are saved");
	before = saved_state(path);
	copy = *conn_at(&tables[0], established);
	says_json("ct flush", "{'flushed': 3}", "all others are forgotten");
	n_clocks = 0; /* they belong to others from here on */
	says("ct list", "", "and there is none");
	is_u64(sweep(), 5, "each is left to the sweeper");
	check_tables("which finds its way");

	snprintf(command, sizeof(command), "ct restore %s", path);
	says(command, "3 connections restored, 0 skipped\n", "connections are put back");
	check_tables("so that they can be found");
	snprintf(command, sizeof(command), "ct save %s", again);
	says(command, "", "saved again");
	after = saved_state(again);
	is_str(after, before, "they are what they were");
	free(before);
	free(after);

	c = NULL;
	for (uint32_t i = 0; i < control->table[0].capacity; i++)
		if (conn_at(&tables[0], i)->state == SLUICE_STATE_TCP_ESTABLISHED)
			c = conn_at(&tables[0], i);
	if (ok(c, "the first of them is there")) {
		is_u64(c->side[0], copy.side[0], "it comes from its pod");
		is_u64(c->side[1], copy.side[1], "and goes to one");
		is_u64(c->bits, copy.bits, "through the service, which still has its backend");
		is_u64(c->backend_epoch, 5, "as of now");
		is_u64(c->policy_gen, 2, "policy judges it again");
		ok(now() - c->last_seen < ticks(60) && now() - c->created >= ticks(200) &&
			   now() - c->created < ticks(300),
		   "it was seen just now, and is as old as it was");
		ok(!memcmp(c->tcp, copy.tcp, sizeof(copy.tcp)), "TCP goes on where it was");
	}
	snprintf(command, sizeof(command), "ct restore %s", path);
	says_json(command, "{'restored': 0, 'skipped': 3}", "those that are there are skipped");
	check_tables("without a trace");
	unlink(path);
	unlink(again);
}

/* Several that put the same connections back at once, from either end of the list: each comes once. */
static void test_race(void)
{
	enum { CONNS = 6000, AT_ONCE = 3 };
	char path[] = "/tmp/sluice-race-XXXXXX", names[AT_ONCE][sizeof(path) + 4], line[256];
	unsigned int restored, all = 0, before = control->table[0].alive;
	FILE *f, *p[AT_ONCE];

	close(mkstemp(path));
	for (int i = 0; i < AT_ONCE; i++) {
		snprintf(names[i], sizeof(names[i]), "%s.%d", path, i);
		f = fopen(names[i], "w");
		fputc('[', f);
		for (int n = 0; n < CONNS; n++) {
			int c = i == 1 ? CONNS - 1 - n : n;

			fprintf(f,
				"%s{\"protocol\":\"UDP\",\"original\":{\"src\":\"10.8.%d.%d\",\"dst\":"
				"\"10.96.0.1\",\"sport\":7,\"dport\":53},\"reply\":{\"src\":"
				"\"10.244.1.2\",\"dst\":\"10.8.%d.%d\",\"sport\":53,\"dport\":7},"
				"\"state\":\"replied\",\"timeout\":100,\"verdict\":\"allow\","
				"\"reason\":\"no-policy\"}\n",
				n ? "," : "", c >> 8, c & 255, c >> 8, c & 255);
		}
		fputc(']', f);
		fclose(f);
	}
	for (int i = 0; i < AT_ONCE; i++) {
		snprintf(line, sizeof(line), SLUICECTL " ct restore %s", names[i]);
		p[i] = popen(line, "r");
	}
	for (int i = 0; i < AT_ONCE; i++) {
		if (!fgets(line, sizeof(line), p[i]) ||
		    sscanf(line, "%u connections restored", &restored) != 1)
			restored = 1000000;
		all += restored;
		diag("%u of them", restored);
		pclose(p[i]);
		unlink(names[i]);
	}
	unlink(path);
	is_u64(all, CONNS, "%d at once put %d connections back, each once", AT_ONCE, CONNS);
	is_u64(control->table[0].alive, before + CONNS, "as many are counted");
	sweep();
	check_tables("and no chain has suffered");
}

/* Events *********************************************************************************/

static struct sluice_bpf_monitor *places;

/* What a connection of the table looks like in an event. */
static void emit(uint32_t sequence, uint8_t type, int want)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	struct sluice_bpf_event event = { .sequence = sequence, .type = type, .family = 4 };
	char packet[64] = { 0 };
	uint32_t zero = 0;
	struct timespec t;
	int fd = bpf_program__fd(bpf_object__find_program_by_name(object, "test_emit"));

	clock_gettime(CLOCK_MONOTONIC, &t);
	event.time = (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
	event.conn.last_seen = event.conn.created = (uint32_t)(event.time >> 20);
	event.conn.rule[1] = 2;
	event.conn.state = SLUICE_STATE_DENIED;
	event.conn.verdict = event.conn.staged_verdict = SLUICE_VERDICT_DENY;
	event.conn.reason = SLUICE_REASON_DEFAULT_DENY;
	event.conn.bits = SLUICE_BPF_LIVE | SLUICE_BPF_DENIED;
	for (int dir = 0; dir < 2; dir++)
		event.tuple[dir] = (struct sluice_tuple){
			.src = addr_of(dir ? "10.244.1.2" : "10.244.3.9").addr,
			.dst = addr_of(dir ? "10.244.3.9" : "10.244.1.2").addr,
			.sport = htons(dir ? 22 : 4444),
			.dport = htons(dir ? 4444 : 22),
			.proto = SLUICE_PROTO_TCP,
			.family = SLUICE_IPV4,
		};
	put("test_event", &zero, &event);
	opts.data_in = packet;
	opts.data_size_in = sizeof(packet);
	if (bpf_prog_test_run_opts(fd, &opts))
		give_up("run the program");
	is_u64(opts.retval, want, "the program sends event %u to %d", sequence, want);
}

/* As a program looks at it. */
static unsigned int listeners(void)
{
	unsigned int n = 0;

	for (int i = 0; i < SLUICE_BPF_MONITORS; i++)
		n += places[i].until && places[i].until - now() - 1 < SLUICE_BPF_MONITOR_AHEAD;
	return n;
}

static bool wait_for_listeners(unsigned int n)
{
	for (int tries = 0; tries < 500; tries++) {
		uint32_t id, rings = 0;

		for (uint32_t i = 0; i < SLUICE_BPF_MONITORS; i++)
			rings += !bpf_map_lookup_elem(fd_of("monitors"), &i, &id);
		if (listeners() == n && rings == n && (!n || control->monitor_until))
			return true;
		usleep(20000);
	}
	return false;
}

static void test_events(void)
{
	char line[1024], when[32], *got;
	uint32_t place0, zero = 0, ring = 0, left = 0;
	int status;
	FILE *f, *more[SLUICE_BPF_MONITORS];
	struct tm tm;
	time_t t;

	places = mmap(NULL, SLUICE_BPF_MONITORS * sizeof(*places), PROT_READ, MAP_SHARED,
		      fd_of("monitor_until"), 0);
	if (places == MAP_FAILED)
		give_up("map monitor_until into memory");
	ok(wait_for_listeners(0) && !control->monitor_until, "nobody listens");
	f = popen("TZ=UTC " SLUICECTL " monitor --count 3 2>&1", "r");
	ok(wait_for_listeners(1), "somebody listens");
	ok((int32_t)(control->monitor_until - now()) > 0, "and everybody is told");
	place0 = places[0].until;
	emit(41, SLUICE_EVENT_DENIED, 1);
	if (!fgets(line, sizeof(line), f))
		*line = '\0';
	time(&t);
	gmtime_r(&t, &tm);
	strftime(when, sizeof(when), "%H:%M", &tm);
	ok(!strncmp(line, when, 5), "an event comes at once, and says when: %.15s", line);
	is_str(strlen(line) > 16 ? line + 16 : line, "denied " LINE_DENIED, "and what");
	for (int tries = 0; tries < 500 && places[0].until == place0; tries++)
		usleep(20000);
	ok(wait_for_listeners(1) && places[0].until != place0, "who listens says so again");
	emit(42, SLUICE_EVENT_NEW, 1);
	if (!fgets(line, sizeof(line), f))
		*line = '\0';
	ok(!strncmp(line + 16, "new ", 4), "a later event comes, too: %s", line);
	emit(45, SLUICE_EVENT_CLOSED, 1);
	if (!fgets(line, sizeof(line), f))
		*line = '\0';
	is_str(line, "sluicectl: 2 events missed or late\n", "a gap is told");
	if (!fgets(line, sizeof(line), f))
		*line = '\0';
	ok(!strncmp(line + 16, "closed ", 7), "before what comes behind it");
	is_u64(WEXITSTATUS(pclose(f)), 0, "three were asked for");
	ok(wait_for_listeners(0) && !places[0].until, "who leaves takes its ring away");
	emit(46, SLUICE_EVENT_NEW, 0);

	for (int i = 0; i < SLUICE_BPF_MONITORS; i++)
		more[i] = popen("exec " SLUICECTL " monitor --count 1 -o json", "r");
	ok(wait_for_listeners(SLUICE_BPF_MONITORS), "%d can listen at once", SLUICE_BPF_MONITORS);
	got = ask(&status, "monitor --count 1");
	is_str(got, "sluicectl: 4 listen to the events already, and more cannot\n",
	       "and not one more");
	free(got);
	emit(47, SLUICE_EVENT_NEW, SLUICE_BPF_MONITORS);
	for (int i = 0; i < SLUICE_BPF_MONITORS; i++) {
		json_t *json = json_loadf(more[i], 0, NULL);

		check(json_integer_value(json_object_get(json, "sequence")) == 47 &&
			      !strcmp(json_string_value(json_object_get(json, "type")) ?: "",
				      "new"),
		      "listener %d", i);
		json_decref(json);
		pclose(more[i]);
	}
	ok_checks("each is told, as JSON");

	f = popen("exec " SLUICECTL " monitor & echo $!", "r");
	ok(fgets(line, sizeof(line), f) && wait_for_listeners(1), "one more");
	kill(atoi(line), SIGKILL);
	pclose(f);
	for (int tries = 0; tries < 500 && listeners(); tries++)
		usleep(20000);
	is_u64(listeners(), 0, "that was killed is no listener any more, after two seconds");
	bpf_map_lookup_elem(fd_of("monitors"), &zero, &left);
	ring = left;
	f = popen(SLUICECTL " monitor --count 1 -o json", "r");
	for (int tries = 0; tries < 500 && ring == left; tries++) {
		usleep(20000);
		bpf_map_lookup_elem(fd_of("monitors"), &zero, &left);
	}
	emit(48, SLUICE_EVENT_NEW, 1);
	ok(fgets(line, sizeof(line), f) && strstr(line, "\"sequence\":48"),
	   "and gives its place to the next");
	pclose(f);
}

/* Refusals *******************************************************************************/

static void test_refusals(void)
{
	const uint8_t writing[] = { SLUICE_CMD_BEGIN, SLUICE_CMD_UPDATE, SLUICE_CMD_DELETE,
				    SLUICE_CMD_COMMIT, SLUICE_CMD_ABORT };
	const struct sluice_nl_conn filter = { .has = SLUICE_NL_HAS(SLUICE_CONN_A_STATE) |
						      SLUICE_NL_HAS(SLUICE_CONN_A_VERDICT) };
	struct sluice_nl_conn conn = { .has = SLUICE_NL_HAS(SLUICE_CONN_A_STATE), .state = 2 };
	struct nl_msg *msg;
	struct sluice_nl nl;
	SLUICE_ERR(err);

	if (!ok(!sluice_nl_open(&nl, &err), "the library finds the maps: %s", sluice_err_msg(&err)))
		return;
	is_str(sluice_nl_dataplane(&nl), "bpf", "and says so");
	for (size_t i = 0; i < sizeof(writing); i++) {
		msg = sluice_nl_message(&nl, writing[i], 0, &err);
		check(sluice_nl_call(&nl, msg, NULL, NULL, &err) == -EOPNOTSUPP &&
			      strstr(sluice_err_msg(&err), "by sluiced alone"),
		      "%s", sluice_err_msg(&err));
	}
	ok_checks("what writes is refused");

	msg = sluice_nl_message(&nl, SLUICE_CMD_FLUSH_CONN, 0, &err);
	sluice_nl_put_conn(msg, &filter);
	is_u64(-sluice_nl_call(&nl, msg, NULL, NULL, &err), EOPNOTSUPP,
	       "a filter that cannot be had is refused");
	is_str(sluice_err_msg(&err),
	       "attribute CONN.VERDICT: a filter knows the original tuple and the state (Operation "
	       "not supported)",
	       "by name");
	msg = sluice_nl_message(&nl, SLUICE_CMD_SET_CONN, 0, &err);
	sluice_nl_put_conn(msg, &conn);
	is_u64(-sluice_nl_call(&nl, msg, NULL, NULL, &err), EINVAL,
	       "a connection without tuples is refused");
	is_str(sluice_err_msg(&err),
	       "attribute CONN: a connection needs two tuples and a state (Invalid argument)",
	       "by name");
	conn.state = 200;
	msg = sluice_nl_message(&nl, SLUICE_CMD_SET_CONN, 0, &err);
	sluice_nl_put_conn(msg, &conn);
	is_u64(-sluice_nl_call(&nl, msg, NULL, NULL, &err), ERANGE,
	       "a state that there is not is refused");
	is_str(sluice_err_msg(&err),
	       "attribute CONN.STATE: integer out of range (Numerical result out of range)",
	       "by name");
	msg = sluice_nl_message(&nl, SLUICE_CMD_TRACE, 0, &err);
	is_u64(-sluice_nl_call(&nl, msg, NULL, NULL, &err), EINVAL,
	       "a trace of nothing is refused");
	is_str(sluice_err_msg(&err), "a trace needs a tuple (Invalid argument)", "by name");

	msg = sluice_nl_message(&nl, SLUICE_CMD_SET_CONFIG, 0, &err);
	sluice_nl_put_conn_budget(msg, 0);
	is_u64(-sluice_nl_call(&nl, msg, NULL, NULL, &err), EINVAL,
	       "a budget of nothing is refused");
	is_str(sluice_err_msg(&err),
	       "attribute CONFIG.CONN_BUDGET: a budget of nothing (Invalid argument)", "by name");
	msg = sluice_nl_message(&nl, SLUICE_CMD_SET_CONFIG, 0, &err);
	sluice_nl_put_conn_budget(msg, 100 << 20);
	ok(!sluice_nl_call(&nl, msg, NULL, NULL, &err), "a budget is taken: %s",
	   sluice_err_msg(&err));
	is_u64(control->budget, 100 << 20, "and written");
	ok((uint64_t)control->table[0].limit * 144 <= 100 << 20 && control->table[0].limit > 1000,
	   "with a limit that follows from it: %u", control->table[0].limit);
	sluice_nl_close(&nl);
}

/* A dump that meets a commit is done again. */
static int commit_once(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	int *calls = arg;

	(void)attrs;
	(void)err;
	++*calls;
	return 0;
}

static void test_commits(void)
{
	struct sluice_nl nl;
	int calls = 0;
	SLUICE_ERR(err);

	if (sluice_nl_open(&nl, &err))
		give_up("%s", sluice_err_msg(&err));
	control->revision = 8;
	says("get services | grep -c 10.96.0.1:80.*3.*10.244.3.2", "1\n",
	     "a commit makes the next version count");
	control->revision = 1;
	says("get services", "SERVICE  ADDRESS  PROTOCOL  COUNT  BACKENDS\n",
	     "at a revision before all there is nothing");
	control->revision = 0;
	fails("trace --from 10.244.1.2 --to 10.244.1.3 --port 80",
	      "sluicectl: nothing has been committed in this namespace (No such file or directory)\n",
	      "nor is anything known before the first commit");
	control->revision = REVISION;
	ok(!sluice_nl_dump(&nl, sluice_nl_message(&nl, SLUICE_CMD_GET_PEER, 0, &err), commit_once,
			   &calls, &err),
	   "a dump");
	is_u64(calls, 4, "comes once");
	sluice_nl_close(&nl);
}

static void test_bad_maps(void)
{
	char path[256], moved[256], want[512];

	control->layout = 99;
	snprintf(
		want, sizeof(want),
		"sluicectl: the maps in %s are of layout 99, this program knows layout %u: use the "
		"sluicectl and sluiced of one version\n",
		dir, SLUICE_BPF_LAYOUT);
	fails("get peers", want, "maps of another layout are not read");
	control->layout = SLUICE_BPF_LAYOUT;
	snprintf(path, sizeof(path), "%s/peer_info", dir);
	snprintf(moved, sizeof(moved), "%s/elsewhere", dir);
	rename(path, moved);
	snprintf(want, sizeof(want),
		 "sluicectl: map %s is missing, others are there: somebody removed it; start "
		 "sluiced again, which says what to do\n",
		 path);
	fails("get peers", want, "a pin that is missing is named");
	unlink(path);
	snprintf(moved, sizeof(moved), "%s/rule_info", dir);
	if (bpf_obj_pin(fd_of("rule_info"), path))
		give_up("pin %s", path);
	snprintf(
		want, sizeof(want),
		"sluicectl: map %s is of another layout: its keys and values take 4 and %zu bytes, "
		"here they are %zu and %zu; use the sluicectl and sluiced of one version\n",
		path, sizeof(struct sluice_bpf_rule_info), sizeof(struct sluice_bpf_peer_key),
		sizeof(struct sluice_bpf_peer_info));
	fails("get peers", want, "a pin of another map is not read");
}

static void test_status(void)
{
	int status;
	char *got = ask(&status, "status --socket /nonexistent"), want[1024];

	ok(strstr(got, "Data plane  bpf layout 1, revision 7\n") &&
		   strstr(got,
			  "State       3 services with 3 backends, 4 peers, 2 rules, 1 rulesets, "
			  "3 endpoints, 1 uplinks\n") &&
		   strstr(got, "Connections 5, 5.8 MiB of 64.0 MiB\n"),
	   "status says which data plane runs, and what it holds");
	free(got);
	snprintf(want, sizeof(want),
		 "{'controller': null, 'kernel': {'dataplane': 'bpf', 'version': 'layout 1',"
		 " 'revision': 7, 'services': 3, 'backends': 3, 'peers': 4, 'rules': 2,"
		 " 'rulesets': 1, 'endpoints': 3, 'uplinks': 1, 'connections': 5,"
		 " 'connectionBytes': %u, 'connectionBudget': %u, 'buckets': 131072,"
		 " 'connectionSize4': 144, 'connectionSize6': 192}}",
		 131072 * 4 + SLUICE_BPF_SEGMENT * (144 + 192), 64 << 20);
	got = ask(&status, "status --socket /nonexistent -o json 2>/dev/null");
	is_json(got, want, "status");
	is_u64(status, 1, "without a controller it ends with status 1");
	free(got);
	says_json("ct stats",
		  "{'connections': 5, 'bytes': 6029312, 'budget': 67108864, 'buckets': 131072,"
		  " 'created': 640, 'expired': 840, 'evicted': {'closing': 0, 'unreplied': 0,"
		  " 'idle': 1040, 'established': 0}, 'rejudged': 1240, 'cut': 1440,"
		  " 'remapped': 1640, 'refused': 42}",
		  "the table's size and history");
}

/* Speed **********************************************************************************/

static double milliseconds(struct timeval t)
{
	return t.tv_sec * 1e3 + t.tv_usec / 1e3;
}

/* Time of the processor: other work on the machine does not count. */
static void print_times(const char *command)
{
	struct rusage before, after;
	int status;
	char *got;

	getrusage(RUSAGE_CHILDREN, &before);
	got = ask(&status, "%s", command);
	getrusage(RUSAGE_CHILDREN, &after);
	if (status)
		give_up("%s: %s", command, got);
	free(got);
	printf("%-40s %8.1f ms of user, %8.1f ms of system\n", command,
	       milliseconds(after.ru_utime) - milliseconds(before.ru_utime),
	       milliseconds(after.ru_stime) - milliseconds(before.ru_stime));
	fflush(stdout);
}

/* Not a test: what commands take with so many connections. */
static int measure(uint32_t n, const char *command)
{
	static const char *const commands[] = {
		"ct list >/dev/null",
		"ct list --state denied >/dev/null",
		"ct list --verdict deny >/dev/null",
		"ct list -o json >/dev/null",
		"ct save /tmp/sluice-answer.json",
		"ct flush",
		NULL,
		"ct restore /tmp/sluice-answer.json",
		"ct stats",
		"status --socket /nonexistent || true",
		"stats",
		"get services",
		"get endpoints",
		"get rules",
	};
	struct table *t = &tables[0];
	char addr[32];

	for (uint32_t i = 0; i < n; i++) {
		struct sluice_bpf_conn *c;
		uint32_t index;

		if (!(uint32_t)control->table[0].free)
			add_segment(t);
		c = take_conn(t, &index);
		snprintf(addr, sizeof(addr), "10.%u.%u.%u", i >> 16 & 255, i >> 8 & 255, i & 255);
		set_key(t, c, 0, addr, 40000, "10.96.0.1", 80, SLUICE_PROTO_TCP);
		set_key(t, c, 1, "10.244.1.2", 8080, addr, 40000, SLUICE_PROTO_TCP);
		c->last_seen = c->created = now();
		c->state = SLUICE_STATE_TCP_ESTABLISHED;
		c->verdict = c->staged_verdict = SLUICE_VERDICT_ALLOW;
		c->reason = SLUICE_REASON_POLICY_ALLOW;
		c->rule[1] = 1;
		c->bits = SLUICE_BPF_LIVE | SLUICE_BPF_SERVICE | SLUICE_BPF_NAT;
		link_conn(t, c, index, 1);
		link_conn(t, c, index, 0);
	}
	/* A large cluster's peers; more than the map takes are left out. */
	for (uint32_t i = 0; i < n / 10 && i < 200000; i++) {
		snprintf(addr, sizeof(addr), "10.%u.%u.%u/32", 128 + (i >> 16 & 127), i >> 8 & 255,
			 i & 255);
		put_peer(addr, i, 1, "namespace/pod");
	}
	control->table[0].limit = n;
	if (command)
		print_times(command);
	for (size_t i = 0; !command && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (commands[i])
			print_times(commands[i]);
		else
			sweep();
	}
	unlink("/tmp/sluice-answer.json");
	return 0;
}

int main(int argc, char **argv)
{
	bool speed = argc > 2 && !strcmp(argv[1], "--speed");
	const uint32_t buckets = speed ? 1 << 20 : 65536;

	make_namespace();
	make_maps(buckets);
	make_tables(buckets);
	fill_state();
	if (speed)
		return measure((uint32_t)strtoul(argv[2], NULL, 10), argv[3]);
	test_state();
	test_large_ruleset();
	fill_stats();
	test_stats();
	fill_conns();
	test_conns();
	test_status();
	test_trace();
	test_flush_and_restore();
	test_race();
	test_events();
	test_refusals();
	test_commits();
	test_bad_maps();
	return done_testing();
}
