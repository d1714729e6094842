// SPDX-License-Identifier: GPL-2.0-only
/*
 * What userspace reads of the kernel's netlink messages: the nested attribute of each object, and
 * errors with their extended acks. The kernel is trusted, its version is not; and a parser that reads
 * outside its attribute reads the next object's.
 *
 * The first byte picks the parser, the rest is what stands in the attribute. Whatever the parser
 * accepts is then used to the last byte, and for connections put into a message and parsed again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/nl.h"
#include "ctl/lib/nl_object.h"

static volatile size_t sink;

static void expect(bool good)
{
	if (!good)
		abort();
}

static void use_text(const char *text)
{
	expect(text != NULL);
	sink += strlen(text);
}

static struct nlattr *wrap(const uint8_t *data, size_t size)
{
	struct nlattr *nest;

	if (size > 65000)
		return NULL;
	nest = malloc(NLA_HDRLEN + size);
	nest->nla_len = (uint16_t)(NLA_HDRLEN + size);
	nest->nla_type = 1;
	memcpy((char *)nest + NLA_HDRLEN, data, size);
	return nest;
}

static bool again(const struct sluice_nl_conn *in, struct sluice_nl_conn *out)
{
	struct nl_msg *msg = nlmsg_alloc_size(16384);
	struct nlattr *attr;
	bool parsed = false;

	nlmsg_put(msg, 0, 0, 16, 4, 0);
	if (sluice_nl_put_conn(msg, in)) {
		/* libnl leaves a nest out that holds nothing. */
		attr = nlmsg_find_attr(nlmsg_hdr(msg), 4, SLUICE_A_CONN);
		memset(out, 0, sizeof(*out));
		parsed = attr && !sluice_nl_parse_conn(attr, out, NULL);
	}
	nlmsg_free(msg);
	return parsed;
}

static void use_conn(const struct sluice_nl_conn *c)
{
	struct sluice_nl_conn second, third;

	expect(c->original.t.family == 0 || c->original.t.family == SLUICE_IPV4 ||
	       c->original.t.family == SLUICE_IPV6);
	if (again(c, &second) && again(&second, &third))
		expect(!memcmp(&second, &third, sizeof(second)));
}

static int parse(unsigned int which, struct nlattr *nest, struct sluice_err *err)
{
	union {
		struct sluice_nl_info info;
		struct sluice_nl_service service;
		struct sluice_nl_peer peer;
		struct sluice_nl_rule rule;
		struct sluice_nl_ruleset ruleset;
		struct sluice_nl_endpoint endpoint;
		struct sluice_nl_uplink uplink;
		struct sluice_nl_tuple tuple;
		struct sluice_nl_conn conn;
		struct sluice_nl_stats stats;
		struct sluice_nl_trace trace;
		struct sluice_nl_event event;
	} o;
	char text[SLUICE_NL_OBJECT_TEXT];
	uint32_t i;
	int ret;

	memset(&o, 0, sizeof(o));
	switch (which) {
	case 0:
		ret = sluice_nl_parse_info(nest, &o.info, err);
		if (!ret)
			use_text(o.info.version);
		return ret;
	case 1:
		ret = sluice_nl_parse_service(nest, &o.service, err);
		if (ret)
			return ret;
		use_text(o.service.name);
		for (i = 0; i < o.service.n_backends; i++)
			sink += sluice_nl_backend(&o.service, i).port;
		return 0;
	case 2:
		ret = sluice_nl_parse_peer(nest, &o.peer, err);
		if (!ret)
			use_text(o.peer.name);
		return ret;
	case 3:
		ret = sluice_nl_parse_rule(nest, &o.rule, err);
		if (ret)
			return ret;
		use_text(o.rule.policy);
		use_text(o.rule.rule);
		return 0;
	case 4:
		ret = sluice_nl_parse_ruleset(nest, &o.ruleset, err);
		for (i = 0; !ret && i < o.ruleset.n_rule_ids; i++)
			sink += sluice_nl_rule_id(&o.ruleset, i);
		return ret;
	case 5:
		ret = sluice_nl_parse_endpoint(nest, &o.endpoint, err);
		if (ret)
			return ret;
		use_text(o.endpoint.ifname);
		use_text(o.endpoint.name);
		use_text(o.endpoint.container);
		expect(o.endpoint.n_addrs <= SLUICE_MAX_ENDPOINT_ADDRS);
		return 0;
	case 6:
		ret = sluice_nl_parse_uplink(nest, &o.uplink, err);
		if (!ret)
			use_text(o.uplink.ifname);
		return ret;
	case 7:
		return sluice_nl_parse_tuple(nest, &o.tuple, err);
	case 8:
		ret = sluice_nl_parse_conn(nest, &o.conn, err);
		if (!ret)
			use_conn(&o.conn);
		return ret;
	case 9:
		return sluice_nl_parse_stats(nest, &o.stats, err);
	case 10:
		ret = sluice_nl_parse_trace(nest, &o.trace, err);
		if (!ret && o.trace.service)
			use_text(o.trace.service);
		return ret;
	case 11:
		ret = sluice_nl_parse_event(nest, &o.event, err);
		if (!ret)
			use_conn(&o.event.conn);
		return ret;
	}
	nest->nla_type = which % (SLUICE_A_MAX + 2);
	if (sluice_nl_object_text(nest, text))
		use_text(text);
	return 0;
}

/* The request and the kernel's answer to it, each a message as long as it says. */
static int parse_error(const uint8_t *data, size_t size, struct sluice_err *err)
{
	size_t split = size ? data[0] % size : 0;
	struct nlmsghdr *request = calloc(1, NLMSG_HDRLEN + split);
	struct nlmsghdr *answer = calloc(1, NLMSG_HDRLEN + size - split);
	int ret;

	memcpy(NLMSG_DATA(request), data, split);
	memcpy(NLMSG_DATA(answer), data + split, size - split);
	request->nlmsg_len = (uint32_t)(NLMSG_HDRLEN + split);
	request->nlmsg_type = 30;
	answer->nlmsg_len = (uint32_t)(NLMSG_HDRLEN + size - split);
	answer->nlmsg_type = size & 1 ? NLMSG_ERROR : NLMSG_DONE;
	answer->nlmsg_flags = NLM_F_ACK_TLVS | (size & 2 ? NLM_F_CAPPED : 0);
	ret = sluice_nl_error(request, answer, err);
	free(request);
	free(answer);
	return ret;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SLUICE_ERR(err);
	int ret = 0;

	if (!size)
		return 0;
	if (data[0] >= 200) {
		ret = parse_error(data + 1, size - 1, &err);
	} else {
		struct nlattr *nest = wrap(data + 1, size - 1);

		if (!nest)
			return 0;
		ret = parse(data[0] % 32, nest, &err);
		free(nest);
	}
	/* An error has words, success has none. */
	expect(ret <= 0);
	expect((ret < 0) == sluice_err_is_set(&err));
	if (ret < 0)
		expect(*sluice_err_msg(&err) != '\0');
	return 0;
}
