// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluicectl/conn.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ctl/lib/address.h"

#define HAS SLUICE_NL_HAS

static const char *const directions[2] = { "original", "reply" };

/* X(flag, word) */
#define FLAGS(X)                                      \
	X(SLUICE_CONN_SERVICE, "service")             \
	X(SLUICE_CONN_DENIED, "denied")               \
	X(SLUICE_CONN_NODE, "node")                   \
	X(SLUICE_CONN_PORT_REMAPPED, "port-remapped") \
	X(SLUICE_CONN_VIA_STACK, "via-stack")

static const struct {
	uint32_t flag;
	const char *word;
} flags[] = {
#define X(flag, word) { flag, word },
	FLAGS(X)
#undef X
};

#define N_FLAGS (sizeof(flags) / sizeof(flags[0]))

/* "TCP"; a number for a protocol without a name. */
static const char *protocol_text(uint8_t proto, char buf[8])
{
	const char *name = sluice_protocol_name(proto);

	if (*name != '?')
		return name;
	snprintf(buf, 8, "%u", proto);
	return buf;
}

static bool parse_number(const char *text, unsigned long max, unsigned long *value)
{
	char *end;

	errno = 0;
	*value = strtoul(text, &end, 10);
	return !errno && end != text && !*end && *text != '-' && *value <= max;
}

static bool parse_protocol(const char *text, uint8_t *proto)
{
	static const uint8_t named[] = { SLUICE_PROTO_TCP, SLUICE_PROTO_UDP, SLUICE_PROTO_SCTP,
					 SLUICE_PROTO_ICMP, SLUICE_PROTO_ICMPV6 };
	unsigned long value;

	for (size_t i = 0; i < sizeof(named); i++) {
		if (!strcasecmp(text, sluice_protocol_name(named[i]))) {
			*proto = named[i];
			return true;
		}
	}
	if (!parse_number(text, 255, &value))
		return false;
	*proto = value;
	return true;
}

/* The number of a name; -1: there is none. */
static int find_name(const char *(*name)(__u32), unsigned int count, const char *text)
{
	for (unsigned int i = 0; i < count; i++)
		if (!strcmp(name(i), text))
			return (int)i;
	return -1;
}

__attribute__((format(printf, 2, 3))) static int bad_option(struct sluice_err *err, const char *fmt,
							    ...)
{
	va_list ap;

	va_start(ap, fmt);
	sluice_err_vset(err, EINVAL, fmt, ap);
	va_end(ap);
	return USAGE;
}

static int filter_address(const struct invocation *inv, const char *option,
			  struct sluice_nl_tuple *t, struct sluice_addr *addr, int attr,
			  struct sluice_err *err)
{
	const char *text = option_value(inv, option);
	struct sluice_dp_addr parsed;

	if (!text)
		return 0;
	if (!sluice_address_parse(text, &parsed))
		return bad_option(err, "--%s %s: not an address", option, text);
	if (t->t.family && t->t.family != parsed.family)
		return bad_option(err, "--src and --dst are of two families");
	t->t.family = parsed.family;
	*addr = parsed.addr;
	t->has |= HAS(attr);
	return 0;
}

static int filter_port(const struct invocation *inv, const char *option, struct sluice_nl_tuple *t,
		       __be16 *port, int attr, struct sluice_err *err)
{
	const char *text = option_value(inv, option);
	unsigned long value;

	if (!text)
		return 0;
	if (!parse_number(text, 65535, &value))
		return bad_option(err, "--%s %s: not a port", option, text);
	*port = htons(value);
	t->has |= HAS(attr);
	return 0;
}

