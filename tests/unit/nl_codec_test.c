// SPDX-License-Identifier: GPL-2.0-only
/*
 * The netlink client without a kernel: what is put into a message is parsed back, answers are cut short
 * and bent, and errors are made into words.
 */
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <netlink/genl/genl.h>

#include "ctl/lib/address.h"
#include "ctl/lib/nl.h"
#include "ctl/lib/nl_object.h"
#include "tap.h"

#define ROUNDS 2000

static struct nl_msg *new_message(size_t room)
{
	struct nl_msg *msg = nlmsg_alloc_size(NLMSG_HDRLEN + GENL_HDRLEN + room);

	genlmsg_put(msg, 1, 2, 0x20, 0, 0, SLUICE_CMD_UPDATE, SLUICE_GENL_VERSION);
	return msg;
}

/* The first attribute of a message. */
static struct nlattr *first(struct nl_msg *msg)
{
	return genlmsg_attrdata(nlmsg_data(nlmsg_hdr(msg)), 0);
}

static size_t used(struct nl_msg *msg)
{
	return nlmsg_datalen(nlmsg_hdr(msg));
}

static uint8_t random_family(void)
{
	return tap_one_in(2) ? SLUICE_IPV4 : SLUICE_IPV6;
}

static struct sluice_addr random_addr(uint8_t family)
{
	struct sluice_addr addr = { { (uint32_t)tap_random() } };

	for (int i = 1; family == SLUICE_IPV6 && i < 4; i++)
		addr.w[i] = (uint32_t)tap_random();
	return addr;
}

static const char *random_name(char *buf, size_t max)
{
	size_t len = tap_below((uint32_t)max);

	for (size_t i = 0; i < len; i++)
		buf[i] = (char)('a' + tap_below(26));
	buf[len] = '\0';
	return buf;
}

static void test_services(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		struct sluice_dp_backend backends[50];
		char name[SLUICE_NAME_LEN];
		struct sluice_dp_service in = {
			.family = random_family(),
			.port = (uint16_t)tap_random(),
			.proto = (uint8_t)tap_random(),
			.name = random_name(name, sizeof(name)),
			.backends = backends,
			.n_backends = tap_below(51),
		};
		struct nl_msg *msg = new_message(4096);
		struct sluice_nl_service out;

		in.addr = random_addr(in.family);
		for (uint32_t i = 0; i < in.n_backends; i++)
			backends[i] = (struct sluice_dp_backend){ random_addr(in.family),
								  (uint16_t)tap_random() };
		check(sluice_nl_put_service(msg, &in, false), "put");
		check(nla_type(first(msg)) == SLUICE_A_SERVICE, "type");
		check(first(msg)->nla_type & NLA_F_NESTED, "the nest is not marked as one");
		check(!sluice_nl_parse_service(first(msg), &out, NULL), "parse");
		check(sluice_addr_equal(&in.addr, &out.addr) && in.family == out.family &&
			      in.port == out.port && in.proto == out.proto &&
			      !strcmp(in.name, out.name) && in.n_backends == out.n_backends,
		      "fields");
		for (uint32_t i = 0; i < in.n_backends; i++) {
			struct sluice_dp_backend b = sluice_nl_backend(&out, i);

			check(sluice_addr_equal(&b.addr, &backends[i].addr) &&
				      b.port == backends[i].port,
			      "backend %u", i);
		}
		nlmsg_free(msg);
	}
	ok_checks("services survive the wire");
}

