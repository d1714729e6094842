/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Control objects in memory: what the data planes share that live in userspace (dataplane_memory.c,
 * dataplane_bpf.c).
 *
 * Each kind of object is a table from its key to a copy. A transaction collects copies and
 * deletions in the order of their arrival and refuses what is wrong with one by itself, as the kernel
 * module does and with the same errno. Sealing it makes of them one change for each key that was
 * written, with the object as it was and as it will be, and refuses what is wrong with the whole. Nothing
 * has happened to the tables by then: the data plane does what it has to do for the changes, and applies or
 * drops them.
 *
 *	sluice_dp_begin()  ops->set_..., ops->del_...  sluice_dp_seal()  sluice_dp_apply()
 *	                                                              \  sluice_dp_drop()
 *
 * An object that is written as it is ("same") is a change too, because its revision is: apply leaves the
 * old one in its table and frees the new one.
 */
#ifndef SLUICE_CTL_LIB_DATAPLANE_OBJECTS_H
#define SLUICE_CTL_LIB_DATAPLANE_OBJECTS_H

#include <stddef.h>
#include <stdint.h>

#include "core/service.h"
#include "ctl/lib/dataplane.h"
#include "ctl/lib/map.h"

enum sluice_dp_kind {
	SLUICE_DP_SERVICE, /* key: struct sluice_service_key */
	SLUICE_DP_PEER, /* key: struct sluice_dp_prefix */
	SLUICE_DP_RULE, /* key: u32 */
	SLUICE_DP_RULESET, /* key: u32 */
	SLUICE_DP_ENDPOINT, /* key: u32 */
	SLUICE_DP_UPLINK, /* key: u32 */
	SLUICE_DP_KINDS
};

struct sluice_dp_prefix {
	struct sluice_addr addr;
	uint8_t family;
	uint8_t plen;
	uint16_t pad; /* zero */
};

#define SLUICE_DP_KEY 20

struct sluice_dp_object {
	enum sluice_dp_kind kind;
	bool delete; /* of a pending one: the key alone is there */
	unsigned char key[SLUICE_DP_KEY];
	size_t key_len;
	uint32_t revision; /* that last wrote it, also if that changed nothing */
	union {
		struct sluice_dp_service service; /* its backends are sorted */
		struct sluice_dp_peer peer;
		struct sluice_dp_rule rule;
		struct sluice_dp_ruleset ruleset;
		struct sluice_dp_endpoint endpoint;
		struct sluice_dp_uplink uplink;
	};
};

struct sluice_dp_change {
	enum sluice_dp_kind kind;
	bool same;
	struct sluice_dp_object *old; /* NULL: it comes */
	struct sluice_dp_object *new; /* NULL: it goes */
};

/* First member of a data plane that is made of them. All zero but for dp.ops is an empty one. */
struct sluice_dp_objects {
	struct sluice_dataplane dp;
	struct sluice_map tables[SLUICE_DP_KINDS]; /* key -> struct sluice_dp_object */
	bool open; /* a transaction */
	struct sluice_dp_object **pending;
	size_t n_pending, cap_pending;
	struct sluice_map changed[SLUICE_DP_KINDS]; /* sealed: key -> struct sluice_dp_change */
};

/* The set and del members of struct sluice_dataplane_ops. */
#define SLUICE_DP_OBJECTS_OPS                                                           \
	.set_service = sluice_dp_set_service, .del_service = sluice_dp_del_service,     \
	.set_peer = sluice_dp_set_peer, .del_peer = sluice_dp_del_peer,                 \
	.set_rule = sluice_dp_set_rule, .del_rule = sluice_dp_del_rule,                 \
	.set_ruleset = sluice_dp_set_ruleset, .del_ruleset = sluice_dp_del_ruleset,     \
	.set_endpoint = sluice_dp_set_endpoint, .del_endpoint = sluice_dp_del_endpoint, \
	.set_uplink = sluice_dp_set_uplink, .del_uplink = sluice_dp_del_uplink
int sluice_dp_set_service(struct sluice_dataplane *dp, const struct sluice_dp_service *o,
			  struct sluice_err *err);
int sluice_dp_del_service(struct sluice_dataplane *dp, const struct sluice_dp_service *o,
			  struct sluice_err *err);
int sluice_dp_set_peer(struct sluice_dataplane *dp, const struct sluice_dp_peer *o,
		       struct sluice_err *err);
int sluice_dp_del_peer(struct sluice_dataplane *dp, const struct sluice_dp_peer *o,
		       struct sluice_err *err);
int sluice_dp_set_rule(struct sluice_dataplane *dp, const struct sluice_dp_rule *o,
		       struct sluice_err *err);
int sluice_dp_del_rule(struct sluice_dataplane *dp, const struct sluice_dp_rule *o,
		       struct sluice_err *err);
int sluice_dp_set_ruleset(struct sluice_dataplane *dp, const struct sluice_dp_ruleset *o,
			  struct sluice_err *err);
int sluice_dp_del_ruleset(struct sluice_dataplane *dp, const struct sluice_dp_ruleset *o,
			  struct sluice_err *err);
int sluice_dp_set_endpoint(struct sluice_dataplane *dp, const struct sluice_dp_endpoint *o,
			   struct sluice_err *err);
int sluice_dp_del_endpoint(struct sluice_dataplane *dp, const struct sluice_dp_endpoint *o,
			   struct sluice_err *err);
int sluice_dp_set_uplink(struct sluice_dataplane *dp, const struct sluice_dp_uplink *o,
			 struct sluice_err *err);
int sluice_dp_del_uplink(struct sluice_dataplane *dp, const struct sluice_dp_uplink *o,
			 struct sluice_err *err);

int sluice_dp_begin(struct sluice_dp_objects *o, struct sluice_err *err);
/*
 * Fills changed; sweep: what the transaction did not write is a change too, it goes. Errors: EINVAL
 * (no transaction), ENOENT (an endpoint's ruleset), EADDRINUSE (an address of two endpoints). The transaction
 * stays open, also after an error: drop it.
 */
int sluice_dp_seal(struct sluice_dp_objects *o, bool sweep, struct sluice_err *err);
/* The changes are what the tables hold, written by this revision; the transaction is over. */
void sluice_dp_apply(struct sluice_dp_objects *o, uint32_t revision);
void sluice_dp_drop(struct sluice_dp_objects *o);
/* Forgets everything. */
void sluice_dp_clear(struct sluice_dp_objects *o);

/* Puts a copy into its table, beside all transactions: for those who learn what is there. */
struct sluice_dp_object *sluice_dp_learn(struct sluice_dp_objects *o, enum sluice_dp_kind kind,
					 const void *object, uint32_t revision);

/* The object as it is, and as the sealed transaction would leave it; NULL: not there. */
struct sluice_dp_object *sluice_dp_before(const struct sluice_dp_objects *o,
					  enum sluice_dp_kind kind, const void *key, size_t len);
struct sluice_dp_object *sluice_dp_after(const struct sluice_dp_objects *o,
					 enum sluice_dp_kind kind, const void *key, size_t len);

void sluice_dp_service_key(const struct sluice_dp_service *o, struct sluice_service_key *key);
void sluice_dp_prefix_key(const struct sluice_addr *addr, uint8_t family, uint8_t plen,
			  struct sluice_dp_prefix *key);

bool sluice_dp_same_backends(const struct sluice_dp_service *a, const struct sluice_dp_service *b);

/* Everything in the tables as sorted lines of text, to be freed: equal texts, equal content. */
char *sluice_dp_dump(const struct sluice_dp_objects *o);

#endif
