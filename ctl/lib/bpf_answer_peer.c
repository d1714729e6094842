// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/bpf_answer_internal.h"
#include "ctl/lib/nl_object.h"

/* Prefixes have no "absent" of their own in the maps that packets meet: what is there is what has an info. */
static int put_peer(struct sluice_bpf_request *r, const void *key, const void *value, void *arg)
{
	const struct sluice_bpf_peer_info *info = value;
	const struct sluice_bpf_peer_key *k = key;
	char name[sizeof(info->name)];
	struct sluice_dp_peer o = {
		.addr = k->addr,
		.plen = k->plen,
		.family = k->family,
		.class = info->class,
		.name = *info->name ? name : NULL,
	};

	(void)arg;
	memcpy(name, info->name, sizeof(name));
	name[sizeof(name) - 1] = '\0';
	return sluice_bpf_answer_send(r, sluice_nl_put_dumped_peer(sluice_bpf_answer_start(r->a),
								   &o, info->revision));
}

int sluice_bpf_answer_peers(struct sluice_bpf_request *r)
{
	return sluice_bpf_answer_each(r, SLUICE_BPF_MAP_PEER_INFO, put_peer, NULL);
}

/* The longest prefix there is, as a packet looks it up. */
static int class_of_prefix(struct sluice_bpf_request *r, const struct sluice_addr *addr,
			   uint8_t family, uint32_t *class)
{
	struct sluice_bpf_prefix4 key4 = { .plen = 32, .addr = addr->w[0] };
	struct sluice_bpf_prefix6 key6 = { .plen = 128 };
	bool ipv4 = family == SLUICE_IPV4;
	struct sluice_bpf_class value;
	int version, ret;

	memcpy(key6.addr, addr, sizeof(key6.addr));
	ret = sluice_bpf_answer_find(r->a,
				     ipv4 ? SLUICE_BPF_MAP_PREFIXES4 : SLUICE_BPF_MAP_PREFIXES6,
				     ipv4 ? (const void *)&key4 : &key6, &value, r->err);
	*class = 0;
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	version = sluice_bpf_version(&value.since, r->revision);
	if (version >= 0)
		*class = value.v[version];
	return 0;
}

int sluice_bpf_peer_class(struct sluice_bpf_request *r, const struct sluice_addr *addr,
			  uint8_t family, uint32_t *class)
{
	int ret = sluice_bpf_answer_number(r, SLUICE_BPF_MAP_HOSTS, addr, family, class);

	if (!ret && *class == SLUICE_BPF_ABSENT)
		ret = class_of_prefix(r, addr, family, class);
	return ret;
}
