// SPDX-License-Identifier: GPL-2.0-only
#include <linux/module.h>
#include <linux/rtnetlink.h>

#include "conn.h"
#include "device.h"
#include "endpoint.h"
#include "net.h"
#include "netlink.h"
#include "netlink_conn.h"
#include "peer.h"
#include "rule.h"
#include "ruleset.h"
#include "service.h"
#include "transaction.h"

#define NAME { .type = NLA_NUL_STRING, .len = SLUICE_NAME_LEN - 1 }
#define ADDR NLA_POLICY_RANGE(NLA_BINARY, 4, 16)

static const struct nla_policy service_policy[SLUICE_SERVICE_A_MAX + 1] = {
	[SLUICE_SERVICE_A_ADDR] = ADDR,
	[SLUICE_SERVICE_A_PORT] = { .type = NLA_U16 },
	[SLUICE_SERVICE_A_PROTO] = { .type = NLA_U8 },
	[SLUICE_SERVICE_A_NAME] = NAME,
	[SLUICE_SERVICE_A_FLAGS] = NLA_POLICY_MAX(NLA_U32, 0),
	[SLUICE_SERVICE_A_BACKENDS] = { .type = NLA_BINARY },
};

static const struct nla_policy peer_policy[SLUICE_PEER_A_MAX + 1] = {
	[SLUICE_PEER_A_ADDR] = ADDR,
	[SLUICE_PEER_A_PLEN] = NLA_POLICY_MAX(NLA_U8, 128),
	[SLUICE_PEER_A_CLASS] = { .type = NLA_U32 },
	[SLUICE_PEER_A_NAME] = NAME,
};

static const struct nla_policy rule_policy[SLUICE_RULE_A_MAX + 1] = {
	[SLUICE_RULE_A_ID] = NLA_POLICY_MIN(NLA_U32, 1),
	[SLUICE_RULE_A_POLICY] = NAME,
	[SLUICE_RULE_A_RULE] = NAME,
};

static const struct nla_policy ruleset_policy[SLUICE_RULESET_A_MAX + 1] = {
	[SLUICE_RULESET_A_ID] = NLA_POLICY_MIN(NLA_U32, 1),
	[SLUICE_RULESET_A_SIZE] = { .type = NLA_U32 },
	[SLUICE_RULESET_A_OFFSET] = { .type = NLA_U32 },
	[SLUICE_RULESET_A_DATA] = { .type = NLA_BINARY },
};

