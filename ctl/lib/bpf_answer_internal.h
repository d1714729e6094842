/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the answerer share. bpf_answer.c opens maps and hands requests on to the file of the noun
 * that they are about.
 */
#ifndef SLUICE_CTL_LIB_BPF_ANSWER_INTERNAL_H
#define SLUICE_CTL_LIB_BPF_ANSWER_INTERNAL_H

#include <net/if.h>

#include "bpf/layout.h"
#include "ctl/lib/bpf_answer.h"
#include "ctl/lib/bpf_map.h"
#include "ctl/lib/bpf_object.h"
#include "ctl/lib/dataplane.h"
#include "ctl/lib/nl_object.h"

struct sluice_bpf_events;
struct sluice_bpf_conn_table;

struct sluice_bpf_answerer {
	char dir[SLUICE_BPF_PATH];
	struct sluice_bpf_map maps[SLUICE_BPF_MAP_COUNT]; /* opened when they are first asked for */
	const struct sluice_bpf_control *control; /* mapped, for reading */
	struct nl_msg *msg; /* the answer that is being built; used again for each */
	struct sluice_bpf_conn_table *tables[2]; /* IPv4, IPv6; kept from one request to the next */
	struct sluice_bpf_events *events; /* NULL: not subscribed */
};

/* A request on its way. */
struct sluice_bpf_request {
	struct sluice_bpf_answerer *a;
	const struct nlmsghdr *hdr;
	struct nlattr *attrs[SLUICE_A_MAX + 1]; /* of a repeated one the last */
	uint32_t revision; /* that it is answered as of */
	sluice_nl_handler handle; /* may be NULL */
	void *arg;
	struct sluice_err *err;
};

/*
 * Building an answer: start, one or more sluice_nl_put_*() into the message, send. send() hands it to the
 * asker; good: did all fit?
 */
struct nl_msg *sluice_bpf_answer_start(struct sluice_bpf_answerer *a);
int sluice_bpf_answer_send(struct sluice_bpf_request *r, bool good);

/*
 * Was there a commit since the request was begun? Then what it still looks for may be gone; it returns a positive
 * number, and is asked for again.
 */
bool sluice_bpf_answer_outdated(const struct sluice_bpf_request *r);

/* Refuses with the words of an extended ack; attr: of the request, or NULL. Returns -code. */
int sluice_bpf_answer_refuse(struct sluice_bpf_request *r, const struct nlattr *attr, int code,
			     const char *why);

/* A map, opened and its layout checked when it is first asked for; NULL with err set. */
const struct sluice_bpf_map *sluice_bpf_answer_map(struct sluice_bpf_answerer *a,
						   enum sluice_bpf_which_map id,
						   struct sluice_err *err);

/* 0, -ENOENT (without *err), or another negative errno. Values with a lock are copied under it. */
int sluice_bpf_answer_find(struct sluice_bpf_answerer *a, enum sluice_bpf_which_map id,
			   const void *key, void *value, struct sluice_err *err);

/*
 * Calls each() with every element of a hash map until it returns non-zero. Elements that come or go meanwhile
 * may be missed, all others come once.
 */
int sluice_bpf_answer_each(struct sluice_bpf_request *r, enum sluice_bpf_which_map id,
			   int (*each)(struct sluice_bpf_request *r, const void *key,
				       const void *value, void *arg),
			   void *arg);

/* The map in a place of an array of maps: a file descriptor, -ENOENT (without *err), or another negative errno. */
int sluice_bpf_answer_inner(struct sluice_bpf_answerer *a, enum sluice_bpf_which_map id,
			    uint32_t place, struct sluice_err *err);

/* The memory of a map, as sluice_bpf_map_memory() gives it. */
void *sluice_bpf_answer_memory(struct sluice_bpf_answerer *a, enum sluice_bpf_which_map id,
			       size_t size, bool write, struct sluice_err *err);

/* Now, in ticks of layout.h; and so many of them in seconds, cut. */
uint32_t sluice_bpf_answer_now(void);

static inline uint64_t sluice_bpf_tick_seconds(uint32_t ticks)
{
	return ((uint64_t)ticks << 20) / 1000000000;
}