int conn_filter(const struct invocation *inv, struct sluice_nl_conn *filter, struct sluice_err *err)
{
	struct sluice_nl_tuple *t = &filter->original;
	const char *text;
	int ret, value;

	*filter = (struct sluice_nl_conn){ 0 };
	ret = filter_address(inv, "src", t, &t->t.src, SLUICE_TUPLE_A_SRC, err);
	if (!ret)
		ret = filter_address(inv, "dst", t, &t->t.dst, SLUICE_TUPLE_A_DST, err);
	if (!ret)
		ret = filter_port(inv, "sport", t, &t->t.sport, SLUICE_TUPLE_A_SPORT, err);
	if (!ret)
		ret = filter_port(inv, "port", t, &t->t.dport, SLUICE_TUPLE_A_DPORT, err);
	if (ret)
		return ret;
	text = option_value(inv, "proto");
	if (text) {
		if (!parse_protocol(text, &t->t.proto))
			return bad_option(err, "--proto %s: not a protocol", text);
		t->has |= HAS(SLUICE_TUPLE_A_PROTO);
	}
	if (t->has)
		filter->has |= HAS(SLUICE_CONN_A_ORIGINAL);
	text = option_value(inv, "state");
	if (text) {
		value = find_name(sluice_state_name, SLUICE_STATE_COUNT, text);
		if (value < 0)
			return bad_option(err, "--state %s: not one of %s", text, CONN_STATES);
		filter->state = value;
		filter->has |= HAS(SLUICE_CONN_A_STATE);
	}
	text = option_value(inv, "verdict");
	if (text) {
		value = find_name(sluice_verdict_name, SLUICE_VERDICT_COUNT, text);
		if (value < 0)
			return bad_option(err, "--verdict %s: not a verdict", text);
		filter->verdict = value;
		filter->has |= HAS(SLUICE_CONN_A_VERDICT);
	}
	return 0;
}

static void print_rule(FILE *out, const char *key, uint32_t id, const struct rule_names *names)
{
	char text[SLUICE_NAME_LEN * 2];

	if (id)
		fprintf(out, " %s=\"%s\"", key, rule_names_text(names, id, text, sizeof(text)));
}

void conn_print(FILE *out, const struct sluice_nl_conn *conn, const struct rule_names *names)
{
	const struct sluice_tuple *tuples[2] = { &conn->original.t, &conn->reply.t };
	char src[SLUICE_ADDR_TEXT], dst[SLUICE_ADDR_TEXT], proto[8];

	fprintf(out, "%-6s %-11s %6u", protocol_text(conn->original.t.proto, proto),
		sluice_state_name(conn->state), conn->timeout);
	for (int dir = 0; dir < 2; dir++) {
		const struct sluice_tuple *t = tuples[dir];

		if (!t->family)
			continue;
		fprintf(out, " src=%s dst=%s sport=%u dport=%u packets=%llu bytes=%llu",
			sluice_address_format(&t->src, t->family, src),
			sluice_address_format(&t->dst, t->family, dst), ntohs(t->sport),
			ntohs(t->dport), (unsigned long long)conn->packets[dir],
			(unsigned long long)conn->bytes[dir]);
	}
	for (size_t i = 0; i < N_FLAGS; i++)
		if (conn->flags & flags[i].flag)
			fprintf(out, " [%s]", flags[i].word);
	fprintf(out, " verdict=%s reason=%s", sluice_verdict_name(conn->verdict),
		sluice_reason_name(conn->reason));
	print_rule(out, "egress", conn->rule[0], names);
	print_rule(out, "ingress", conn->rule[1], names);
	if (conn->staged_verdict != conn->verdict && conn->staged_verdict) {
		fprintf(out, " staged=%s", sluice_verdict_name(conn->staged_verdict));
		print_rule(out, "staged-egress", conn->staged_rule[0], names);
		print_rule(out, "staged-ingress", conn->staged_rule[1], names);
	}
}

/* JSON ************************************************************************************/

static json_t *tuple_json(const struct sluice_nl_tuple *o)
{
	char src[SLUICE_ADDR_TEXT], dst[SLUICE_ADDR_TEXT];

	if (!o->t.family)
		return json_null();
	return json_pack("{s:s, s:s, s:i, s:i}", "src",
			 sluice_address_format(&o->t.src, o->t.family, src), "dst",
			 sluice_address_format(&o->t.dst, o->t.family, dst), "sport",
			 ntohs(o->t.sport), "dport", ntohs(o->t.dport));
}