static const struct nla_policy endpoint_policy[SLUICE_ENDPOINT_A_MAX + 1] = {
	[SLUICE_ENDPOINT_A_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
	[SLUICE_ENDPOINT_A_NAME] = NAME,
	[SLUICE_ENDPOINT_A_CONTAINER] = NAME,
	[SLUICE_ENDPOINT_A_ADDR] = ADDR,
	[SLUICE_ENDPOINT_A_INGRESS] = { .type = NLA_U32 },
	[SLUICE_ENDPOINT_A_EGRESS] = { .type = NLA_U32 },
	[SLUICE_ENDPOINT_A_FLAGS] = NLA_POLICY_MASK(NLA_U32, SLUICE_ENDPOINT_OPEN),
};

static const struct nla_policy uplink_policy[SLUICE_UPLINK_A_MAX + 1] = {
	[SLUICE_UPLINK_A_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
};

/* UPDATE and DELETE. */
static const struct nla_policy objects_policy[SLUICE_A_MAX + 1] = {
	[SLUICE_A_SERVICE] = NLA_POLICY_NESTED(service_policy),
	[SLUICE_A_PEER] = NLA_POLICY_NESTED(peer_policy),
	[SLUICE_A_RULE] = NLA_POLICY_NESTED(rule_policy),
	[SLUICE_A_RULESET] = NLA_POLICY_NESTED(ruleset_policy),
	[SLUICE_A_ENDPOINT] = NLA_POLICY_NESTED(endpoint_policy),
	[SLUICE_A_UPLINK] = NLA_POLICY_NESTED(uplink_policy),
};

static const struct nla_policy commit_policy[SLUICE_A_FLAGS + 1] = {
	[SLUICE_A_FLAGS] = NLA_POLICY_MASK(NLA_U32, SLUICE_COMMIT_SWEEP),
};

static const struct nla_policy conn_policy[SLUICE_A_CONN + 1] = {
	[SLUICE_A_CONN] = NLA_POLICY_NESTED(sluice_conn_policy),
};

static const struct nla_policy config_nest_policy[SLUICE_CONFIG_A_MAX + 1] = {
	[SLUICE_CONFIG_A_CONN_BUDGET] = { .type = NLA_U64 },
};

static const struct nla_policy config_policy[SLUICE_A_CONFIG + 1] = {
	[SLUICE_A_CONFIG] = NLA_POLICY_NESTED(config_nest_policy),
};

static const struct nla_policy trace_policy[SLUICE_A_TRACE + 1] = {
	[SLUICE_A_TRACE] = NLA_POLICY_NESTED(sluice_trace_policy),
};

/* A command without attributes. */
static const struct nla_policy no_policy[] = {
	[0] = { .type = NLA_REJECT },
	[1] = { .type = NLA_REJECT },
};

static struct sk_buff *reply_new(struct genl_info *info, size_t size, void **hdr)
{
	struct sk_buff *skb = genlmsg_new(size, GFP_KERNEL);

	if (!skb)
		return NULL;
	*hdr = genlmsg_put_reply(skb, info, &sluice_genl_family, 0, info->genlhdr->cmd);
	if (!*hdr) {
		nlmsg_free(skb);
		return NULL;
	}
	return skb;
}

int sluice_reply_u32(struct genl_info *info, int type, u32 value)
{
	void *hdr;
	struct sk_buff *skb = reply_new(info, nla_total_size(sizeof(value)), &hdr);

	if (!skb)
		return -ENOMEM;
	if (nla_put_u32(skb, type, value)) {
		nlmsg_free(skb);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, hdr);
	return genlmsg_reply(skb, info);
}

/* Is an attribute missing? The ack then says so in words, and names it by number, too. */
#define lacks(extack, nest, tb, type)                 \
	(NL_REQ_ATTR_CHECK(extack, nest, tb, type) && \
	 sluice_refuse(extack, nest, #type " is missing", -EINVAL))

static void get_string(const struct nlattr *attr, const char **s, u32 *len)
{
	*s = attr ? nla_data(attr) : "";
	*len = attr ? strnlen(nla_data(attr), nla_len(attr)) : 0;
}

static u32 get_u32_or_0(const struct nlattr *attr)
{
	return attr ? nla_get_u32(attr) : 0;
}

static int get_service_key(struct nlattr *nest, struct nlattr **tb, struct sluice_service_key *key,
			   struct netlink_ext_ack *extack)
{
	int err;

	if (lacks(extack, nest, tb, SLUICE_SERVICE_A_ADDR) ||
	    lacks(extack, nest, tb, SLUICE_SERVICE_A_PORT) ||
	    lacks(extack, nest, tb, SLUICE_SERVICE_A_PROTO))
		return -EINVAL;
	err = sluice_get_addr(tb[SLUICE_SERVICE_A_ADDR], &key->addr, &key->family, extack);
	if (err)
		return err;
	key->port = nla_get_be16(tb[SLUICE_SERVICE_A_PORT]);
	if (!key->port)
		return sluice_refuse(extack, tb[SLUICE_SERVICE_A_PORT], "a service has no port 0",
				     -EINVAL);
	key->proto = nla_get_u8(tb[SLUICE_SERVICE_A_PROTO]);
	if (key->proto != SLUICE_PROTO_TCP && key->proto != SLUICE_PROTO_UDP &&
	    key->proto != SLUICE_PROTO_SCTP)
		return sluice_refuse(extack, tb[SLUICE_SERVICE_A_PROTO],
				     "a service is TCP, UDP or SCTP", -EPROTONOSUPPORT);
	return 0;
}

static int change_service(struct sluice_net *sn, struct nlattr *nest, bool set,
			  struct netlink_ext_ack *extack)
{
	struct nlattr *tb[SLUICE_SERVICE_A_MAX + 1], *backends;
	struct sluice_service_args a = {};
	const char *why = NULL;
	u32 size;
	int err;

	err = nla_parse_nested(tb, SLUICE_SERVICE_A_MAX, nest, service_policy, extack);
	if (err)
		return err;
	err = get_service_key(nest, tb, &a.key, extack);
	if (err)
		return err;
	if (!set)
		return sluice_service_del(sn, &a.key);
	if (lacks(extack, nest, tb, SLUICE_SERVICE_A_NAME))
		return -EINVAL;
	get_string(tb[SLUICE_SERVICE_A_NAME], &a.name, &a.name_len);
	a.flags = get_u32_or_0(tb[SLUICE_SERVICE_A_FLAGS]);
	backends = tb[SLUICE_SERVICE_A_BACKENDS];
	if (backends) {
		size = a.key.family == SLUICE_IPV4 ? sizeof(struct sluice_backend4) :
						     sizeof(struct sluice_backend6);
		if (nla_len(backends) % size)
			return sluice_refuse(extack, backends,
					     "not a whole number of backends of this family",
					     -EINVAL);
		a.n_backends = nla_len(backends) / size;
		a.backends = nla_data(backends);
	}
	err = sluice_service_set(sn, &a, &why);
	return why ? sluice_refuse(extack, backends ?: nest, why, err) : err;
}

static int change_peer(struct sluice_net *sn, struct nlattr *nest, bool set,
		       struct netlink_ext_ack *extack)
{
	struct nlattr *tb[SLUICE_PEER_A_MAX + 1];
	struct sluice_peer_args a = {};
	struct sluice_addr masked;
	int err;

	err = nla_parse_nested(tb, SLUICE_PEER_A_MAX, nest, peer_policy, extack);
	if (err)
		return err;
	if (lacks(extack, nest, tb, SLUICE_PEER_A_ADDR) ||
	    lacks(extack, nest, tb, SLUICE_PEER_A_PLEN))
		return -EINVAL;
	err = sluice_get_addr(tb[SLUICE_PEER_A_ADDR], &a.addr, &a.family, extack);
	if (err)
		return err;
	a.plen = nla_get_u8(tb[SLUICE_PEER_A_PLEN]);
	if (a.plen > sluice_family_bits(a.family))
		return sluice_refuse(extack, tb[SLUICE_PEER_A_PLEN],
				     "a prefix longer than its address", -EINVAL);
	masked = a.addr;
	sluice_addr_mask(&masked, a.plen);
	if (!sluice_addr_equal(&masked, &a.addr))
		return sluice_refuse(extack, tb[SLUICE_PEER_A_ADDR],
				     "the address has bits behind its prefix", -EINVAL);
	if (!set)
		return sluice_peer_del(sn, &a);
	if (lacks(extack, nest, tb, SLUICE_PEER_A_CLASS))
		return -EINVAL;
	a.class = nla_get_u32(tb[SLUICE_PEER_A_CLASS]);
	get_string(tb[SLUICE_PEER_A_NAME], &a.name, &a.name_len);
	return sluice_peer_set(sn, &a);
}

static int change_rule(struct sluice_net *sn, struct nlattr *nest, bool set,
		       struct netlink_ext_ack *extack)
{
	struct nlattr *tb[SLUICE_RULE_A_MAX + 1];
	struct sluice_rule_args a = {};
	int err;

	err = nla_parse_nested(tb, SLUICE_RULE_A_MAX, nest, rule_policy, extack);
	if (err)
		return err;
	if (lacks(extack, nest, tb, SLUICE_RULE_A_ID))
		return -EINVAL;
	a.id = nla_get_u32(tb[SLUICE_RULE_A_ID]);
	if (!set)
		return sluice_rule_del(sn, a.id);
	if (lacks(extack, nest, tb, SLUICE_RULE_A_POLICY) ||
	    lacks(extack, nest, tb, SLUICE_RULE_A_RULE))
		return -EINVAL;
	get_string(tb[SLUICE_RULE_A_POLICY], &a.policy, &a.policy_len);
	get_string(tb[SLUICE_RULE_A_RULE], &a.rule, &a.rule_len);
	return sluice_rule_set(sn, &a);
}

static int change_ruleset(struct sluice_net *sn, struct nlattr *nest, bool set,
			  struct netlink_ext_ack *extack)
{
	struct nlattr *tb[SLUICE_RULESET_A_MAX + 1];
	struct sluice_ruleset_args a = {};
	const char *why = NULL;
	int err;

	err = nla_parse_nested(tb, SLUICE_RULESET_A_MAX, nest, ruleset_policy, extack);
	if (err)
		return err;
	if (lacks(extack, nest, tb, SLUICE_RULESET_A_ID))
		return -EINVAL;
	a.id = nla_get_u32(tb[SLUICE_RULESET_A_ID]);
	if (!set)
		return sluice_ruleset_del(sn, a.id);
	if (lacks(extack, nest, tb, SLUICE_RULESET_A_SIZE) ||
	    lacks(extack, nest, tb, SLUICE_RULESET_A_DATA))
		return -EINVAL;
	a.size = nla_get_u32(tb[SLUICE_RULESET_A_SIZE]);
	a.offset = get_u32_or_0(tb[SLUICE_RULESET_A_OFFSET]);
	a.data = nla_data(tb[SLUICE_RULESET_A_DATA]);
	a.len = nla_len(tb[SLUICE_RULESET_A_DATA]);
	err = sluice_ruleset_piece(sn, &a, &why);
	return why ? sluice_refuse(extack, tb[SLUICE_RULESET_A_DATA], why, err) : err;
}

static int get_endpoint_addrs(struct nlattr *nest, struct sluice_endpoint_args *a,
			      struct netlink_ext_ack *extack)
{
	struct nlattr *attr;
	int err, rem;

	nla_for_each_nested(attr, nest, rem) {
		if (nla_type(attr) != SLUICE_ENDPOINT_A_ADDR)
			continue;
		if (a->n_addrs == SLUICE_MAX_ENDPOINT_ADDRS)
			return sluice_refuse(extack, attr, "too many addresses", -E2BIG);
		err = sluice_get_addr(attr, &a->addrs[a->n_addrs].addr,
				      &a->addrs[a->n_addrs].family, extack);
		if (err)
			return err;
		a->n_addrs++;
	}
	return 0;
}

static int change_endpoint(struct sluice_net *sn, struct nlattr *nest, bool set,
			   struct netlink_ext_ack *extack)
{
	struct nlattr *tb[SLUICE_ENDPOINT_A_MAX + 1];
	struct sluice_endpoint_args a = {};
	const char *why = NULL;
	int err;

	err = nla_parse_nested(tb, SLUICE_ENDPOINT_A_MAX, nest, endpoint_policy, extack);
	if (err)
		return err;
	if (lacks(extack, nest, tb, SLUICE_ENDPOINT_A_IFINDEX))
		return -EINVAL;
	a.ifindex = nla_get_u32(tb[SLUICE_ENDPOINT_A_IFINDEX]);
	if (!set) {
		/* It may have vanished with its interface a moment ago: that is as good. */
		err = sluice_endpoint_del(sn, a.ifindex);
		return err == -ENOENT ? 0 : err;
	}
	if (lacks(extack, nest, tb, SLUICE_ENDPOINT_A_NAME))
		return -EINVAL;
	err = get_endpoint_addrs(nest, &a, extack);
	if (err)
		return err;
	get_string(tb[SLUICE_ENDPOINT_A_NAME], &a.name, &a.name_len);
	get_string(tb[SLUICE_ENDPOINT_A_CONTAINER], &a.container, &a.container_len);
	a.ingress = get_u32_or_0(tb[SLUICE_ENDPOINT_A_INGRESS]);
	a.egress = get_u32_or_0(tb[SLUICE_ENDPOINT_A_EGRESS]);
	a.flags = get_u32_or_0(tb[SLUICE_ENDPOINT_A_FLAGS]);
	err = sluice_endpoint_set(sn, &a, &why);
	return why ? sluice_refuse(extack, tb[SLUICE_ENDPOINT_A_IFINDEX], why, err) : err;
}

static int change_uplink(struct sluice_net *sn, struct nlattr *nest, bool set,
			 struct netlink_ext_ack *extack)
{
	struct nlattr *tb[SLUICE_UPLINK_A_MAX + 1];
	const char *why = NULL;
	u32 ifindex;
	int err;

	err = nla_parse_nested(tb, SLUICE_UPLINK_A_MAX, nest, uplink_policy, extack);
	if (err)
		return err;
	if (lacks(extack, nest, tb, SLUICE_UPLINK_A_IFINDEX))
		return -EINVAL;
	ifindex = nla_get_u32(tb[SLUICE_UPLINK_A_IFINDEX]);
	if (!set) {
		err = sluice_uplink_del(sn, ifindex);
		return err == -ENOENT ? 0 : err; /* as with endpoints */
	}
	err = sluice_uplink_set(sn, ifindex, &why);
	return why ? sluice_refuse(extack, tb[SLUICE_UPLINK_A_IFINDEX], why, err) : err;
}

static int change_object(struct sluice_net *sn, struct nlattr *attr, bool set,
			 struct netlink_ext_ack *extack)
{
	int err;

	switch (nla_type(attr)) {
	case SLUICE_A_SERVICE:
		err = change_service(sn, attr, set, extack);
		break;
	case SLUICE_A_PEER:
		err = change_peer(sn, attr, set, extack);
		break;
	case SLUICE_A_RULE:
		err = change_rule(sn, attr, set, extack);
		break;
	case SLUICE_A_RULESET:
		err = change_ruleset(sn, attr, set, extack);
		break;
	case SLUICE_A_ENDPOINT:
		err = change_endpoint(sn, attr, set, extack);
		break;
	case SLUICE_A_UPLINK:
		err = change_uplink(sn, attr, set, extack);
		break;
	default: /* the policy let nothing else through */
		err = -EINVAL;
	}
	if (err == -ENOENT && !set)
		return sluice_refuse(extack, attr, "there is no such object", err);
	return err;
}

/* Is the transaction this socket's? Under sn->mutex. */
static int check_owner(struct sluice_net *sn, struct genl_info *info)
{
	if (sluice_transaction_owned(sn, info->snd_portid))
		return 0;
	if (sn->owner)
		return sluice_refuse(info->extack, NULL, "the transaction is another socket's",
				     -EBUSY);
	return sluice_refuse(info->extack, NULL, "there is no transaction: BEGIN comes first",
			     -EINVAL);
}

/* Endpoints and uplinks stand on interfaces, which hold still under RTNL alone. */
static bool needs_rtnl(struct genl_info *info)
{
	struct nlattr *attr;
	int rem;

	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rem)
		if (nla_type(attr) == SLUICE_A_ENDPOINT || nla_type(attr) == SLUICE_A_UPLINK)
			return true;
	return false;
}

/*
 * UPDATE, DELETE and COMMIT check their attributes themselves, as strictly as generic netlink would:
 * it refuses a bad message before we hear of it, and we have to know, for it fails the transaction.
 */
static int check_attrs(struct genl_info *info, int max, const struct nla_policy *policy)
{
	if (info->genlhdr->reserved)
		return sluice_refuse(info->extack, NULL, "reserved header field is not zero",
				     -EINVAL);
	return nla_validate(nlmsg_attrdata(info->nlhdr, GENL_HDRLEN),
			    nlmsg_attrlen(info->nlhdr, GENL_HDRLEN), max, policy, info->extack);
}

static int change_objects(struct genl_info *info, bool set)
{
	struct sluice_net *sn = sluice_net_get(genl_info_net(info));
	bool rtnl = set && needs_rtnl(info);
	struct nlattr *attr;
	int err, rem;

	if (rtnl)
		rtnl_lock();
	mutex_lock(&sn->mutex);
	err = check_owner(sn, info);
	if (err)
		goto unlock;
	err = check_attrs(info, SLUICE_A_MAX, objects_policy);
	if (err)
		goto fail;
	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rem) {
		err = change_object(sn, attr, set, info->extack);
		if (err)
			goto fail;
	}
	goto unlock;

fail:
	sn->failed = true;
unlock:
	mutex_unlock(&sn->mutex);
	if (rtnl)
		rtnl_unlock();
	return err;
}

static int cmd_update(struct sk_buff *skb, struct genl_info *info)
{
	return change_objects(info, true);
}

static int cmd_delete(struct sk_buff *skb, struct genl_info *info)
{
	return change_objects(info, false);
}

static int cmd_begin(struct sk_buff *skb, struct genl_info *info)
{
	struct sluice_net *sn = sluice_net_get(genl_info_net(info));
	u32 revision = 0;
	int err;

	mutex_lock(&sn->mutex);
	err = sluice_transaction_begin(sn, info->snd_portid);
	if (!err)
		revision = sluice_transaction_revision(sn);
	else if (err == -EBUSY)
		sluice_refuse(info->extack, NULL,
			      sluice_transaction_owned(sn, info->snd_portid) ?
				      "this socket has a transaction already" :
				      "another socket has a transaction",
			      err);
	else if (err == -EOVERFLOW)
		sluice_refuse(info->extack, NULL, "all revisions are used up: reload the module",
			      err);
	mutex_unlock(&sn->mutex);
	return err ?: sluice_reply_u32(info, SLUICE_A_REVISION, revision);
}

static int cmd_commit(struct sk_buff *skb, struct genl_info *info)
{
	struct sluice_net *sn = sluice_net_get(genl_info_net(info));
	struct nlattr *attr;
	const char *why = NULL;
	u32 flags = 0, revision = 0;
	int err, rem;

	mutex_lock(&sn->mutex);
	err = check_owner(sn, info);
	if (err)
		goto unlock;
	err = check_attrs(info, SLUICE_A_FLAGS, commit_policy);
	if (err) {
		sluice_transaction_abort(sn);
		goto unlock;
	}
	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rem)
		flags |= nla_get_u32(attr);
	err = sluice_transaction_commit(sn, flags, &why);
	if (why)
		sluice_refuse(info->extack, NULL, why, err);
	revision = sn->revision;
unlock:
	mutex_unlock(&sn->mutex);
	return err ?: sluice_reply_u32(info, SLUICE_A_REVISION, revision);
}

static int cmd_abort(struct sk_buff *skb, struct genl_info *info)
{
	struct sluice_net *sn = sluice_net_get(genl_info_net(info));
	int err;

	mutex_lock(&sn->mutex);
	err = check_owner(sn, info);
	if (!err)
		sluice_transaction_abort(sn);
	mutex_unlock(&sn->mutex);
	return err;
}

static int put_info(struct sk_buff *skb, struct sluice_net *sn)
{
	bool active = sluice_net_active(sn);
	struct sluice_conns *cs = active ? sn->conns : NULL;
	u64 bytes = cs ? sluice_conns_bytes(cs) : 0, budget = cs ? READ_ONCE(cs->budget) : 0;
	struct nlattr *nest = nla_nest_start(skb, SLUICE_A_INFO);

	if (!nest || nla_put_string(skb, SLUICE_INFO_A_VERSION, THIS_MODULE->version) ||
	    nla_put_u32(skb, SLUICE_INFO_A_REVISION, sluice_revision(sn)) ||
	    nla_put_u32(skb, SLUICE_INFO_A_SERVICES, READ_ONCE(sn->services.committed)) ||
	    nla_put_u32(skb, SLUICE_INFO_A_BACKENDS, READ_ONCE(sn->backends.committed)) ||
	    nla_put_u32(skb, SLUICE_INFO_A_PEERS, READ_ONCE(sn->peers.committed)) ||
	    nla_put_u32(skb, SLUICE_INFO_A_RULES, READ_ONCE(sn->rules.committed)) ||
	    nla_put_u32(skb, SLUICE_INFO_A_RULESETS, READ_ONCE(sn->rulesets.committed)) ||
	    nla_put_u32(skb, SLUICE_INFO_A_ENDPOINTS, READ_ONCE(sn->endpoints.committed)) ||
	    nla_put_u32(skb, SLUICE_INFO_A_UPLINKS, READ_ONCE(sn->uplinks.committed)) ||
	    nla_put_u32(skb, SLUICE_INFO_A_CONNS, cs ? atomic_read(&cs->count) : 0) ||
	    /* There is no attribute to pad with: they may lie on a multiple of 4 alone. */
	    nla_put(skb, SLUICE_INFO_A_CONN_BYTES, sizeof(bytes), &bytes) ||
	    nla_put(skb, SLUICE_INFO_A_CONN_BUDGET, sizeof(budget), &budget) ||
	    nla_put_u32(skb, SLUICE_INFO_A_BUCKETS, cs ? sluice_conns_buckets(cs) : 0) ||
	    nla_put_u32(skb, SLUICE_INFO_A_CONN_SIZE4, SLUICE_CONN_SIZE4) ||
	    nla_put_u32(skb, SLUICE_INFO_A_CONN_SIZE6, SLUICE_CONN_SIZE6))
		return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

static int put_stats(struct sk_buff *skb, struct sluice_net *sn)
{
	struct nlattr *nest = nla_nest_start(skb, SLUICE_A_STATS);
	struct sluice_stats s;

	sluice_stats_sum(sn, &s);
#define PUT(type, field) nla_put_u64_64bit(skb, SLUICE_STATS_A_##type, s.field, SLUICE_STATS_A_PAD)
	if (!nest || nla_put(skb, SLUICE_STATS_A_DROPS, sizeof(s.drops), s.drops) ||
	    PUT(HITS, hits) || PUT(MISSES, misses) || PUT(CREATED, created) ||
	    PUT(EXPIRED, expired) ||
	    nla_put(skb, SLUICE_STATS_A_EVICTED, sizeof(s.evicted), s.evicted) ||
	    PUT(REJUDGED, rejudged) || PUT(CUT, cut) || PUT(REMAPPED, remapped) ||
	    PUT(FAST_POD, fast_pod) || PUT(FAST_UPLINK, fast_uplink) || PUT(STACK, stack) ||
	    PUT(FOREIGN, foreign) || PUT(FRAGMENTS, fragments) || PUT(EVENTS_LOST, events_lost))
		return -EMSGSIZE;
#undef PUT
	nla_nest_end(skb, nest);
	return 0;
}

static int reply_with(struct genl_info *info, int (*put)(struct sk_buff *, struct sluice_net *))
{
	void *hdr;
	struct sk_buff *skb = reply_new(info, NLMSG_GOODSIZE, &hdr);
	int err;

	if (!skb)
		return -ENOMEM;
	err = put(skb, sluice_net_get(genl_info_net(info)));
	if (err) {
		nlmsg_free(skb);
		return err;
	}
	genlmsg_end(skb, hdr);
	return genlmsg_reply(skb, info);
}

static int cmd_get_info(struct sk_buff *skb, struct genl_info *info)
{
	return reply_with(info, put_info);
}

static int cmd_get_stats(struct sk_buff *skb, struct genl_info *info)
{
	return reply_with(info, put_stats);
}

static int cmd_set_config(struct sk_buff *skb, struct genl_info *info)
{
	struct sluice_net *sn = sluice_net_get(genl_info_net(info));
	struct nlattr *tb[SLUICE_CONFIG_A_MAX + 1], *attr;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, SLUICE_A_CONFIG))
		return sluice_refuse(info->extack, NULL, "SLUICE_A_CONFIG is missing", -EINVAL);
	err = nla_parse_nested(tb, SLUICE_CONFIG_A_MAX, info->attrs[SLUICE_A_CONFIG],
			       config_nest_policy, info->extack);
	if (err)
		return err;
	attr = tb[SLUICE_CONFIG_A_CONN_BUDGET];
	if (attr && !nla_get_u64(attr))
		return sluice_refuse(info->extack, attr, "a budget of nothing", -EINVAL);
	mutex_lock(&sn->mutex);
	err = sluice_net_activate(sn);
	if (!err && attr)
		WRITE_ONCE(sn->conns->budget, nla_get_u64(attr));
	mutex_unlock(&sn->mutex);
	return err;
}

