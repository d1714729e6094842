/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A data plane in memory: for trace without a node, and for tests.
 *
 * It holds what the kernel would hold, refuses what the kernel would refuse, applies a transaction
 * as a whole or not at all, and answers for one first packet what the kernel would decide, with the
 * same steps and the same core/ functions.
 */
#ifndef SLUICE_CTL_LIB_DATAPLANE_MEMORY_H
#define SLUICE_CTL_LIB_DATAPLANE_MEMORY_H

#include <stdint.h>

#include "core/judge.h"
#include "ctl/lib/dataplane.h"

struct sluice_dataplane *sluice_memory_new(void);

struct sluice_memory_query {
	struct sluice_addr src;
	struct sluice_addr dst;
	uint8_t family;
	uint8_t proto;
	uint16_t port; /* host byte order; see sluice_port_key() */
	uint32_t random; /* chooses the backend */
	uint32_t flags; /* SLUICE_JUDGE_SRC_NODE, SLUICE_JUDGE_DST_NODE: what only the node knows */
};

struct sluice_memory_answer {
	struct sluice_judgement judgement;
	const struct sluice_dp_service *service; /* NULL: not a service, or none on that port */
	const struct sluice_dp_backend *backend; /* NULL: none was chosen */
	const struct sluice_dp_endpoint *src; /* NULL: not a pod of this node */
	const struct sluice_dp_endpoint *dst; /* after NAT */
};

/*
 * What becomes of a connection's first packet. Pointers in the answer live until the next commit.
 */
void sluice_memory_query(const struct sluice_dataplane *dp, const struct sluice_memory_query *q,
			 struct sluice_memory_answer *a);
/* The same for the backend that the caller names, to see them all. */
void sluice_memory_query_backend(const struct sluice_dataplane *dp,
				 const struct sluice_memory_query *q,
				 const struct sluice_dp_service *service, uint32_t index,
				 struct sluice_memory_answer *a);
/* The name of a rule, NULL for 0 and for ids that are not there. */
const struct sluice_dp_rule *sluice_memory_rule(const struct sluice_dataplane *dp, uint32_t id);
uint32_t sluice_memory_class(const struct sluice_dataplane *dp, const struct sluice_addr *addr,
			     uint8_t family);
/* Everything it holds as sorted lines of text, to be freed: equal texts, equal content. */
char *sluice_memory_dump(const struct sluice_dataplane *dp);

#endif
