// SPDX-License-Identifier: GPL-2.0-only
/* Rules by name, and the rulesets that are made of them. */
#include <bpf/bpf.h>
#include <stdlib.h>
#include <unistd.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/bpf_answer_internal.h"
#include "ctl/lib/map.h"
#include "ctl/lib/nl_object.h"

static int put_rule(struct sluice_bpf_request *r, const void *key, const void *value, void *arg)
{
	const struct sluice_bpf_rule_info *given = value;
	struct sluice_bpf_rule_info info = *given;
	struct sluice_dp_rule o = { .policy = info.policy, .rule = info.rule };

	(void)arg;
	memcpy(&o.id, key, sizeof(o.id));
	info.policy[sizeof(info.policy) - 1] = '\0';
	info.rule[sizeof(info.rule) - 1] = '\0';
	return sluice_bpf_answer_send(r, sluice_nl_put_dumped_rule(sluice_bpf_answer_start(r->a),
								   &o, info.revision));
}

int sluice_bpf_answer_rules(struct sluice_bpf_request *r)
{
	return sluice_bpf_answer_each(r, SLUICE_BPF_MAP_RULE_INFO, put_rule, NULL);
}

/* Rulesets *******************************************************************************/

/* The uapi cuts the list of a dump there. */
#define RULE_IDS_MAX 8192U

/* Elements of an array that one system call copies. */
#define PIECES_AT_ONCE 65536U

/* A ruleset's map: the blob of core/ruleset.h, cut into pieces, one an element. */
struct blob_map {
	int fd;
	uint32_t piece; /* bytes */
	uint32_t n; /* pieces */
};

/* Bytes [first, first + len) of the blob. */
static int read_blob(struct sluice_bpf_request *r, const struct blob_map *map, uint32_t first,
		     uint32_t len, void *to)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	uint32_t at = first / map->piece, end = (first + len + map->piece - 1) / map->piece;
	uint32_t n = end - at, *keys, next, last, got;
	char *pieces;
	int ret = 0;

	if (first + len < first || end > map->n)
		return sluice_err_set(r->err, EPROTO, "a ruleset's map ends before its blob");
	keys = sluice_realloc(NULL, n < PIECES_AT_ONCE ? n : PIECES_AT_ONCE, sizeof(*keys));
	pieces = sluice_realloc(NULL, n, map->piece);
	for (uint32_t done = 0; done < n && !ret; done += got) {
		got = n - done < PIECES_AT_ONCE ? n - done : PIECES_AT_ONCE;
		last = at + done - 1; /* an array goes on behind the key that it is given */
		if (bpf_map_lookup_batch(map->fd, at + done ? &last : NULL, &next, keys,
					 pieces + (size_t)done * map->piece, &got, &opts))
			ret = sluice_err_errno(r->err, errno, "read a ruleset's map");
	}
	if (!ret)
		memcpy(to, pieces + first - at * map->piece, len);
	free(pieces);
	free(keys);
	return ret;
}

/* The map in a slot, to be closed, and the header of its blob. -ENOENT (without r->err): there is none. */
static int open_blob(struct sluice_bpf_request *r, uint32_t slot, struct blob_map *map,
		     struct sluice_ruleset *header)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	int ret;

	map->fd = sluice_bpf_answer_inner(r->a, SLUICE_BPF_MAP_RULESETS, slot, r->err);
	if (map->fd < 0)
		return map->fd;
	if (bpf_obj_get_info_by_fd(map->fd, &info, &len)) {
		ret = sluice_err_errno(r->err, errno, "look at a ruleset's map");
		goto close;
	}
	map->piece = info.value_size;
	map->n = info.max_entries;
	ret = read_blob(r, map, 0, sizeof(*header), header);
	if (ret)
		goto close;
	if (header->magic == SLUICE_RULESET_MAGIC)
		return 0;
	ret = sluice_err_set(r->err, EPROTO, "the ruleset in slot %u is of another layout", slot);