static int fill_service(struct sk_buff *skb, struct sluice_net *sn, u32 revision,
			const struct sluice_node *n)
{
	const struct sluice_service *s = container_of(n, struct sluice_service, node);
	u32 i, size = s->key.family == SLUICE_IPV4 ? sizeof(struct sluice_backend4) :
						     sizeof(struct sluice_backend6);
	struct nlattr *attr;
	void *to;

	if (sluice_put_addr(skb, SLUICE_SERVICE_A_ADDR, &s->key.addr, s->key.family) ||
	    nla_put_be16(skb, SLUICE_SERVICE_A_PORT, s->key.port) ||
	    nla_put_u8(skb, SLUICE_SERVICE_A_PROTO, s->key.proto) ||
	    nla_put_string(skb, SLUICE_SERVICE_A_NAME, s->name) ||
	    nla_put_u32(skb, SLUICE_SERVICE_A_FLAGS, s->flags) ||
	    nla_put_u32(skb, SLUICE_SERVICE_A_REVISION, READ_ONCE(n->written)))
		return -EMSGSIZE;
	attr = nla_reserve(skb, SLUICE_SERVICE_A_BACKENDS, s->n_backends * size);
	if (!attr)
		return -EMSGSIZE;
	to = nla_data(attr);
	for (i = 0; i < s->n_backends; i++, to += size) {
		const struct sluice_backend *b = sluice_backend_get(sn, s->backend_ids[i]);

		if (s->key.family == SLUICE_IPV4) {
			struct sluice_backend4 b4 = { .addr = b->addr.w[0], .port = b->port };

			memcpy(to, &b4, sizeof(b4));
		} else {
			struct sluice_backend6 b6 = { .port = b->port };

			memcpy(b6.addr, b->addr.w, sizeof(b6.addr));
			memcpy(to, &b6, sizeof(b6));
		}
	}
	return 0;
}

