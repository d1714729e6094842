/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Exec plugins: a program that a kubeconfig names prints credentials (client.authentication.k8s.io
 * ExecCredential). It runs beside the event loop, without a terminal, for a minute at most; what it says on
 * stderr goes to ours.
 */
#ifndef SLUICE_CTL_LIB_KUBE_EXEC_H
#define SLUICE_CTL_LIB_KUBE_EXEC_H

#include <stdbool.h>
#include <time.h>

#include "ctl/lib/err.h"
#include "ctl/lib/kube_config.h"
#include "ctl/lib/loop.h"

#define KUBE_EXEC_MS 60000
#define KUBE_EXEC_MAX (1u << 20) /* of its output */

struct kube_credential {
	char *token; /* or NULL */
	struct kube_pem cert; /* as data, or empty */
	struct kube_pem key;
	time_t expires; /* 0: it does not say */
};

bool kube_credential_is_set(const struct kube_credential *credential);
void kube_credential_clear(struct kube_credential *credential);

struct kube_exec_run;

/*
 * done() is called once, never from within; the run is over then. It takes over what the credential holds.
 * err is NULL if it is good; otherwise the credential is NULL.
 */
struct kube_exec_run *kube_exec_start(struct loop *loop, const struct kube_config *config,
				      void (*done)(void *ctx, struct kube_credential *credential,
						   const struct sluice_err *err),
				      void *ctx);
/* Kills the program; done() is not called. */
void kube_exec_cancel(struct kube_exec_run *run);

/* What a plugin printed. EINVAL: it is no ExecCredential with a credential in it, of this apiVersion. */
int kube_exec_parse(const char *text, size_t len, const char *api_version,
		    struct kube_credential *out, struct sluice_err *err);

#endif