/* The value of "vips", "addrs" or "hosts"; SLUICE_BPF_ABSENT where there is none at this revision. */
int sluice_bpf_answer_number(struct sluice_bpf_request *r, enum sluice_bpf_which_map id,
			     const struct sluice_addr *addr, uint8_t family, uint32_t *value);

/* The node's own addresses, of this namespace, as of now. */
struct sluice_bpf_node_addrs {
	struct sluice_dp_addr *v;
	size_t n;
};

int sluice_bpf_node_addrs_load(struct sluice_bpf_node_addrs *addrs, struct sluice_err *err);
bool sluice_bpf_node_has(const struct sluice_bpf_node_addrs *addrs, const struct sluice_addr *addr,
			 uint8_t family);
void sluice_bpf_node_addrs_clear(struct sluice_bpf_node_addrs *addrs);

/* bpf_answer_service.c. The info is empty where there is none. */
int sluice_bpf_service_backend(struct sluice_bpf_request *r, uint32_t set, uint32_t index,
			       struct sluice_dp_backend *backend);
int sluice_bpf_service_info(struct sluice_bpf_request *r, const struct sluice_service_key *key,
			    struct sluice_bpf_service_info *info);

/* bpf_answer_peer.c: the class that a packet finds for an address. */
int sluice_bpf_peer_class(struct sluice_bpf_request *r, const struct sluice_addr *addr,
			  uint8_t family, uint32_t *class);

/* bpf_answer_rule.c: the blob in a slot, checked, to be freed; NULL: there is none. */
int sluice_bpf_ruleset(struct sluice_bpf_request *r, uint32_t slot, struct sluice_ruleset **blob);

/* bpf_answer_endpoint.c */
struct sluice_bpf_endpoint_view {
	uint32_t ifindex;
	char ifname[IF_NAMESIZE];
	bool open;
	struct sluice_bpf_endpoint_info info;
};

int sluice_bpf_each_endpoint(struct sluice_bpf_request *r,
			     int (*each)(struct sluice_bpf_request *r,
					 const struct sluice_bpf_endpoint_view *ep, void *arg),
			     void *arg);
/* Of one endpoint: SLUICE_BPF_ENDPOINT_*, 0 if it is not there; slots of rulesets: egress, ingress. */
int sluice_bpf_endpoint_flags(struct sluice_bpf_request *r, uint32_t ifindex, uint32_t *flags,
			      uint32_t slots[2]);

/* bpf_answer_conn.c: attributes of a connection as of a moment, in ticks. */
void sluice_bpf_conn_view(const struct sluice_bpf_conn *c, const struct sluice_tuple tuple[2],
			  uint32_t now, struct sluice_nl_conn *o);
/* A tuple of the request that must name a packet: both addresses and the protocol. */
int sluice_bpf_answer_tuple(struct sluice_bpf_request *r, struct nlattr *attr,
			    struct sluice_tuple *t);

/* One for each command. 0, a positive number (see above), or a negative errno. */
int sluice_bpf_answer_info(struct sluice_bpf_request *r);
int sluice_bpf_answer_stats(struct sluice_bpf_request *r);
int sluice_bpf_answer_services(struct sluice_bpf_request *r);
int sluice_bpf_answer_peers(struct sluice_bpf_request *r);
int sluice_bpf_answer_rules(struct sluice_bpf_request *r);
int sluice_bpf_answer_rulesets(struct sluice_bpf_request *r);
int sluice_bpf_answer_endpoints(struct sluice_bpf_request *r);
int sluice_bpf_answer_uplinks(struct sluice_bpf_request *r);
int sluice_bpf_answer_conns(struct sluice_bpf_request *r);
int sluice_bpf_answer_flush(struct sluice_bpf_request *r);
int sluice_bpf_answer_restore(struct sluice_bpf_request *r);
int sluice_bpf_answer_config(struct sluice_bpf_request *r);
int sluice_bpf_answer_trace(struct sluice_bpf_request *r);

/* bpf_answer_conn.c: lets go of the tables. */
void sluice_bpf_answer_close_tables(struct sluice_bpf_answerer *a);

/* bpf_answer_event.c: the end of a subscription. */
void sluice_bpf_answer_unsubscribe(struct sluice_bpf_answerer *a);

#endif