static json_t *tcp_json(const struct sluice_nl_conn *conn)
{
	json_t *list;

	if (!(conn->has & HAS(SLUICE_CONN_A_TCP)) || conn->original.t.proto != SLUICE_PROTO_TCP)
		return json_null();
	list = json_array();
	for (int side = 0; side < 2; side++) {
		const struct sluice_tcp_dir *d = &conn->tcp[side];

		json_array_append_new(list, json_pack("{s:I, s:I, s:i, s:i, s:i}", "end",
						      (json_int_t)d->end, "ack", (json_int_t)d->ack,
						      "win", d->win, "wscale", d->wscale, "flags",
						      d->flags));
	}
	return list;
}

json_t *conn_json(const struct sluice_nl_conn *conn, const struct rule_names *names)
{
	json_t *words = json_array();
	char proto[8];

	for (size_t i = 0; i < N_FLAGS; i++)
		if (conn->flags & flags[i].flag)
			json_array_append_new(words, json_string(flags[i].word));
	return json_pack("{s:s, s:o, s:o, s:s, s:o, s:I, s:I, s:s, s:s, s:o, s:o, s:s, s:o, s:o, "
			 "s:{s:I, s:I}, s:{s:I, s:I}, s:o}",
			 "protocol", protocol_text(conn->original.t.proto, proto), "original",
			 tuple_json(&conn->original), "reply", tuple_json(&conn->reply), "state",
			 sluice_state_name(conn->state), "flags", words, "timeout",
			 (json_int_t)conn->timeout, "age", (json_int_t)conn->age, "verdict",
			 sluice_verdict_name(conn->verdict), "reason",
			 sluice_reason_name(conn->reason), "egress",
			 rule_names_json(names, conn->rule[0]), "ingress",
			 rule_names_json(names, conn->rule[1]), "stagedVerdict",
			 sluice_verdict_name(conn->staged_verdict), "stagedEgress",
			 rule_names_json(names, conn->staged_rule[0]), "stagedIngress",
			 rule_names_json(names, conn->staged_rule[1]), "packets", "original",
			 (json_int_t)conn->packets[0], "reply", (json_int_t)conn->packets[1],
			 "bytes", "original", (json_int_t)conn->bytes[0], "reply",
			 (json_int_t)conn->bytes[1], "tcp", tcp_json(conn));
}

static int bad_field(struct sluice_err *err, const char *field)
{
	return sluice_err_set(err, EINVAL, "field \"%s\" is missing or malformed", field);
}

/* A whole number from 0 to max; negative when it is not. */
static json_int_t number_at(const json_t *json, const char *field, json_int_t max)
{
	const json_t *value = json_object_get(json, field);
	json_int_t number = json_integer_value(value);

	return json_is_integer(value) && number >= 0 && number <= max ? number : -1;
}

static bool tuple_from_json(const json_t *json, uint8_t proto, struct sluice_nl_tuple *o)
{
	const char *src = json_string_value(json_object_get(json, "src"));
	const char *dst = json_string_value(json_object_get(json, "dst"));
	json_int_t sport = number_at(json, "sport", 65535), dport = number_at(json, "dport", 65535);
	struct sluice_dp_addr from, to;

	if (!src || !dst || !sluice_address_parse(src, &from) || !sluice_address_parse(dst, &to) ||
	    from.family != to.family || sport < 0 || dport < 0)
		return false;
	*o = (struct sluice_nl_tuple){ .has = ~0U };
	o->t.src = from.addr;
	o->t.dst = to.addr;
	o->t.sport = htons(sport);
	o->t.dport = htons(dport);
	o->t.proto = proto;
	o->t.family = from.family;
	return true;
}

static int name_at(const json_t *json, const char *field, const char *(*name)(__u32),
		   unsigned int count)
{
	const char *text = json_string_value(json_object_get(json, field));

	return text ? find_name(name, count, text) : -1;
}

/* The id that a rule's name has now; 0 when there is no such rule any more. */
static uint32_t rule_at(const json_t *json, const char *field, const struct rule_names *names)
{
	const json_t *value = json_object_get(json, field);
	const char *policy = json_string_value(json_object_get(value, "policy"));
	const char *rule = json_string_value(json_object_get(value, "rule"));

	return policy && rule ? rule_names_id(names, policy, rule) : 0;
}