/* The most that a service may have: 64,512 bytes of backends, which the compiler sees to. */
static void test_most_backends(void)
{
	for (int f = 0; f < 2; f++) {
		uint8_t family = f ? SLUICE_IPV6 : SLUICE_IPV4;
		uint32_t max = 64512 / (f ? sizeof(struct sluice_backend6) :
					    sizeof(struct sluice_backend4));
		struct sluice_dp_backend *backends = calloc(max * 2, sizeof(*backends));
		char name[SLUICE_NAME_LEN * 2];
		struct sluice_dp_service in = {
			.family = family, .name = name, .backends = backends, .n_backends = max
		};
		struct nl_msg *msg = new_message(68 << 10), *small = new_message(48 << 10);
		struct sluice_nl_service out;
		size_t before;

		memset(name, 'x', sizeof(name) - 1);
		name[sizeof(name) - 1] = '\0';
		ok(sluice_nl_put_service(msg, &in, false) &&
			   !sluice_nl_parse_service(first(msg), &out, NULL) &&
			   out.n_backends == max,
		   "IPv%u: %u backends arrive", family, max);
		is_u64(strlen(out.name), SLUICE_NAME_LEN - 1, "a name that is too long is cut");
		before = used(small);
		ok(!sluice_nl_put_service(small, &in, false),
		   "a message of 48 KiB has no room for them");
		is_u64(used(small), before, "and is left as it was");
		nlmsg_free(small);
		small = new_message(200 << 10);
		for (in.n_backends = max + 1; in.n_backends < max + 200; in.n_backends++) {
			before = used(small);
			if (sluice_nl_put_service(small, &in, false)) {
				nlmsg_free(small);
				small = new_message(200 << 10);
			} else {
				check(used(small) == before, "%u backends", in.n_backends);
			}
		}
		in.n_backends = max * 2;
		ok(!sluice_nl_put_service(small, &in, false), "twice as many are refused");
		ok_checks(
			"as are those that make the nest too long, and the message is left as it was");
		nlmsg_free(msg);
		nlmsg_free(small);
		free(backends);
	}
}

static void test_peers_and_rules(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		char name[100], policy[100], rule_text[30];
		struct sluice_dp_peer peer = { .family = random_family(),
					       .plen = (uint8_t)tap_random(),
					       .class = (uint32_t)tap_random(),
					       .name = tap_one_in(3) ? NULL :
								       random_name(name, 100) };
		struct sluice_dp_rule rule = { .id = (uint32_t)tap_random() | 1,
					       .policy = random_name(policy, sizeof(policy)),
					       .rule = random_name(rule_text, sizeof(rule_text)) };
		struct nl_msg *a = new_message(1024), *b = new_message(1024);
		struct sluice_nl_peer peer_out;
		struct sluice_nl_rule rule_out;

		peer.addr = random_addr(peer.family);
		check(sluice_nl_put_peer(a, &peer, false) &&
			      !sluice_nl_parse_peer(first(a), &peer_out, NULL),
		      "peer");
		check(sluice_addr_equal(&peer.addr, &peer_out.addr) &&
			      peer.family == peer_out.family && peer.plen == peer_out.plen &&
			      peer.class == peer_out.class &&
			      !strcmp(peer.name ? peer.name : "", peer_out.name),
		      "peer's fields");
		check(sluice_nl_put_rule(b, &rule, false) &&
			      !sluice_nl_parse_rule(first(b), &rule_out, NULL),
		      "rule");
		check(rule.id == rule_out.id && !strcmp(rule.policy, rule_out.policy) &&
			      !strcmp(rule.rule, rule_out.rule),
		      "rule's fields");
		nlmsg_free(a);
		nlmsg_free(b);
	}
	ok_checks("peers and rules survive the wire");
}

static void test_endpoints(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		struct sluice_dp_addr addrs[SLUICE_MAX_ENDPOINT_ADDRS];
		char name[100], container[100];
		struct sluice_dp_endpoint in = { .ifindex = (uint32_t)tap_random() | 1,
						 .name = random_name(name, sizeof(name)),
						 .container = random_name(container, 100),
						 .addrs = addrs,
						 .n_addrs =
							 tap_below(SLUICE_MAX_ENDPOINT_ADDRS + 1),
						 .ingress = (uint32_t)tap_random(),
						 .egress = (uint32_t)tap_random(),
						 .open = tap_one_in(2) };
		struct nl_msg *msg = new_message(2048);
		struct sluice_nl_endpoint out;

		for (uint32_t i = 0; i < in.n_addrs; i++) {
			addrs[i].family = random_family();
			addrs[i].addr = random_addr(addrs[i].family);
		}
		check(sluice_nl_put_endpoint(msg, &in, false) &&
			      !sluice_nl_parse_endpoint(first(msg), &out, NULL),
		      "endpoint");
		check(in.ifindex == out.ifindex && !strcmp(in.name, out.name) &&
			      !strcmp(in.container, out.container) && in.n_addrs == out.n_addrs &&
			      in.ingress == out.ingress && in.egress == out.egress &&
			      in.open == !!(out.flags & SLUICE_ENDPOINT_OPEN),
		      "fields");
		for (uint32_t i = 0; i < in.n_addrs && i < out.n_addrs; i++)
			check(addrs[i].family == out.addrs[i].family &&
				      sluice_addr_equal(&addrs[i].addr, &out.addrs[i].addr),
			      "address %u", i);
		nlmsg_free(msg);
	}
	ok_checks("endpoints survive the wire");
}