static int fill_peer(struct sk_buff *skb, struct sluice_net *sn, u32 revision,
		     const struct sluice_node *n)
{
	const struct sluice_peer *p = container_of(n, struct sluice_peer, node);

	if (sluice_put_addr(skb, SLUICE_PEER_A_ADDR, &p->addr, p->family) ||
	    nla_put_u8(skb, SLUICE_PEER_A_PLEN, p->plen) ||
	    nla_put_u32(skb, SLUICE_PEER_A_CLASS, p->class) ||
	    nla_put_u32(skb, SLUICE_PEER_A_REVISION, READ_ONCE(n->written)))
		return -EMSGSIZE;
	if (p->name[0] && nla_put_string(skb, SLUICE_PEER_A_NAME, p->name))
		return -EMSGSIZE;
	return 0;
}

static int fill_rule(struct sk_buff *skb, struct sluice_net *sn, u32 revision,
		     const struct sluice_node *n)
{
	const struct sluice_rule_name *r = container_of(n, struct sluice_rule_name, node);

	if (nla_put_u32(skb, SLUICE_RULE_A_ID, r->id) ||
	    nla_put_string(skb, SLUICE_RULE_A_POLICY, r->policy) ||
	    nla_put_string(skb, SLUICE_RULE_A_RULE, r->rule) ||
	    nla_put_u32(skb, SLUICE_RULE_A_REVISION, READ_ONCE(n->written)))
		return -EMSGSIZE;
	return 0;
}

