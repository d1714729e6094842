/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Probes: questions about one packet in the words of people, and their answers. The JSON of both is
 * a contract that other programs use:
 *
 *	{"from":"shop/web","to":"svc:shop/api","protocol":"TCP","port":80}
 *	{"verdict":"allow","reason":"policy-allow","egress":{...},"ingress":{...},
 *	 "service":"shop/api:http","backend":"10.1.0.4:8080"}
 *
 * egress and ingress are null where that direction is not judged; else they have verdict, reason,
 * and policy and rule, which are null when no rule decided. verdict and reason are the words of
 * core/verdict.h.
 */
#ifndef SLUICE_CTL_LIB_PROBE_H
#define SLUICE_CTL_LIB_PROBE_H

#include <jansson.h>

#include "ctl/lib/dataplane_memory.h"
#include "ctl/lib/err.h"
#include "ctl/lib/model.h"

/* Texts belong to the caller. */
struct sluice_probe {
	const char *from; /* "namespace/pod" or an address */
	const char *to; /* these, or "svc:namespace/name" */
	const char *protocol; /* TCP, UDP, SCTP, ICMP, ICMPv6, in any case; NULL: TCP */
	const char *port; /* a number, or the name of a port of `to`; NULL for ICMP: echo request */
};

struct sluice_probe_side {
	uint8_t verdict; /* SLUICE_VERDICT_NONE: not judged */
	uint8_t reason;
	const char *policy; /* NULL: no rule decided */
	const char *rule;
};

/* Texts live until the data plane changes. */
struct sluice_probe_result {
	uint8_t verdict;
	uint8_t reason;
	struct sluice_probe_side egress;
	struct sluice_probe_side ingress;
	const char *service; /* NULL: none */
	char backend[SLUICE_ADDR_TEXT]; /* "": none */
};

/* One line's object to a probe; its texts belong to json. port_text holds a numeric port. */
int sluice_probe_from_json(const json_t *json, struct sluice_probe *probe, char port_text[16],
			   struct sluice_err *err);
json_t *sluice_probe_result_json(const struct sluice_probe_result *result);

/* Answers from a model and the data plane that was compiled from it. */
struct sluice_prober;

/*
 * node: the node whose point of view is taken, or NULL: a pod's node is the one that its
 * spec.nodeName says, or the only one there is. The model must not change during its life.
 */
struct sluice_prober *sluice_prober_new(struct sluice_model *model,
					const struct sluice_dataplane *memory, const char *node);
void sluice_prober_free(struct sluice_prober *prober);

/* The packet of a probe. Errors: EINVAL, ENOENT (an unknown pod, service, port name). */
int sluice_probe_resolve(const struct sluice_prober *prober, const struct sluice_probe *probe,
			 struct sluice_memory_query *query, struct sluice_err *err);
/* query gets the packet that was asked for, with its flags; may be NULL, as may answer. */
int sluice_probe_run(const struct sluice_prober *prober, const struct sluice_probe *probe,
		     struct sluice_probe_result *result, struct sluice_memory_query *query,
		     struct sluice_memory_answer *answer, struct sluice_err *err);
void sluice_probe_fill(const struct sluice_prober *prober, const struct sluice_memory_query *query,
		       const struct sluice_memory_answer *answer,
		       struct sluice_probe_result *result);

#endif
