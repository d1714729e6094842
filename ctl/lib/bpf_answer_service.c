// SPDX-License-Identifier: GPL-2.0-only
#include <arpa/inet.h>
#include <stdlib.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/bpf_answer_internal.h"
#include "ctl/lib/nl_object.h"

int sluice_bpf_service_backend(struct sluice_bpf_request *r, uint32_t set, uint32_t index,
			       struct sluice_dp_backend *backend)
{
	struct sluice_bpf_backend_key key = { set, index };
	struct sluice_bpf_backend value;
	int ret = sluice_bpf_answer_find(r->a, SLUICE_BPF_MAP_BACKENDS, &key, &value, r->err);

	if (ret == -ENOENT && sluice_bpf_answer_outdated(r))
		return 1;
	if (ret == -ENOENT)
		return sluice_err_set(r->err, EPROTO,
				      "backend %u of set %u is missing in map %s/backends", index,
				      set, r->a->dir);
	if (ret)
		return ret;
	backend->addr = value.addr;
	backend->port = ntohs(value.port);
	return 0;
}

int sluice_bpf_service_info(struct sluice_bpf_request *r, const struct sluice_service_key *key,
			    struct sluice_bpf_service_info *info)
{
	int ret = sluice_bpf_answer_find(r->a, SLUICE_BPF_MAP_SERVICE_INFO, key, info, r->err);

	if (!ret)
		info->name[sizeof(info->name) - 1] = '\0';
	else if (ret == -ENOENT)
		*info = (struct sluice_bpf_service_info){ 0 };
	return ret == -ENOENT ? 0 : ret;
}

static int put_service(struct sluice_bpf_request *r, const void *key, const void *value, void *arg)
{
	const struct sluice_bpf_service *s = value;
	const struct sluice_service_key *k = key;
	int version = sluice_bpf_version(&s->since, r->revision), ret;
	struct sluice_dp_backend *backends;
	struct sluice_bpf_service_info info;
	struct sluice_dp_service o;
	uint32_t n;

	(void)arg;
	if (version < 0 || s->v[version].n == SLUICE_BPF_ABSENT)
		return 0;
	n = s->v[version].n;
	ret = sluice_bpf_service_info(r, k, &info);
	if (ret)
		return ret;
	backends = sluice_zalloc(n * sizeof(*backends));
	for (uint32_t i = 0; i < n && !ret; i++)
		ret = sluice_bpf_service_backend(r, s->v[version].set, i, &backends[i]);
	o = (struct sluice_dp_service){
		.addr = k->addr,
		.port = ntohs(k->port),
		.proto = k->proto,
		.family = k->family,
		.name = info.name,
		.backends = backends,
		.n_backends = n,
	};
	if (!ret)
		ret = sluice_bpf_answer_send(
			r, sluice_nl_put_dumped_service(sluice_bpf_answer_start(r->a), &o,
							info.revision));
	free(backends);
	return ret;
}

int sluice_bpf_answer_services(struct sluice_bpf_request *r)
{
	return sluice_bpf_answer_each(r, SLUICE_BPF_MAP_SERVICES, put_service, NULL);
}