#define RULE_IDS_MAX 8192U

static int fill_ruleset(struct sk_buff *skb, struct sluice_net *sn, u32 revision,
			const struct sluice_node *n)
{
	const struct sluice_ruleset_entry *e = container_of(n, struct sluice_ruleset_entry, node);
	const struct sluice_ruleset *rs = (const void *)e->blob;
	const struct sluice_rule *rules = sluice_ruleset_rules(rs);
	u32 i, ids = min(rs->nrules, RULE_IDS_MAX);
	struct nlattr *attr;

	if (nla_put_u32(skb, SLUICE_RULESET_A_ID, e->id) ||
	    nla_put_u32(skb, SLUICE_RULESET_A_SIZE, e->size) ||
	    nla_put_u32(skb, SLUICE_RULESET_A_RULES, rs->nrules) ||
	    nla_put_u32(skb, SLUICE_RULESET_A_CLASSES, rs->nclasses) ||
	    nla_put_u32(skb, SLUICE_RULESET_A_ENDPOINTS,
			sluice_endpoints_using(sn, revision, e->id)) ||
	    nla_put_u32(skb, SLUICE_RULESET_A_REVISION, READ_ONCE(n->written)))
		return -EMSGSIZE;
	attr = nla_reserve(skb, SLUICE_RULESET_A_RULE_IDS, ids * sizeof(u32));
	if (!attr)
		return -EMSGSIZE;
	for (i = 0; i < ids; i++)
		memcpy(nla_data(attr) + i * sizeof(u32), &rules[i].id, sizeof(u32));
	return 0;
}

