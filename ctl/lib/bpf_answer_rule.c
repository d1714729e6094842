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
	return sluice_bpf_answer_each(r, SLUICE_MAP_RULE_INFO, put_rule, NULL);
}

/* Rulesets *******************************************************************************/

/* The uapi cuts the list of a dump there. */
#define RULE_IDS_MAX 8192U

/* Words of an array that one system call copies. */
#define WORDS_AT_ONCE 65536U

/* Words [first, first + n) of a ruleset's blob. */
static int read_words(struct sluice_bpf_request *r, int fd, uint32_t first, uint32_t n,
		      uint64_t *words)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	uint32_t *keys = sluice_realloc(NULL, n < WORDS_AT_ONCE ? n : WORDS_AT_ONCE, sizeof(*keys));
	uint32_t last = first - 1, next, got;
	int ret = 0;

	for (uint32_t done = 0; done < n && !ret; done += got) {
		got = n - done < WORDS_AT_ONCE ? n - done : WORDS_AT_ONCE;
		/* An array goes on behind the key that is given; ENOENT: that was its end. */
		if (bpf_map_lookup_batch(fd, first + done ? &last : NULL, &next, keys, words + done,
					 &got, &opts) &&
		    (errno != ENOENT || done + got < n))
			ret = sluice_err_set(
				r->err, errno == ENOENT ? EPROTO : errno,
				"a ruleset's map ends before its blob, or is not readable");
		last = first + done + got - 1;
	}
	free(keys);
	return ret;
}

/* The header of the blob in a slot, and the map that holds it: a file descriptor. */
static int open_blob(struct sluice_bpf_request *r, uint32_t slot, struct sluice_ruleset *header)
{
	uint64_t words[sizeof(*header) / sizeof(uint64_t)];
	int fd = sluice_bpf_answer_inner(r->a, SLUICE_MAP_RULESETS, slot, r->err), ret;

	_Static_assert(sizeof(words) == sizeof(*header), "the header is not a number of words");
	if (fd < 0)
		return fd;
	ret = read_words(r, fd, 0, sizeof(words) / sizeof(words[0]), words);
	if (!ret) {
		memcpy(header, words, sizeof(*header));
		if (header->magic != SLUICE_RULESET_MAGIC)
			ret = sluice_err_set(r->err, EPROTO,
					     "the ruleset in slot %u is of another layout", slot);
	}
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

int sluice_bpf_ruleset(struct sluice_bpf_request *r, uint32_t slot, struct sluice_ruleset **blob)
{
	struct sluice_ruleset header;
	int fd = open_blob(r, slot, &header), ret;
	const char *wrong;
	uint32_t n;

	*blob = NULL;
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	n = (header.size + sizeof(uint64_t) - 1) / sizeof(uint64_t);
	*blob = sluice_zalloc((size_t)n * sizeof(uint64_t));
	ret = read_words(r, fd, 0, n, (uint64_t *)*blob);
	close(fd);
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
static int read_rule_ids(struct sluice_bpf_request *r, int fd, const struct sluice_ruleset *header,
			 uint32_t **ids, uint32_t *n)
{
	struct sluice_rule *rules;
	int ret;

	_Static_assert(sizeof(*rules) == sizeof(uint64_t), "a rule is not a word");
	*n = header->nrules < RULE_IDS_MAX ? header->nrules : RULE_IDS_MAX;
	rules = sluice_realloc(NULL, *n, sizeof(*rules));
	*ids = sluice_realloc(NULL, *n, sizeof(**ids));
	ret = read_words(r, fd, header->off_rules / sizeof(uint64_t), *n, (uint64_t *)rules);
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
	uint32_t *ids = NULL;
	int fd, ret;

	memcpy(&o.id, key, sizeof(o.id));
	fd = open_blob(r, info->slot, &header);
	if (fd == -ENOENT) /* the info goes last, or came first */
		return 0;
	if (fd < 0)
		return sluice_err_prefix(r->err, "ruleset %u", o.id);
	ret = read_rule_ids(r, fd, &header, &ids, &o.n_rule_ids);
	close(fd);
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
		ret = sluice_bpf_answer_each(r, SLUICE_MAP_RULESET_INFO, put_ruleset, &users);
	sluice_map_clear(&users, NULL);
	return ret;
}