static struct sluice_nl_tuple random_tuple(uint8_t family)
{
	return (struct sluice_nl_tuple){
		.t = { .src = random_addr(family),
		       .dst = random_addr(family),
		       .sport = (uint16_t)tap_random(),
		       .dport = (uint16_t)tap_random(),
		       .proto = (uint8_t)tap_random(),
		       .family = family },
		.has = ~0U,
	};
}

static void test_conns(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		uint8_t family = random_family();
		struct sluice_nl_conn in = {
			.has = ~0U,
			.original = random_tuple(family),
			.reply = random_tuple(family),
			.state = (uint8_t)tap_random(),
			.verdict = (uint8_t)tap_random(),
			.reason = (uint8_t)tap_random(),
			.staged_verdict = (uint8_t)tap_random(),
			.flags = (uint32_t)tap_random(),
			.timeout = (uint32_t)tap_random(),
			.age = (uint32_t)tap_random(),
			.rule = { (uint32_t)tap_random(), (uint32_t)tap_random() },
			.staged_rule = { (uint32_t)tap_random(), (uint32_t)tap_random() },
			.packets = { tap_random(), tap_random() },
			.bytes = { tap_random(), tap_random() },
			.tcp = { { (uint32_t)tap_random(), 2, 3, 4, 5 }, { 6, 7, 8, 9, 10 } },
		};
		struct nl_msg *msg = new_message(1024);
		struct sluice_nl_conn out;

		check(sluice_nl_put_conn(msg, &in) && !sluice_nl_parse_conn(first(msg), &out, NULL),
		      "connection");
		check(sluice_tuple_equal(&in.original.t, &out.original.t) &&
			      sluice_tuple_equal(&in.reply.t, &out.reply.t),
		      "tuples");
		check(in.state == out.state && in.verdict == out.verdict &&
			      in.reason == out.reason && in.staged_verdict == out.staged_verdict &&
			      in.flags == out.flags && in.timeout == out.timeout &&
			      in.age == out.age,
		      "fields");
		check(!memcmp(in.rule, out.rule, sizeof(in.rule)) &&
			      !memcmp(in.staged_rule, out.staged_rule, sizeof(in.rule)) &&
			      !memcmp(in.packets, out.packets, sizeof(in.packets)) &&
			      !memcmp(in.bytes, out.bytes, sizeof(in.bytes)) &&
			      !memcmp(in.tcp, out.tcp, sizeof(in.tcp)),
		      "arrays");
		nlmsg_free(msg);
	}
	ok_checks("connections survive the wire");
}

static void test_filters(void)
{
	struct sluice_nl_conn filter = { .has = SLUICE_NL_HAS(SLUICE_CONN_A_ORIGINAL) }, out;
	struct nl_msg *msg = new_message(1024);

	filter.original.t.dport = htons(443);
	filter.original.has = SLUICE_NL_HAS(SLUICE_TUPLE_A_DPORT);
	ok(sluice_nl_put_conn(msg, &filter) && !sluice_nl_parse_conn(first(msg), &out, NULL) &&
		   out.has == filter.has && out.original.has == filter.original.has &&
		   out.original.t.dport == htons(443),
	   "a filter holds what it asks for and nothing else");
	nlmsg_free(msg);
}

