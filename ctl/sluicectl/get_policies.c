// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policies as the data plane has them. It knows rules, each with the name of its policy; rulesets
 * made of rules; and endpoints that obey rulesets. A policy's rulesets are those that hold one of
 * its rules, its endpoints those that obey one of these. The default deny of an isolated pod is one
 * rule of all policies that isolate it: it names them all, separated by commas.
 */
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/map.h"
#include "ctl/lib/nl_object.h"
#include "ctl/sluicectl/get.h"

struct numbers {
	uint32_t *v;
	size_t n;
	size_t cap;
};

struct policy {
	const char *name; /* the key of its entry in the map */
	json_t *rules; /* [{"id":..,"rule":..}, ...] */
	struct numbers rulesets;
	size_t endpoints;
	uint32_t last_endpoint; /* the last that was counted, by ifindex: an endpoint counts once */
};

struct collection {
	struct sluice_map policies; /* by name: struct policy */
	struct sluice_map rules; /* by id: the policies' names, as the kernel has them */
	struct sluice_map rulesets; /* by id: struct numbers, the ids of its rules */
};

static void add_number(struct numbers *list, uint32_t value)
{
	sluice_grow(list->v, list->n, list->cap);
	list->v[list->n++] = value;
}

/* Calls fn with each policy of "a/b,c/d". */
static void each_policy(struct collection *c, const char *names,
			void (*fn)(struct policy *policy, uint32_t value), uint32_t value)
{
	size_t len;

	for (;; names += len + 1) {
		struct policy **slot;

		len = strcspn(names, ",");
		if (!len || *names == '+') /* "+12": so many more, for which there was no room */
			return;
		slot = (struct policy **)sluice_map_slot(&c->policies, names, len);
		if (!*slot) {
			char *name = sluice_alloc_check(strndup(names, len));

			*slot = sluice_zalloc(sizeof(**slot));
			(*slot)->rules = json_array();
			(*slot)->name = name;
		}
		fn(*slot, value);
		if (!names[len])
			return;
	}
}

static void touch(struct policy *policy, uint32_t value)
{
	(void)policy;
	(void)value;
}

static int take_rule(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	struct collection *c = arg;
	struct sluice_nl_rule o;
	const char *names;
	void **slot;
	size_t len;
	int ret;

	if (!attrs[SLUICE_A_RULE])
		return 0;
	ret = sluice_nl_parse_rule(attrs[SLUICE_A_RULE], &o, err);
	if (ret)
		return ret;
	slot = sluice_map_slot(&c->rules, &o.id, sizeof(o.id));
	free(*slot);
	*slot = sluice_strdup(o.policy);
	each_policy(c, o.policy, touch, 0);
	for (names = o.policy;; names += len + 1) {
		struct policy *policy;

		len = strcspn(names, ",");
		policy = sluice_map_get(&c->policies, names, len);
		if (!policy)
			return 0;
		json_array_append_new(policy->rules, json_pack("{s:I, s:s}", "id", (json_int_t)o.id,
							       "rule", o.rule));
		if (!names[len])
			return 0;
	}
}

static void add_ruleset(struct policy *policy, uint32_t id)
{
	struct numbers *list = &policy->rulesets;

	/* The rules of one ruleset come one after the other. */
	if (!list->n || list->v[list->n - 1] != id)
		add_number(list, id);
}

static int take_ruleset(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	struct collection *c = arg;
	struct sluice_nl_ruleset o;
	struct numbers *ids;
	int ret;

	if (!attrs[SLUICE_A_RULESET])
		return 0;
	ret = sluice_nl_parse_ruleset(attrs[SLUICE_A_RULESET], &o, err);
	if (ret)
		return ret;
	ids = sluice_zalloc(sizeof(*ids));
	for (uint32_t i = 0; i < o.n_rule_ids; i++) {
		uint32_t id = sluice_nl_rule_id(&o, i);
		const char *names = sluice_map_get(&c->rules, &id, sizeof(id));

		add_number(ids, id);
		if (names)
			each_policy(c, names, add_ruleset, o.id);
	}
	*sluice_map_slot(&c->rulesets, &o.id, sizeof(o.id)) = ids;
	return 0;
}

