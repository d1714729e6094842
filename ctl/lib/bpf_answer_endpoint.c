// SPDX-License-Identifier: GPL-2.0-only
/* Pods of this node, and the interfaces towards others. */
#include <net/if.h>

#include "ctl/lib/bpf_answer_internal.h"
#include "ctl/lib/nl_object.h"

struct walk {
	int (*each)(struct sluice_bpf_request *r, const struct sluice_bpf_endpoint_view *ep,
		    void *arg);
	void *arg;
};

int sluice_bpf_endpoint_flags(struct sluice_bpf_request *r, uint32_t ifindex, uint32_t *flags,
			      uint32_t slots[2])
{
	struct sluice_bpf_endpoint value;
	int version, ret = sluice_bpf_answer_find(r->a, SLUICE_BPF_MAP_ENDPOINTS, &ifindex, &value,
						  r->err);

	*flags = 0;
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	version = sluice_bpf_version(&value.since, r->revision);
	if (version < 0)
		return 0;
	*flags = value.v[version].flags;
	slots[0] = value.v[version].egress;
	slots[1] = value.v[version].ingress;
	return 0;
}

static int view_endpoint(struct sluice_bpf_request *r, const void *key, const void *value,
			 void *arg)
{
	const struct sluice_bpf_endpoint *e = value;
	int version = sluice_bpf_version(&e->since, r->revision), ret;
	struct sluice_bpf_endpoint_view ep;
	const struct walk *walk = arg;

	if (version < 0 || !(e->v[version].flags & SLUICE_BPF_ENDPOINT_PRESENT))
		return 0;
	memcpy(&ep.ifindex, key, sizeof(ep.ifindex));
	/* An endpoint vanishes with its interface; what is left of it is swept up by sluiced. */
	if (!if_indextoname(ep.ifindex, ep.ifname))
		return 0;
	ep.open = e->v[version].flags & SLUICE_BPF_ENDPOINT_OPEN;
	ret = sluice_bpf_answer_find(r->a, SLUICE_BPF_MAP_ENDPOINT_INFO, &ep.ifindex, &ep.info,
				     r->err);
	if (ret == -ENOENT)
		ep.info = (struct sluice_bpf_endpoint_info){ 0 };
	else if (ret)
		return ret;
	ep.info.name[sizeof(ep.info.name) - 1] = '\0';
	ep.info.container[sizeof(ep.info.container) - 1] = '\0';
	if (ep.info.n_addrs > SLUICE_BPF_ENDPOINT_ADDRS)
		ep.info.n_addrs = SLUICE_BPF_ENDPOINT_ADDRS;
	return walk->each(r, &ep, walk->arg);
}

int sluice_bpf_each_endpoint(struct sluice_bpf_request *r,
			     int (*each)(struct sluice_bpf_request *r,
					 const struct sluice_bpf_endpoint_view *ep, void *arg),
			     void *arg)
{
	struct walk walk = { each, arg };

	return sluice_bpf_answer_each(r, SLUICE_BPF_MAP_ENDPOINTS, view_endpoint, &walk);
}

static int put_endpoint(struct sluice_bpf_request *r, const struct sluice_bpf_endpoint_view *ep,
			void *arg)
{
	struct sluice_dp_addr addrs[SLUICE_BPF_ENDPOINT_ADDRS];
	struct sluice_dp_endpoint o = {
		.ifindex = ep->ifindex,
		.name = ep->info.name,
		.container = ep->info.container,
		.addrs = addrs,
		.n_addrs = ep->info.n_addrs,
		.ingress = ep->info.ingress,
		.egress = ep->info.egress,
		.open = ep->open,
	};

	(void)arg;
	for (uint32_t i = 0; i < o.n_addrs; i++)
		addrs[i] = (struct sluice_dp_addr){ ep->info.addrs[i].addr,
						    (uint8_t)ep->info.addrs[i].family };
	return sluice_bpf_answer_send(
		r, sluice_nl_put_dumped_endpoint(sluice_bpf_answer_start(r->a), &o, ep->ifname,
						 ep->info.revision));
}

int sluice_bpf_answer_endpoints(struct sluice_bpf_request *r)
{
	return sluice_bpf_each_endpoint(r, put_endpoint, NULL);
}

/* Uplinks ********************************************************************************/

static int put_uplink(struct sluice_bpf_request *r, const void *key, const void *value, void *arg)
{
	struct sluice_nl_uplink o = { 0 };
	char name[IF_NAMESIZE];

	(void)arg;
	memcpy(&o.ifindex, key, sizeof(o.ifindex));
	memcpy(&o.revision, value, sizeof(o.revision));
	o.ifname = if_indextoname(o.ifindex, name);
	if (!o.ifname)
		return 0;
	return sluice_bpf_answer_send(r, sluice_nl_put_dumped_uplink(sluice_bpf_answer_start(r->a),
								     &o));
}

int sluice_bpf_answer_uplinks(struct sluice_bpf_request *r)
{
	return sluice_bpf_answer_each(r, SLUICE_BPF_MAP_UPLINKS, put_uplink, NULL);
}