static int fill_ifname(struct sk_buff *skb, int type, const struct sluice_device *d)
{
	const struct net_device *dev = READ_ONCE(d->dev);

	return dev ? nla_put_string(skb, type, dev->name) : 0;
}

static int fill_endpoint(struct sk_buff *skb, struct sluice_net *sn, u32 revision,
			 const struct sluice_node *n)
{
	const struct sluice_endpoint *ep = container_of(n, struct sluice_endpoint, node);
	u32 i, flags = (ep->open ? SLUICE_ENDPOINT_OPEN : 0) |
		       (ep->ingress ? SLUICE_ENDPOINT_INGRESS : 0) |
		       (ep->egress ? SLUICE_ENDPOINT_EGRESS : 0);

	if (nla_put_u32(skb, SLUICE_ENDPOINT_A_IFINDEX, ep->ifindex) ||
	    fill_ifname(skb, SLUICE_ENDPOINT_A_IFNAME, ep->device) ||
	    nla_put_string(skb, SLUICE_ENDPOINT_A_NAME, ep->name) ||
	    nla_put_string(skb, SLUICE_ENDPOINT_A_CONTAINER, ep->container) ||
	    nla_put_u32(skb, SLUICE_ENDPOINT_A_INGRESS, ep->ingress) ||
	    nla_put_u32(skb, SLUICE_ENDPOINT_A_EGRESS, ep->egress) ||
	    nla_put_u32(skb, SLUICE_ENDPOINT_A_FLAGS, flags) ||
	    nla_put_u32(skb, SLUICE_ENDPOINT_A_REVISION, READ_ONCE(n->written)))
		return -EMSGSIZE;
	for (i = 0; i < ep->n_addrs; i++)
		if (sluice_put_addr(skb, SLUICE_ENDPOINT_A_ADDR, &ep->addrs[i].addr,
				    ep->addrs[i].family))
			return -EMSGSIZE;
	return 0;
}