static void count_endpoint(struct policy *policy, uint32_t ifindex)
{
	if (policy->last_endpoint != ifindex)
		policy->endpoints++;
	policy->last_endpoint = ifindex;
}

static int take_endpoint(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	struct collection *c = arg;
	struct sluice_nl_endpoint o;
	int ret;

	if (!attrs[SLUICE_A_ENDPOINT])
		return 0;
	ret = sluice_nl_parse_endpoint(attrs[SLUICE_A_ENDPOINT], &o, err);
	if (ret)
		return ret;
	for (int dir = 0; dir < 2; dir++) {
		uint32_t id = dir ? o.egress : o.ingress;
		const struct numbers *ids = sluice_map_get(&c->rulesets, &id, sizeof(id));

		for (size_t i = 0; ids && i < ids->n; i++) {
			const char *names =
				sluice_map_get(&c->rules, &ids->v[i], sizeof(ids->v[i]));

			if (names)
				each_policy(c, names, count_endpoint, o.ifindex);
		}
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct policy *const *)a)->name, (*(struct policy *const *)b)->name);
}

static json_t *policy_json(const struct policy *policy)
{
	json_t *rulesets = json_array();

	for (size_t i = 0; i < policy->rulesets.n; i++)
		json_array_append_new(rulesets, json_integer(policy->rulesets.v[i]));
	return json_pack("{s:s, s:O, s:o, s:I}", "policy", policy->name, "rules", policy->rules,
			 "rulesets", rulesets, "endpoints", (json_int_t)policy->endpoints);
}

static void print(struct collection *c, bool json)
{
	struct policy **sorted = sluice_zalloc(c->policies.n * sizeof(*sorted));
	struct sluice_map_entry *entry;
	struct sluice_map_iter it;
	struct json_list list;
	struct table table;
	size_t n = 0;

	for (entry = sluice_map_first(&c->policies, &it); entry; entry = sluice_map_next(&it))
		sorted[n++] = entry->value;
	qsort(sorted, n, sizeof(*sorted), by_name);
	if (json)
		json_list_begin(&list, stdout);
	else
		table_begin(&table, "POLICY", "RULES", "RULESETS", "ENDPOINTS");
	for (size_t i = 0; i < n; i++) {
		const struct policy *policy = sorted[i];

		if (json) {
			json_list_add(&list, policy_json(policy));
			continue;
		}
		table_add(&table, "%s", policy->name);
		table_add(&table, "%zu", json_array_size(policy->rules));
		table_add(&table, "%zu", policy->rulesets.n);
		table_add(&table, "%zu", policy->endpoints);
	}
	if (json)
		json_list_end(&list);
	else
		table_end(&table);
	free(sorted);
}

static void free_policy(void *value)
{
	struct policy *policy = value;

	free((char *)policy->name);
	json_decref(policy->rules);
	free(policy->rulesets.v);
	free(policy);
}

static void free_numbers(void *value)
{
	free(((struct numbers *)value)->v);
	free(value);
}

int run_get_policies(const struct invocation *inv, struct sluice_err *err)
{
	static const struct {
		uint8_t cmd;
		sluice_nl_handler handle;
	} dumps[] = {
		{ SLUICE_CMD_GET_RULE, take_rule },
		{ SLUICE_CMD_GET_RULESET, take_ruleset },
		{ SLUICE_CMD_GET_ENDPOINT, take_endpoint },
	};
	struct collection c = { 0 };
	struct sluice_nl nl;
	int ret;

	ret = sluice_nl_open(&nl, err);
	if (ret)
		return ret;
	for (size_t i = 0; !ret && i < sizeof(dumps) / sizeof(dumps[0]); i++)
		ret = sluice_nl_dump(&nl, sluice_nl_message(&nl, dumps[i].cmd, 0, err),
				     dumps[i].handle, &c, err);
	if (!ret)
		print(&c, inv->json);
	sluice_map_clear(&c.policies, free_policy);
	sluice_map_clear(&c.rules, free);
	sluice_map_clear(&c.rulesets, free_numbers);
	sluice_nl_close(&nl);
	return ret;
}