static void test_rulesets(void)
{
	static const char blob[100];
	struct nl_msg *msg = new_message(1024), *key = new_message(64);
	struct sluice_nl_ruleset out;

	ok(sluice_nl_put_ruleset(msg, 7, 1000, 300, blob, sizeof(blob)) &&
		   !sluice_nl_parse_ruleset(first(msg), &out, NULL) && out.id == 7 &&
		   out.size == 1000,
	   "a piece of a ruleset survives the wire");
	ok(sluice_nl_put_ruleset(key, 7, 0, 0, NULL, 0) &&
		   !sluice_nl_parse_ruleset(first(key), &out, NULL) && out.id == 7 && !out.size,
	   "as does its key alone");
	nlmsg_free(msg);
	nlmsg_free(key);
}

/* What is put into answers, where the eBPF variant's maps are asked instead of the module. */
static void test_answers(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		uint8_t family = random_family();
		uint32_t revision = (uint32_t)tap_random(),
			 ids[3] = { 1, 2, (uint32_t)tap_random() };
		char name[100];
		struct sluice_dp_backend backend = { random_addr(family), 8080 };
		struct sluice_dp_service service = { .addr = random_addr(family),
						     .port = 80,
						     .proto = 6,
						     .family = family,
						     .name = random_name(name, sizeof(name)),
						     .backends = &backend,
						     .n_backends = 1 };
		struct sluice_dp_peer peer = { .addr = random_addr(family),
					       .family = family,
					       .class = revision,
					       .name = name };
		struct sluice_dp_rule rule = { 7, name, "ingress[0]" };
		struct sluice_dp_addr addr = { random_addr(family), family };
		struct sluice_dp_endpoint endpoint = { .ifindex = 3,
						       .name = name,
						       .container = name,
						       .addrs = &addr,
						       .n_addrs = 1,
						       .egress = 9,
						       .open = true };
		struct sluice_nl_ruleset ruleset = { 5, 6, 7, 8, 9, ids, 3, revision };
		struct sluice_nl_uplink uplink = { 4, name, revision };
		struct nl_msg *msg = new_message(8192);
		struct sluice_nl_service service_out;
		struct sluice_nl_peer peer_out;
		struct sluice_nl_rule rule_out;
		struct sluice_nl_endpoint endpoint_out;
		struct sluice_nl_ruleset ruleset_out;
		struct sluice_nl_uplink uplink_out;
		struct nlattr *a[SLUICE_A_MAX + 1];

		check(sluice_nl_put_dumped_service(msg, &service, revision) &&
			      sluice_nl_put_dumped_peer(msg, &peer, revision) &&
			      sluice_nl_put_dumped_rule(msg, &rule, revision) &&
			      sluice_nl_put_dumped_endpoint(msg, &endpoint, "eth7", revision) &&
			      sluice_nl_put_dumped_ruleset(msg, &ruleset) &&
			      sluice_nl_put_dumped_uplink(msg, &uplink),
		      "put");
		check(!nla_parse(a, SLUICE_A_MAX, first(msg), (int)used(msg) - GENL_HDRLEN, NULL) &&
			      !sluice_nl_parse_service(a[SLUICE_A_SERVICE], &service_out, NULL) &&
			      !sluice_nl_parse_peer(a[SLUICE_A_PEER], &peer_out, NULL) &&
			      !sluice_nl_parse_rule(a[SLUICE_A_RULE], &rule_out, NULL) &&
			      !sluice_nl_parse_endpoint(a[SLUICE_A_ENDPOINT], &endpoint_out,
							NULL) &&
			      !sluice_nl_parse_ruleset(a[SLUICE_A_RULESET], &ruleset_out, NULL) &&
			      !sluice_nl_parse_uplink(a[SLUICE_A_UPLINK], &uplink_out, NULL),
		      "parse");
		check(service_out.revision == revision && !service_out.flags &&
			      service_out.n_backends == 1 && !strcmp(service_out.name, name),
		      "service");
		check(peer_out.revision == revision && peer_out.class == revision, "peer");
		check(rule_out.revision == revision && rule_out.id == 7, "rule");
		check(endpoint_out.revision == revision && !strcmp(endpoint_out.ifname, "eth7") &&
			      endpoint_out.flags ==
				      (SLUICE_ENDPOINT_OPEN | SLUICE_ENDPOINT_EGRESS) &&
			      endpoint_out.n_addrs == 1,
		      "endpoint");
		check(ruleset_out.revision == revision && ruleset_out.rules == 7 &&
			      ruleset_out.classes == 8 && ruleset_out.endpoints == 9 &&
			      ruleset_out.n_rule_ids == 3 &&
			      sluice_nl_rule_id(&ruleset_out, 2) == ids[2],
		      "ruleset");
		check(uplink_out.revision == revision && !strcmp(uplink_out.ifname, name),
		      "uplink");
		nlmsg_free(msg);
	}
	ok_checks("dumped objects survive the wire");
}