static bool tcp_from_json(const json_t *json, struct sluice_tcp_dir tcp[2])
{
	if (json_array_size(json) != 2)
		return false;
	for (int side = 0; side < 2; side++) {
		const json_t *d = json_array_get(json, side);
		json_int_t end = number_at(d, "end", UINT32_MAX),
			   ack = number_at(d, "ack", UINT32_MAX);
		json_int_t win = number_at(d, "win", UINT16_MAX);
		json_int_t wscale = number_at(d, "wscale", UINT8_MAX);
		json_int_t bits = number_at(d, "flags", UINT8_MAX);

		if (end < 0 || ack < 0 || win < 0 || wscale < 0 || bits < 0)
			return false;
		tcp[side] = (struct sluice_tcp_dir){ end, ack, win, wscale, bits };
	}
	return true;
}

int conn_from_json(const json_t *json, const struct rule_names *names, struct sluice_nl_conn *conn,
		   struct sluice_err *err)
{
	const char *text = json_string_value(json_object_get(json, "protocol"));
	const json_t *words = json_object_get(json, "flags"), *tcp, *word;
	json_int_t number;
	uint8_t proto;
	size_t i, j;
	int value;

	*conn = (struct sluice_nl_conn){ 0 };
	if (!text || !parse_protocol(text, &proto))
		return bad_field(err, "protocol");
	if (!tuple_from_json(json_object_get(json, "original"), proto, &conn->original))
		return bad_field(err, "original");
	if (!tuple_from_json(json_object_get(json, "reply"), proto, &conn->reply) ||
	    conn->reply.t.family != conn->original.t.family)
		return bad_field(err, "reply");
	value = name_at(json, "state", sluice_state_name, SLUICE_STATE_COUNT);
	if (value < 0)
		return bad_field(err, "state");
	conn->state = value;
	json_array_foreach((json_t *)words, i, word) {
		for (j = 0; j < N_FLAGS; j++)
			if (json_is_string(word) && !strcmp(flags[j].word, json_string_value(word)))
				break;
		if (j == N_FLAGS)
			return bad_field(err, "flags");
		conn->flags |= flags[j].flag;
	}
	number = number_at(json, "timeout", UINT32_MAX);
	if (number < 0)
		return bad_field(err, "timeout");
	conn->timeout = number;
	number = number_at(json, "age", UINT32_MAX);
	conn->age = number < 0 ? 0 : number;
	value = name_at(json, "verdict", sluice_verdict_name, SLUICE_VERDICT_COUNT);
	if (value < 0)
		return bad_field(err, "verdict");
	conn->verdict = value;
	value = name_at(json, "reason", sluice_reason_name, SLUICE_REASON_COUNT);
	if (value < 0)
		return bad_field(err, "reason");
	conn->reason = value;
	value = name_at(json, "stagedVerdict", sluice_verdict_name, SLUICE_VERDICT_COUNT);
	conn->staged_verdict = value < 0 ? conn->verdict : value;
	conn->rule[0] = rule_at(json, "egress", names);
	conn->rule[1] = rule_at(json, "ingress", names);
	conn->staged_rule[0] = rule_at(json, "stagedEgress", names);
	conn->staged_rule[1] = rule_at(json, "stagedIngress", names);
	for (int dir = 0; dir < 2; dir++) {
		number = number_at(json_object_get(json, "packets"), directions[dir], INT64_MAX);
		conn->packets[dir] = number < 0 ? 0 : number;
		number = number_at(json_object_get(json, "bytes"), directions[dir], INT64_MAX);
		conn->bytes[dir] = number < 0 ? 0 : number;
	}
	conn->has = ~0U & ~HAS(SLUICE_CONN_A_TCP);
	tcp = json_object_get(json, "tcp");
	if (tcp && !json_is_null(tcp)) {
		if (!tcp_from_json(tcp, conn->tcp))
			return bad_field(err, "tcp");
		conn->has |= HAS(SLUICE_CONN_A_TCP);
	}
	return 0;
}
