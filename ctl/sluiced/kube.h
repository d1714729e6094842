/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The Kubernetes API as the source of objects: one reflector for each kind that the model has, all on
 * one client. Endpoints objects are not asked for: the API server mirrors them into EndpointSlices.
 */
#ifndef SLUICED_KUBE_H
#define SLUICED_KUBE_H

#include <jansson.h>
#include <stdbool.h>

#include "ctl/lib/err.h"
#include "ctl/lib/kube_client.h"
#include "ctl/lib/loop.h"
#include "ctl/lib/model.h"

struct kube_source;

/*
 * Begins at once; what comes goes into the model, and changed() is called. kubeconfig NULL: in-cluster
 * credentials. An API server that cannot be reached is no error.
 */
int kube_source_new(struct loop *loop, struct sluice_model *model, const char *kubeconfig,
		    const char *node, void (*changed)(void *ctx), void *ctx,
		    struct kube_source **out, struct sluice_err *err);
void kube_source_free(struct kube_source *source);

/* Has every kind been complete once? */
bool kube_source_synced(const struct kube_source *source);
/* What is missing for that, for people; to be freed. */
char *kube_source_waits_for(const struct kube_source *source);
/* For requests of others. */
struct kube_client *kube_source_client(struct kube_source *source);

/* The part "source" of the status; and what is wrong, added to its "errors". */
json_t *kube_source_status(const struct kube_source *source);
void kube_source_errors(const struct kube_source *source, json_t *errors);

#endif