static int fill_uplink(struct sk_buff *skb, struct sluice_net *sn, u32 revision,
		       const struct sluice_node *n)
{
	const struct sluice_uplink *u = container_of(n, struct sluice_uplink, node);

	if (nla_put_u32(skb, SLUICE_UPLINK_A_IFINDEX, u->ifindex) ||
	    fill_ifname(skb, SLUICE_UPLINK_A_IFNAME, u->device) ||
	    nla_put_u32(skb, SLUICE_UPLINK_A_REVISION, READ_ONCE(n->written)))
		return -EMSGSIZE;
	return 0;
}

/* How the objects of one table are dumped. */
struct dump {
	size_t table; /* offset in struct sluice_net */
	int attr;
	int (*fill)(struct sk_buff *skb, struct sluice_net *sn, u32 revision,
		    const struct sluice_node *n);
};

static const struct dump dumps[SLUICE_CMD_MAX + 1] = {
	[SLUICE_CMD_GET_SERVICE] = { offsetof(struct sluice_net, services), SLUICE_A_SERVICE,
				     fill_service },
	[SLUICE_CMD_GET_PEER] = { offsetof(struct sluice_net, peers), SLUICE_A_PEER, fill_peer },
	[SLUICE_CMD_GET_RULE] = { offsetof(struct sluice_net, rules), SLUICE_A_RULE, fill_rule },
	[SLUICE_CMD_GET_RULESET] = { offsetof(struct sluice_net, rulesets), SLUICE_A_RULESET,
				     fill_ruleset },
	[SLUICE_CMD_GET_ENDPOINT] = { offsetof(struct sluice_net, endpoints), SLUICE_A_ENDPOINT,
				      fill_endpoint },
	[SLUICE_CMD_GET_UPLINK] = { offsetof(struct sluice_net, uplinks), SLUICE_A_UPLINK,
				    fill_uplink },
};

static u8 command_of(const struct netlink_callback *cb)
{
	return ((const struct genlmsghdr *)nlmsg_data(cb->nlh))->cmd;
}

static struct sluice_table *table_of(struct sluice_net *sn, const struct dump *dump)
{
	return (struct sluice_table *)((char *)sn + dump->table);
}

/* An object goes into one message whole: the buffer must hold the longest. */
static int dump_start(struct netlink_callback *cb)
{
	struct sluice_net *sn = sluice_net_of_skb(cb->skb);
	u32 largest = READ_ONCE(table_of(sn, &dumps[command_of(cb)])->largest);

	cb->min_dump_alloc = NLMSG_GOODSIZE + largest;
	return 0;
}

static int dump_object(struct sk_buff *skb, struct netlink_callback *cb, const struct dump *dump,
		       struct sluice_net *sn, u32 revision, const struct sluice_node *n)
{
	struct nlattr *nest;
	void *hdr;

	hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &sluice_genl_family,
			  NLM_F_MULTI, command_of(cb));
	if (!hdr)
		return -EMSGSIZE;
	genl_dump_check_consistent(cb, hdr);
	nest = nla_nest_start(skb, dump->attr);
	if (!nest || dump->fill(skb, sn, revision, n)) {
		genlmsg_cancel(skb, hdr);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	genlmsg_end(skb, hdr);
	return 0;
}