static void fill_random(void *p, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((unsigned char *)p)[i] = (unsigned char)tap_random();
}

static void test_numbers(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		uint8_t family = random_family();
		struct sluice_tuple asked = random_tuple(family).t, again;
		struct sluice_nl_info info = { 0 }, info_out;
		struct sluice_nl_stats stats = { 0 }, stats_out;
		struct sluice_nl_event event = { .type = 2, .sequence = 3, .time = tap_random() };
		struct sluice_nl_event event_out;
		struct sluice_nl_trace trace = { .verdict = 1,
						 .reason = 2,
						 .staged_verdict = 3,
						 .dir = { { true, 1, 2, 77 },
							  { tap_one_in(2), 0, 0, 0 } },
						 .service = tap_one_in(2) ? "shop/web:http" : NULL,
						 .has_backend = tap_one_in(2),
						 .backend_port = 53 };
		struct sluice_nl_trace trace_out;
		struct sluice_nl_tuple tuple;
		struct nlattr *nest;
		struct nl_msg *msg;

		fill_random(&info, sizeof(info));
		info.version = "layout 9";
		msg = new_message(4096);
		check(sluice_nl_put_info(msg, &info) &&
			      !sluice_nl_parse_info(first(msg), &info_out, NULL) &&
			      !strcmp(info.version, info_out.version),
		      "info");
		/* There is padding in between, and behind. */
		check(!memcmp(&info.revision, &info_out.revision,
			      offsetof(struct sluice_nl_info, conns) + sizeof(info.conns) -
				      offsetof(struct sluice_nl_info, revision)) &&
			      !memcmp(&info.conn_bytes, &info_out.conn_bytes,
				      offsetof(struct sluice_nl_info, conn_size6) +
					      sizeof(info.conn_size6) -
					      offsetof(struct sluice_nl_info, conn_bytes)),
		      "its fields");
		nlmsg_free(msg);

		fill_random(&stats, sizeof(stats));
		stats.drops_unknown = 0;
		msg = new_message(4096);
		check(sluice_nl_put_stats(msg, &stats) &&
			      !sluice_nl_parse_stats(first(msg), &stats_out, NULL) &&
			      !memcmp(&stats, &stats_out, sizeof(stats)),
		      "stats");
		nlmsg_free(msg);

		event.conn.has = ~0U;
		event.conn.original = random_tuple(family);
		event.conn.reply = random_tuple(family);
		event.conn.packets[1] = tap_random();
		msg = new_message(4096);
		check(sluice_nl_put_event(msg, &event) &&
			      !sluice_nl_parse_event(first(msg), &event_out, NULL) &&
			      event_out.type == 2 && event_out.sequence == 3 &&
			      event_out.time == event.time &&
			      event_out.conn.packets[1] == event.conn.packets[1] &&
			      sluice_tuple_equal(&event_out.conn.reply.t, &event.conn.reply.t),
		      "event");
		nlmsg_free(msg);

		trace.family = family;
		trace.backend = random_addr(family);
		msg = new_message(4096);
		check(sluice_nl_put_traced(msg, &asked, &trace) &&
			      !sluice_nl_parse_trace(first(msg), &trace_out, NULL),
		      "trace");
		check(trace_out.verdict == 1 && trace_out.reason == 2 &&
			      trace_out.staged_verdict == 3 && trace_out.dir[0].judged &&
			      trace_out.dir[0].rule == 77 &&
			      trace_out.dir[1].judged == trace.dir[1].judged &&
			      !trace_out.service == !trace.service &&
			      trace_out.has_backend == trace.has_backend,
		      "its fields");
		check(!trace.has_backend ||
			      (sluice_addr_equal(&trace.backend, &trace_out.backend) &&
			       trace_out.backend_port == 53 && trace_out.family == family),
		      "its backend");
		nest = nla_find(nla_data(first(msg)), nla_len(first(msg)), SLUICE_TRACE_A_TUPLE);
		again = (struct sluice_tuple){ 0 };
		if (nest && !sluice_nl_parse_tuple(nest, &tuple, NULL))
			again = tuple.t;
		check(sluice_tuple_equal(&asked, &again), "what was asked");
		nlmsg_free(msg);
	}
	ok_checks("infos, counters, events and traces survive the wire");
}

