// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluicectl/rule_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/nl_object.h"

static void free_name(void *value)
{
	struct rule_name *name = value;

	free(name->policy);
	free(name->rule);
	free(name);
}

/* To be freed. */
static char *name_key(const char *policy, const char *rule)
{
	char *key;

	if (asprintf(&key, "%s\n%s", policy, rule) < 0)
		sluice_alloc_check(NULL);
	return key;
}

static int take_rule(struct nlattr **attrs, void *arg, struct sluice_err *err)
{
	struct rule_names *names = arg;
	struct sluice_nl_rule rule;
	struct rule_name *name;
	void **slot;
	char *key;
	int ret;

	if (!attrs[SLUICE_A_RULE])
		return 0;
	ret = sluice_nl_parse_rule(attrs[SLUICE_A_RULE], &rule, err);
	if (ret)
		return ret;
	name = sluice_zalloc(sizeof(*name));
	name->id = rule.id;
	name->policy = sluice_strdup(rule.policy);
	name->rule = sluice_strdup(rule.rule);
	slot = sluice_map_slot(&names->by_id, &rule.id, sizeof(rule.id));
	if (*slot) {
		struct rule_name *old = *slot;

		key = name_key(old->policy, old->rule);
		sluice_map_del(&names->by_name, key, strlen(key));
		free(key);
		free_name(old);
	}
	*slot = name;
	key = name_key(rule.policy, rule.rule);
	*sluice_map_slot(&names->by_name, key, strlen(key)) = name;
	free(key);
	return 0;
}

int rule_names_load(struct rule_names *names, struct sluice_nl *nl, struct sluice_err *err)
{
	return sluice_nl_dump(nl, sluice_nl_message(nl, SLUICE_CMD_GET_RULE, 0, err), take_rule,
			      names, err);
}

const struct rule_name *rule_names_find(const struct rule_names *names, uint32_t id)
{
	return sluice_map_get(&names->by_id, &id, sizeof(id));
}

uint32_t rule_names_id(const struct rule_names *names, const char *policy, const char *rule)
{
	char *key = name_key(policy, rule);
	const struct rule_name *name = sluice_map_get(&names->by_name, key, strlen(key));

	free(key);
	return name ? name->id : 0;
}

void rule_names_clear(struct rule_names *names)
{
	sluice_map_clear(&names->by_name, NULL);
	sluice_map_clear(&names->by_id, free_name);
}

json_t *rule_names_json(const struct rule_names *names, uint32_t id)
{
	const struct rule_name *name = rule_names_find(names, id);

	if (!id)
		return json_null();
	return json_pack("{s:I, s:s?, s:s?}", "id", (json_int_t)id, "policy",
			 name ? name->policy : NULL, "rule", name ? name->rule : NULL);
}

const char *rule_names_text(const struct rule_names *names, uint32_t id, char *buf, size_t size)
{
	const struct rule_name *name = rule_names_find(names, id);

	if (name)
		snprintf(buf, size, "%s %s", name->policy, name->rule);
	else
		snprintf(buf, size, "rule %u", id);
	return buf;
}