static int dump_table(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct sluice_cursor *c = (struct sluice_cursor *)cb->ctx;
	struct sluice_net *sn = sluice_net_of_skb(cb->skb);
	const struct dump *dump = &dumps[command_of(cb)];
	struct sluice_table *t = table_of(sn, dump);
	struct sluice_node *n;
	u32 revision;
	int err = 0;

	if (!sluice_net_active(sn))
		return 0;
	rcu_read_lock();
	revision = sluice_revision(sn);
	/* A commit or a move of buckets between two messages marks the dump as interrupted. */
	cb->seq = revision + READ_ONCE(t->hash.shuffles) + 1;
	while ((n = sluice_table_seek(t, revision, c))) {
		err = dump_object(skb, cb, dump, sn, revision, n);
		if (err)
			break;
		c->index++;
	}
	rcu_read_unlock();
	return skb->len ? skb->len : err;
}

#define DUMP(name)                        \
	{                                 \
		.cmd = SLUICE_CMD_##name, \
		.flags = GENL_ADMIN_PERM, \
		.start = dump_start,      \
		.dumpit = dump_table,     \
	}

static const struct genl_ops ops[] = {
	{
		.cmd = SLUICE_CMD_GET_INFO,
		.flags = GENL_ADMIN_PERM,
		.policy = no_policy,
		.maxattr = ARRAY_SIZE(no_policy) - 1,
		.doit = cmd_get_info,
	},
	{
		.cmd = SLUICE_CMD_BEGIN,
		.flags = GENL_ADMIN_PERM,
		.policy = no_policy,
		.maxattr = ARRAY_SIZE(no_policy) - 1,
		.doit = cmd_begin,
	},
	{ .cmd = SLUICE_CMD_UPDATE, .flags = GENL_ADMIN_PERM, .doit = cmd_update },
	{ .cmd = SLUICE_CMD_DELETE, .flags = GENL_ADMIN_PERM, .doit = cmd_delete },
	{ .cmd = SLUICE_CMD_COMMIT, .flags = GENL_ADMIN_PERM, .doit = cmd_commit },
	/* From here on a command without a policy takes no attributes: see resv_start_op. */
	{ .cmd = SLUICE_CMD_ABORT, .flags = GENL_ADMIN_PERM, .doit = cmd_abort },
	DUMP(GET_SERVICE),
	DUMP(GET_PEER),
	DUMP(GET_RULE),
	DUMP(GET_RULESET),
	DUMP(GET_ENDPOINT),
	DUMP(GET_UPLINK),
	{
		.cmd = SLUICE_CMD_GET_CONN,
		.flags = GENL_ADMIN_PERM,
		.policy = conn_policy,
		.maxattr = ARRAY_SIZE(conn_policy) - 1,
		.start = sluice_dump_conn_start,
		.dumpit = sluice_dump_conn,
		.done = sluice_dump_conn_done,
	},
	{
		.cmd = SLUICE_CMD_FLUSH_CONN,
		.flags = GENL_ADMIN_PERM,
		.policy = conn_policy,
		.maxattr = ARRAY_SIZE(conn_policy) - 1,
		.doit = sluice_cmd_flush_conn,
	},
	{
		.cmd = SLUICE_CMD_SET_CONN,
		.flags = GENL_ADMIN_PERM,
		.policy = conn_policy,
		.maxattr = ARRAY_SIZE(conn_policy) - 1,
		.doit = sluice_cmd_set_conn,
	},
	{ .cmd = SLUICE_CMD_GET_STATS, .flags = GENL_ADMIN_PERM, .doit = cmd_get_stats },
	{
		.cmd = SLUICE_CMD_SET_CONFIG,
		.flags = GENL_ADMIN_PERM,
		.policy = config_policy,
		.maxattr = ARRAY_SIZE(config_policy) - 1,
		.doit = cmd_set_config,
	},
	{
		.cmd = SLUICE_CMD_TRACE,
		.flags = GENL_ADMIN_PERM,
		.policy = trace_policy,
		.maxattr = ARRAY_SIZE(trace_policy) - 1,
		.doit = sluice_cmd_trace,
	},
};

static const struct genl_multicast_group groups[] = {
	{ .name = SLUICE_GENL_GROUP_EVENTS },
};

struct genl_family sluice_genl_family __ro_after_init = {
	.name = SLUICE_GENL_NAME,
	.version = SLUICE_GENL_VERSION,
	.netnsok = true,
	.module = THIS_MODULE,
	.ops = ops,
	.n_ops = ARRAY_SIZE(ops),
	.mcgrps = groups,
	.n_mcgrps = ARRAY_SIZE(groups),
	.resv_start_op = SLUICE_CMD_ABORT,
};

/* A socket is closed: its transaction is over. */
static int socket_event(struct notifier_block *nb, unsigned long event, void *ptr)
{
	struct netlink_notify *n = ptr;
	struct sluice_net *sn;

	if (event != NETLINK_URELEASE || n->protocol != NETLINK_GENERIC)
		return NOTIFY_DONE;
	sn = sluice_net_get(n->net);
	mutex_lock(&sn->mutex);
	if (sluice_transaction_owned(sn, n->portid))
		sluice_transaction_abort(sn);
	mutex_unlock(&sn->mutex);
	return NOTIFY_DONE;
}

static struct notifier_block socket_notifier = {
	.notifier_call = socket_event,
};

int sluice_netlink_init(void)
{
	int err = netlink_register_notifier(&socket_notifier);

	if (err)
		return err;
	err = genl_register_family(&sluice_genl_family);
	if (err)
		netlink_unregister_notifier(&socket_notifier);
	return err;
}

void sluice_netlink_exit(void)
{
	genl_unregister_family(&sluice_genl_family);
	netlink_unregister_notifier(&socket_notifier);
}
