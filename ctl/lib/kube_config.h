/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the API server is, and who we are there: a kubeconfig's current context, or what the kubelet
 * gives a pod.
 *
 * Data that is given by a file's name is read again whenever it is used: tokens and certificates are
 * rotated by others. The server's certificate is always verified, so a kubeconfig that says
 * insecure-skip-tls-verify is refused, as are a server that is not https and ways to log in that we do not
 * have (basic authentication, auth-provider, impersonation), by the name of the field.
 */
#ifndef SLUICE_CTL_LIB_KUBE_CONFIG_H
#define SLUICE_CTL_LIB_KUBE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "ctl/lib/err.h"

/* A PEM text, or the name of a file of it; at most one of them is set. */
struct kube_pem {
	char *file;
	char *data;
	size_t len; /* of data */
};

/* users[].user.exec */
struct kube_exec {
	char *command; /* NULL: there is none */
	char *api_version; /* client.authentication.k8s.io/v1 or v1beta1 */
	char **args; /* NULL-ended, may be NULL */
	char **env; /* name, value, name, value, ..., NULL-ended, may be NULL */
	bool provide_cluster_info;
};

struct kube_config {
	char *source; /* the kubeconfig's name, or "in-cluster", for people */
	char *server; /* https://host[:port][/path], no slash at the end */
	char *tls_server_name; /* that the certificate shall have instead of server's; or NULL */
	char *proxy; /* proxy-url, or NULL */
	bool no_compression;
	struct kube_pem ca; /* neither: the system's */
	struct kube_pem cert;
	struct kube_pem key;
	char *token; /* NULL: none */
	char *token_file; /* NULL: none; counts more than token */
	struct kube_exec exec;
};

/* file NULL: in-cluster, by KUBERNETES_SERVICE_HOST and _PORT and the service account's files. */
int kube_config_load(const char *file, struct kube_config **out, struct sluice_err *err);
void kube_config_free(struct kube_config *config);

/* The PEM text itself, read from its file if it is given by one; to be freed. */
int kube_pem_text(const struct kube_pem *pem, char **text, size_t *len, struct sluice_err *err);
/* Frees what it holds, and makes it empty. */
void kube_pem_clear(struct kube_pem *pem);

/*
 * The bearer token for a request now, read from its file if there is one; NULL when there is none (an exec
 * plugin's is not looked at). To be freed.
 */
int kube_config_token(const struct kube_config *config, char **token, struct sluice_err *err);

#endif
