/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Keeps the model's objects of one kind in step with the API server: a list, then a watch from where the
 * list stood, and again from where the watch ended.
 *
 *	          +--- 410 Gone, "Expired" <----------------+
 *	          v                                         |
 *	   list (in pieces, or as a watch's initial events) --> synced --> watch --> (ends) --> watch
 *	          ^           |                                              |
 *	          +- back-off +- whatever else goes wrong: back-off, and on from the last resourceVersion
 *
 * The model keeps what it has while anything goes wrong. Objects are removed by a watch event that says
 * so, or because a complete list does not have them. A list is complete if it is of the kind asked for,
 * has a resourceVersion, not one older than what was seen, and no "continue". An empty list where there
 * were objects is believed when it comes twice. A list of Namespaces without "default" and "kube-system",
 * which every cluster has, is nobody's. The Node that we run on stays while we do. Objects of a list
 * that says only at its end what it is (custom resources: kube_stream.h) are held until then.
 *
 * An object that is refused keeps its last good version, and is told once.
 *
 * ClusterNetworkPolicy is defined by a CustomResourceDefinition that not every cluster has: the answer 404 says so,
 * where none are known. The kind is then complete, without objects, and asked for again by and by (first after a
 * second, in the end once in one to two minutes). While objects are known 404 is trouble like any other: the API server
 * deletes, and tells of, all of them before their definition is gone. One that is just starting answers 503
 * until it has read its definitions.
 */
#ifndef SLUICE_CTL_LIB_KUBE_REFLECTOR_H
#define SLUICE_CTL_LIB_KUBE_REFLECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/lib/kube_client.h"
#include "ctl/lib/kube_stream.h"
#include "ctl/lib/map.h"
#include "ctl/lib/model.h"

enum kube_note { KUBE_DEBUG, KUBE_INFO, KUBE_WARNING, KUBE_ERROR };

struct kube_reflector_ops {
	/* The model has changed. */
	void (*changed)(void *ctx);
	/* This kind is complete, for the first time. */
	void (*synced)(void *ctx);
	/* For the log: what happened, and with what (may be NULL); not twice for the same. */
	void (*note)(void *ctx, enum kube_note note, enum sluice_kind kind, const char *what,
		     const char *detail);
};

enum kube_phase { KUBE_WAITING, KUBE_LISTING, KUBE_WATCHING, KUBE_ABSENT };

/*
 * How a list is asked for. In pieces costs least: of 16,000 pods, 5,000 services and their slices (85 MB of
 * JSON) the API server 1.37 made 4 MB of gzip with 2.3 s of a processor, where the same as the initial
 * events of watches took 7.3 s and 7 MB, each event being compressed alone, or 4.6 s and 90 MB without. The
 * token that asks for the next piece may expire, if that comes five minutes later; then the list is asked
 * for as initial events, and where the server does not have that, as a whole.
 *
 * The token stands at the beginning of a piece, so that the next one is asked for while most of this one is still to be
 * read: the server makes it in the meantime. Of one list at most two pieces are under way.
 */
enum kube_list_form { KUBE_LIST_PIECES, KUBE_LIST_STREAMED, KUBE_LIST_WHOLE };

/* Times in ms. The defaults are those of kube_timing. */
struct kube_timing {
	int64_t backoff_min; /* 800, doubled each time, with as much again at random */
	int64_t backoff_max; /* 30000 */
	int64_t absent_max; /* 60000: the same of a kind that the cluster does not have */
	int64_t list_silence; /* 30000: a list that says nothing for so long is given up */
	/* 180000: so is a watch, if the server has sent a bookmark before, which it does each minute */
	int64_t watch_silence;
	int64_t watch_least; /* 300000: how long a watch is asked for, at least; at most twice as long */
};

extern const struct kube_timing kube_timing;

/* What is public here is for reading. */
struct kube_reflector {
	enum sluice_kind kind;
	enum kube_phase phase;
	bool synced; /* complete, once; or absent */
	bool absent; /* the cluster does not have this kind */
	char *version; /* resourceVersion up to which all is known; NULL: none */
	char *problem; /* what is wrong now; NULL: nothing */
	int64_t heard; /* loop_now() of the last byte; 0: never */
	uint64_t lists, watches, errors; /* begun, begun, failed */
	uint64_t events; /* objects that came, in lists too */
	uint64_t refused; /* those that were refused */
	struct sluice_map refusals; /* "ns/name" -> char *, why: those that stand */
	unsigned long refusals_version; /* changes whenever they have */

	struct loop *loop;
	struct kube_client *client;
	struct sluice_model *model;
	const char *node; /* this node's name */
	const struct kube_timing *timing;
	const struct kube_reflector_ops *ops;
	void *ctx;

	char *path; /* without the query's last part */
	struct kube_exchange {
		struct kube_reflector *reflector;
		struct kube_call *call; /* NULL: none, unless its answer is being dealt with */
		struct kube_stream *stream; /* NULL: free */
		bool headless; /* what the list is of, and of when, is not known yet */
		struct sluice_object *
			*held; /* what has come of it until then, each with a reference */
		size_t n_held, cap_held;
	} exchanges[2]; /* two pieces of a list, or one watch */
	struct timer retry;
	struct timer silence;
	int64_t backoff; /* the last one; 0: none */
	int64_t began; /* loop_now() of the call */
	bool want_list;
	enum kube_list_form list_form; /* of the next list */
	bool bookmarks; /* this server sends them */
	bool doubt; /* an empty list has been disbelieved once */
	/* Of the list under way: */
	char *list_version;
	char *next; /* the token "continue" of the piece to be asked for, or NULL */
	bool continued; /* not its first piece */
	bool sweeping; /* what it does not have is to be removed at its end */
	bool unnamed; /* it has something that could not be named: nothing is removed */
	struct sluice_map seen; /* "ns\0name", if sweeping */
	uint64_t n_listed;
	unsigned int landmarks; /* Namespaces that every cluster has */
	uint64_t n_events; /* of the call under way */
};

/* Of everything that is passed nothing is copied. timing may be NULL. */
void kube_reflector_init(struct kube_reflector *r, enum sluice_kind kind, struct loop *loop,
			 struct kube_client *client, struct sluice_model *model, const char *node,
			 const struct kube_timing *timing, const struct kube_reflector_ops *ops,
			 void *ctx);
void kube_reflector_start(struct kube_reflector *r);
/* Before the client is freed. The model keeps its objects. */
void kube_reflector_exit(struct kube_reflector *r);

#endif