/* A refusal of our own says what the kernel's would. */
static void test_refusals(void)
{
	struct sluice_nl_conn filter = { .has = SLUICE_NL_HAS(SLUICE_CONN_A_VERDICT) };
	struct nl_msg *msg = new_message(1024);
	struct nlattr *attr;
	SLUICE_ERR(err);

	sluice_nl_put_conn(msg, &filter);
	attr = nla_find(nla_data(first(msg)), nla_len(first(msg)), SLUICE_CONN_A_VERDICT);
	is_u64(-sluice_nl_refuse(nlmsg_hdr(msg), attr, EOPNOTSUPP, "no", &err), EOPNOTSUPP,
	       "a refusal of our own has its number");
	is_str(sluice_err_msg(&err), "attribute CONN.VERDICT: no (Operation not supported)",
	       "and names the attribute");
	sluice_nl_refuse(nlmsg_hdr(msg), NULL, EBUSY, "later", &err);
	is_str(sluice_err_msg(&err), "later (Device or resource busy)", "or none");
	nlmsg_free(msg);
}

static void test_matches(void)
{
	struct sluice_nl_conn conn = { .original = random_tuple(SLUICE_IPV4),
				       .state = 4,
				       .verdict = 1 };
	struct sluice_nl_conn filter = { 0 };

	ok(sluice_nl_conn_matches(&conn, &filter), "a filter of nothing matches all");
	filter.original.t = conn.original.t;
	filter.original.has =
		SLUICE_NL_HAS(SLUICE_TUPLE_A_SRC) | SLUICE_NL_HAS(SLUICE_TUPLE_A_DST) |
		SLUICE_NL_HAS(SLUICE_TUPLE_A_SPORT) | SLUICE_NL_HAS(SLUICE_TUPLE_A_DPORT) |
		SLUICE_NL_HAS(SLUICE_TUPLE_A_PROTO);
	filter.has = SLUICE_NL_HAS(SLUICE_CONN_A_STATE) | SLUICE_NL_HAS(SLUICE_CONN_A_VERDICT);
	filter.state = 4;
	filter.verdict = 1;
	ok(sluice_nl_conn_matches(&conn, &filter), "one of everything matches that");
#define DIFFERS(field)                                                 \
	do {                                                           \
		struct sluice_nl_conn other = filter;                  \
                                                                       \
		other.field ^= 1;                                      \
		check(!sluice_nl_conn_matches(&conn, &other), #field); \
	} while (0)
	DIFFERS(original.t.src.w[0]);
	DIFFERS(original.t.dst.w[0]);
	DIFFERS(original.t.sport);
	DIFFERS(original.t.dport);
	DIFFERS(original.t.proto);
	DIFFERS(original.t.family);
	DIFFERS(state);
	DIFFERS(verdict);
#undef DIFFERS
	ok_checks("and nothing else");
}

/* What a kernel of another version, or a broken one, might send. */
static void test_bad_answers(void)
{
	struct nl_msg *msg = new_message(1024);
	struct sluice_nl_service service;
	struct sluice_nl_stats stats;
	uint64_t drops[SLUICE_REASON_COUNT + 2];
	struct nlattr *nest;
	SLUICE_ERR(err);

	nest = nla_nest_start(msg, SLUICE_A_SERVICE);
	nla_put(msg, SLUICE_SERVICE_A_ADDR, 5, "12345");
	nla_nest_end(msg, nest);
	ok(sluice_nl_parse_service(first(msg), &service, &err) == -EPROTO &&
		   strstr(sluice_err_msg(&err), "ADDR"),
	   "an address of 5 bytes is refused by name: %s", sluice_err_msg(&err));
	nlmsg_free(msg);

	msg = new_message(1024);
	nest = nla_nest_start(msg, SLUICE_A_SERVICE);
	nla_put(msg, SLUICE_SERVICE_A_ADDR, 4, "1234");
	nla_put(msg, SLUICE_SERVICE_A_NAME, 3, "abc");
	nla_nest_end(msg, nest);
	ok(sluice_nl_parse_service(first(msg), &service, &err) == -EPROTO &&
		   strstr(sluice_err_msg(&err), "NAME"),
	   "a name without its NUL is refused by name");
	nlmsg_free(msg);

	msg = new_message(1024);
	nest = nla_nest_start(msg, SLUICE_A_SERVICE);
	nla_put(msg, SLUICE_SERVICE_A_ADDR, 4, "1234");
	nla_put_u32(msg, 200, 1);
	nla_nest_end(msg, nest);
	ok(!sluice_nl_parse_service(first(msg), &service, &err),
	   "an attribute that is not known is skipped");
	nlmsg_free(msg);

	for (size_t i = 0; i < SLUICE_REASON_COUNT + 2; i++)
		drops[i] = i;
	msg = new_message(1024);
	nest = nla_nest_start(msg, SLUICE_A_STATS);
	nla_put(msg, SLUICE_STATS_A_DROPS, sizeof(drops), drops);
	nla_nest_end(msg, nest);
	ok(!sluice_nl_parse_stats(first(msg), &stats, &err) &&
		   stats.drops[SLUICE_REASON_COUNT - 1] == SLUICE_REASON_COUNT - 1 &&
		   stats.drops_unknown == 2 * SLUICE_REASON_COUNT + 1,
	   "counters of reasons that are not known are summed");
	nlmsg_free(msg);
}

/* Any bytes in a nest: the parsers end, and stay inside (the address sanitizer watches). */
static void test_noise(void)
{
	for (int round = 0; round < 20 * ROUNDS; round++) {
		size_t len = tap_below(200);
		struct nlattr *nest = malloc(NLA_HDRLEN + len);
		unsigned char *at = nla_data(nest);
		union {
			struct sluice_nl_info info;
			struct sluice_nl_service service;
			struct sluice_nl_peer peer;
			struct sluice_nl_rule rule;
			struct sluice_nl_ruleset ruleset;
			struct sluice_nl_endpoint endpoint;
			struct sluice_nl_uplink uplink;
			struct sluice_nl_conn conn;
			struct sluice_nl_stats stats;
			struct sluice_nl_trace trace;
			struct sluice_nl_event event;
		} out;
		char text[SLUICE_NL_OBJECT_TEXT];

		nest->nla_len = (uint16_t)(NLA_HDRLEN + len);
		nest->nla_type = (uint16_t)(1 + tap_below(SLUICE_A_MAX));
		for (size_t i = 0; i < len; i++)
			at[i] = (unsigned char)(tap_one_in(3) ? tap_random() : tap_below(24));
		sluice_nl_parse_info(nest, &out.info, NULL);
		if (!sluice_nl_parse_service(nest, &out.service, NULL))
			for (uint32_t i = 0; i < out.service.n_backends; i++)
				sluice_nl_backend(&out.service, i);
		sluice_nl_parse_peer(nest, &out.peer, NULL);
		sluice_nl_parse_rule(nest, &out.rule, NULL);
		if (!sluice_nl_parse_ruleset(nest, &out.ruleset, NULL))
			for (uint32_t i = 0; i < out.ruleset.n_rule_ids; i++)
				sluice_nl_rule_id(&out.ruleset, i);
		sluice_nl_parse_endpoint(nest, &out.endpoint, NULL);
		sluice_nl_parse_uplink(nest, &out.uplink, NULL);
		sluice_nl_parse_conn(nest, &out.conn, NULL);
		sluice_nl_parse_stats(nest, &out.stats, NULL);
		sluice_nl_parse_trace(nest, &out.trace, NULL);
		sluice_nl_parse_event(nest, &out.event, NULL);
		sluice_nl_object_text(nest, text);
		check(true, "lives");
		free(nest);
	}
	ok_checks("noise is refused or read, and never more than is there");
}

/* An ack as the kernel builds it. */
static struct nl_msg *ack(int error, uint32_t offset, const char *text)
{
	struct nl_msg *msg = nlmsg_alloc();
	struct nlmsghdr *hdr = nlmsg_put(msg, 1, 2, NLMSG_ERROR, sizeof(struct nlmsgerr),
					 NLM_F_CAPPED | (text || offset ? NLM_F_ACK_TLVS : 0));
	struct nlmsgerr *e = nlmsg_data(hdr);

	e->error = error;
	if (text)
		nla_put_string(msg, NLMSGERR_ATTR_MSG, text);
	if (offset)
		nla_put_u32(msg, NLMSGERR_ATTR_OFFS, offset);
	return msg;
}

static void test_errors(void)
{
	struct sluice_dp_rule rule = { .id = 5, .policy = "shop/web", .rule = "ingress[0]" };
	struct sluice_dp_service service = {
		.family = SLUICE_IPV4, .port = 80, .proto = 6, .name = "shop/api:80"
	};
	struct nl_msg *request = new_message(1024), *answer;
	struct nlattr *nest, *port;
	SLUICE_ERR(err);

	sluice_nl_put_rule(request, &rule, false);
	nest = nlmsg_tail(nlmsg_hdr(request));
	sluice_nl_put_service(request, &service, false);
	port = nla_find(nla_data(nest), nla_len(nest), SLUICE_SERVICE_A_PORT);

	answer = ack(0, 0, NULL);
	ok(!sluice_nl_error(nlmsg_hdr(request), nlmsg_hdr(answer), &err), "an ack is no error");
	nlmsg_free(answer);

	answer =
		ack(-EINVAL, (uint32_t)((char *)port - (char *)nlmsg_hdr(request)), "no such port");
	ok(sluice_nl_error(nlmsg_hdr(request), nlmsg_hdr(answer), &err) == -EINVAL, "its errno");
	is_str(sluice_err_msg(&err),
	       "service shop/api:80: attribute SERVICE.PORT: no such port (Invalid argument)",
	       "object, attribute and reason are named");
	nlmsg_free(answer);

	answer = ack(-EINVAL, (uint32_t)((char *)nest - (char *)nlmsg_hdr(request)), "bad");
	sluice_nl_error(nlmsg_hdr(request), nlmsg_hdr(answer), &err);
	is_str(sluice_err_msg(&err),
	       "service shop/api:80: attribute SERVICE: bad (Invalid argument)",
	       "also where the nest itself is meant");
	nlmsg_free(answer);

	answer = ack(-EBUSY, 1 << 20, "busy");
	sluice_nl_error(nlmsg_hdr(request), nlmsg_hdr(answer), &err);
	is_str(sluice_err_msg(&err), "busy (Device or resource busy)",
	       "an offset outside of the request names nothing");
	nlmsg_free(answer);

	answer = ack(-EPERM, 0, NULL);
	sluice_nl_error(nlmsg_hdr(request), nlmsg_hdr(answer), &err);
	ok(strstr(sluice_err_msg(&err), "CAP_NET_ADMIN"), "a missing right is named");
	nlmsg_free(answer);
	nlmsg_free(request);
}

int main(void)
{
	tap_seed();
	test_services();
	test_most_backends();
	test_peers_and_rules();
	test_endpoints();
	test_conns();
	test_filters();
	test_rulesets();
	test_answers();
	test_numbers();
	test_refusals();
	test_matches();
	test_bad_answers();
	test_noise();
	test_errors();
	return done_testing();
}
