// SPDX-License-Identifier: GPL-2.0-only
/* How much there is, what packets met, and the one thing that can be set. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/bpf_answer_internal.h"
#include "ctl/lib/bpf_conns.h"
#include "ctl/lib/nl_object.h"

static int count_service(struct sluice_bpf_request *r, const void *key, const void *value,
			 void *arg)
{
	const struct sluice_bpf_service *s = value;
	int version = sluice_bpf_version(&s->since, r->revision);
	struct sluice_nl_info *o = arg;

	(void)key;
	if (version < 0 || s->v[version].n == SLUICE_BPF_ABSENT)
		return 0;
	o->services++;
	o->backends += s->v[version].n;
	return 0;
}

static int count_endpoint(struct sluice_bpf_request *r, const struct sluice_bpf_endpoint_view *ep,
			  void *arg)
{
	(void)r;
	(void)ep;
	++*(uint32_t *)arg;
	return 0;
}

static int count_uplink(struct sluice_bpf_request *r, const void *key, const void *value, void *arg)
{
	char name[IF_NAMESIZE];
	uint32_t ifindex;

	(void)r;
	(void)value;
	memcpy(&ifindex, key, sizeof(ifindex));
	*(uint32_t *)arg += !!if_indextoname(ifindex, name);
	return 0;
}

static int count(struct sluice_bpf_request *r, const void *key, const void *value, void *arg)
{
	(void)r;
	(void)key;
	(void)value;
	++*(uint32_t *)arg;
	return 0;
}

int sluice_bpf_answer_info(struct sluice_bpf_request *r)
{
	const struct sluice_bpf_control *control = r->a->control;
	char version[32];
	struct sluice_nl_info o = {
		.version = version,
		.revision = r->revision,
		.conn_bytes = sluice_bpf_conn_bytes(control),
		.conn_budget = control->budget,
		.conn_size4 = sizeof(struct sluice_bpf_conn4),
		.conn_size6 = sizeof(struct sluice_bpf_conn6),
	};
	int ret;

	snprintf(version, sizeof(version), "layout %u", control->layout);
	for (int i = 0; i < 2; i++) {
		const struct sluice_bpf_table *t = &control->table[i];
		o.conns += __atomic_load_n(&t->alive, __ATOMIC_RELAXED);
		o.buckets += t->bucket_mask + 1;
	}
	ret = sluice_bpf_answer_each(r, SLUICE_BPF_MAP_SERVICES, count_service, &o);
	if (!ret)
		ret = sluice_bpf_answer_each(r, SLUICE_BPF_MAP_PEER_INFO, count, &o.peers);
	if (!ret)
		ret = sluice_bpf_answer_each(r, SLUICE_BPF_MAP_RULE_INFO, count, &o.rules);
	if (!ret)
		ret = sluice_bpf_answer_each(r, SLUICE_BPF_MAP_RULESET_INFO, count, &o.rulesets);
	if (!ret)
		ret = sluice_bpf_each_endpoint(r, count_endpoint, &o.endpoints);
	if (!ret)
		ret = sluice_bpf_answer_each(r, SLUICE_BPF_MAP_UPLINKS, count_uplink, &o.uplinks);
	if (ret)
		return ret;
	return sluice_bpf_answer_send(r, sluice_nl_put_info(sluice_bpf_answer_start(r->a), &o));
}

int sluice_bpf_answer_stats(struct sluice_bpf_request *r)
{
	const struct sluice_bpf_map *map =
		sluice_bpf_answer_map(r->a, SLUICE_BPF_MAP_STATS, r->err);
	int cpus = libbpf_num_possible_cpus(), ret = 0;
	struct sluice_nl_stats o = { 0 };
	struct sluice_bpf_stats *all;
	uint32_t key = 0;

	if (!map)
		return -EPROTO;
	if (cpus < 0)
		return sluice_err_errno(r->err, -cpus, "count the processors");
	all = sluice_realloc(NULL, cpus, sizeof(*all));
	_Static_assert(sizeof(*all) % 8 == 0, "values of CPUs stand at multiples of 8 bytes");
	if (bpf_map_lookup_elem(map->fd, &key, all))
		ret = sluice_err_errno(r->err, errno, "map %s", map->name);
	for (int cpu = 0; cpu < cpus && !ret; cpu++) {
		const struct sluice_bpf_stats *s = &all[cpu];

		for (int i = 0; i < SLUICE_REASON_COUNT; i++)
			o.drops[i] += s->drops[i];
		for (int i = 0; i < SLUICE_EVICT_COUNT; i++)
			o.evicted[i] += s->evicted[i];
		o.hits += s->hits;
		o.misses += s->misses;
		o.created += s->created;
		o.expired += s->expired;
		o.rejudged += s->rejudged;
		o.cut += s->cut;
		o.remapped += s->remapped;
		o.fast_pod += s->fast_pod;
		o.fast_uplink += s->fast_uplink;
		o.stack += s->stack;
		o.foreign += s->foreign;
		o.fragments += s->fragments;
		o.events_lost += s->events_lost;
	}
	free(all);
	if (ret)
		return ret;
	return sluice_bpf_answer_send(r, sluice_nl_put_stats(sluice_bpf_answer_start(r->a), &o));
}
