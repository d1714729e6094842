/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the API server answers to lists and watches, cut into objects as it comes.
 *
 * A list ("{"kind":"PodList","metadata":{...},"items":[...]}") is handed on item by item, a watch event
 * by event, each as soon as its last byte is there; never is more than one held. What nobody reads
 * (managed fields, annotations, most of a pod's status) is left out while the bytes pass by, so that it costs
 * no memory however long it is; what is kept of an object may have KUBE_OBJECT_MAX bytes.
 *
 * Where that is a table of fields (kube_field): an object's members that are named in it are kept, others
 * left out. Lists are looked through: the table of "containers" is that of each container.
 */
#ifndef SLUICE_CTL_LIB_KUBE_STREAM_H
#define SLUICE_CTL_LIB_KUBE_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "ctl/lib/err.h"
#include "ctl/lib/model.h"
#include "ctl/lib/value.h"

/* The API server takes 3 MB, etcd 1.5 MiB. */
#define KUBE_OBJECT_MAX (4u << 20)

/* Ended by a name of NULL. The name "*" stands, as the last one, for all that is not named. */
struct kube_field {
	const char *name;
	/* What is kept of it; NULL: everything. */
	const struct kube_field *below;
	bool leave_out; /* of what "*" would keep */
};

/* What the model reads of this kind, and what tells one object from another. */
const struct kube_field *kube_fields(enum sluice_kind kind);

struct kube_stream_ops {
	/*
	 * LIST: what it has beside its items, "items" itself empty; once, before the items if its metadata stands
	 * there, else behind them, as in lists of custom resources.
	 */
	int (*head)(void *ctx, const struct sluice_value *list, struct sluice_err *err);
	/* An item, or an event ("type" and "object"). Valid during the call. */
	int (*object)(void *ctx, const struct sluice_value *value, struct sluice_err *err);
	/*
	 * One that cannot be read as JSON, or is too large. identity: what could be read of it, at best kind,
	 * and of metadata the name, namespace and resourceVersion (of an event: "type", and these in "object");
	 * NULL: nothing. Without such trouble it is never called.
	 */
	int (*refused)(void *ctx, const struct sluice_value *identity, const char *why,
		       struct sluice_err *err);
};

enum kube_stream_form { KUBE_LIST, KUBE_WATCH };

struct kube_stream;

/* fields: of each object; NULL: everything. The functions' negative results end the stream. */
struct kube_stream *kube_stream_new(enum kube_stream_form form, const struct kube_field *fields,
				    const struct kube_stream_ops *ops, void *ctx);
void kube_stream_free(struct kube_stream *stream);
/* The next bytes. After an error nothing more may be fed. EINVAL: this is not such a stream. */
int kube_stream_feed(struct kube_stream *stream, const char *data, size_t len,
		     struct sluice_err *err);
/* There are no more bytes. EINVAL: the list, or an event, is not complete. */
int kube_stream_end(struct kube_stream *stream, struct sluice_err *err);

#endif