close:
	close(map->fd);
	return ret;
}

int sluice_bpf_ruleset(struct sluice_bpf_request *r, uint32_t slot, struct sluice_ruleset **blob)
{
	struct sluice_ruleset header;
	struct blob_map map;
	const char *wrong;
	int ret;

	*blob = NULL;
	ret = open_blob(r, slot, &map, &header);
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	*blob = sluice_zalloc(header.size);
	ret = read_blob(r, &map, 0, header.size, *blob);
	close(map.fd);
	if (!ret) {
		wrong = sluice_ruleset_validate(*blob, header.size);
		if (wrong)
			ret = sluice_err_set(r->err, EPROTO, "the ruleset in slot %u: %s", slot,
					     wrong);
	}
	if (ret) {
		free(*blob);
		*blob = NULL;
	}
	return ret;
}

/* Ids of rules, one for each of the ruleset's first rules; to be freed. */
static int read_rule_ids(struct sluice_bpf_request *r, const struct blob_map *map,
			 const struct sluice_ruleset *header, uint32_t **ids, uint32_t *n)
{
	struct sluice_rule *rules;
	int ret;

	*n = header->nrules < RULE_IDS_MAX ? header->nrules : RULE_IDS_MAX;
	rules = sluice_realloc(NULL, *n, sizeof(*rules));
	*ids = sluice_realloc(NULL, *n, sizeof(**ids));
	ret = read_blob(r, map, header->off_rules, *n * sizeof(*rules), rules);
	for (uint32_t i = 0; i < *n && !ret; i++)
		(*ids)[i] = rules[i].id;
	free(rules);
	return ret;
}

static int put_ruleset(struct sluice_bpf_request *r, const void *key, const void *value, void *arg)
{
	const struct sluice_bpf_ruleset_info *info = value;
	const struct sluice_map *users = arg;
	struct sluice_nl_ruleset o = { .size = info->size, .revision = info->revision };
	struct sluice_ruleset header;
	struct blob_map map;
	uint32_t *ids;
	int ret;

	memcpy(&o.id, key, sizeof(o.id));
	ret = open_blob(r, info->slot, &map, &header);
	if (ret == -ENOENT) /* it has just gone, and its info will */
		return 0;
	if (ret)
		return sluice_err_prefix(r->err, "ruleset %u", o.id);
	ret = read_rule_ids(r, &map, &header, &ids, &o.n_rule_ids);
	close(map.fd);
	o.rules = header.nrules;
	o.classes = header.nclasses;
	o.endpoints = (uint32_t)(uintptr_t)sluice_map_get(users, &o.id, sizeof(o.id));
	o.rule_ids = ids;
	if (!ret)
		ret = sluice_bpf_answer_send(
			r, sluice_nl_put_dumped_ruleset(sluice_bpf_answer_start(r->a), &o));
	free(ids);
	return ret;
}

static int count_user(struct sluice_bpf_request *r, const struct sluice_bpf_endpoint_view *ep,
		      void *arg)
{
	const uint32_t ids[2] = { ep->info.ingress, ep->info.egress };

	(void)r;
	/* One that obeys it in both directions is one that uses it. */
	for (int i = 0; i < (ids[0] == ids[1] ? 1 : 2); i++)
		if (ids[i])
			++*(uintptr_t *)sluice_map_slot(arg, &ids[i], sizeof(ids[i]));
	return 0;
}

int sluice_bpf_answer_rulesets(struct sluice_bpf_request *r)
{
	struct sluice_map users = { 0 }; /* by id: how many endpoints obey it */
	int ret = sluice_bpf_each_endpoint(r, count_user, &users);

	if (!ret)
		ret = sluice_bpf_answer_each(r, SLUICE_BPF_MAP_RULESET_INFO, put_ruleset, &users);
	sluice_map_clear(&users, NULL);
	return ret;
}
