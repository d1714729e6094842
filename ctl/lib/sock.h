/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Client side of sluiced's unix socket, used by sluice-cni and sluicectl.
 *
 * The protocol is one line of JSON for a request, one line of JSON for its answer, any number of
 * pairs on one connection. An answer is {"ok":true,...} or
 * {"ok":false,"error":{"code":"<word>","message":"..."}}.
 *
 * Times are milliseconds. JSON objects returned belong to the caller (json_decref).
 *
 * Errors (err->code):
 *	ECONNREFUSED	no sluiced listens there (no socket, a stale one, or no right to it)
 *	ECONNRESET	sluiced closed the connection in the middle of an answer
 *	ETIMEDOUT	no answer in time, or sluiced answered "timeout"
 *	EPROTO		the answer is not one JSON object of the form above, or is too long
 * and, where sluiced itself refused:
 *	EINVAL "bad-request", EAGAIN "not-ready", ENOENT "not-found", ESRCH "unknown-pod",
 *	EIO "kernel" and every word this client does not know.
 */
#ifndef SLUICE_CTL_LIB_SOCK_H
#define SLUICE_CTL_LIB_SOCK_H

#include <jansson.h>
#include <stddef.h>

#include "ctl/lib/err.h"

#define SLUICE_SOCK_DEFAULT "/run/sluice/sluiced.sock"
#define SLUICE_SOCK_ENV "SLUICE_SOCKET"

/* Longest answer taken: a node of 250,000 services lists itself in about 40 MB. */
#define SLUICE_SOCK_LINE_MAX (256u << 20)

struct sluice_sock {
	int fd; /* -1 when closed */
	char *buf; /* bytes received and not yet returned */
	size_t len; /* of those */
	size_t cap;
};

#define SLUICE_SOCK_INIT { -1, NULL, 0, 0 }

/* The path to use: the one given, else $SLUICE_SOCKET, else the default. Never NULL. */
const char *sluice_sock_path(const char *given);

int sluice_sock_connect(struct sluice_sock *sock, const char *path, int timeout,
			struct sluice_err *err);
int sluice_sock_send(struct sluice_sock *sock, const json_t *request, int timeout,
		     struct sluice_err *err);
int sluice_sock_receive(struct sluice_sock *sock, json_t **answer, int timeout,
			struct sluice_err *err);
void sluice_sock_close(struct sluice_sock *sock);

/*
 * Send one request and wait for its answer. An answer with "ok":false becomes an error. answer may
 * be NULL when "ok" is all that matters; it is untouched on error.
 */
int sluice_sock_ask(struct sluice_sock *sock, const json_t *request, json_t **answer, int timeout,
		    struct sluice_err *err);

/* Connect, ask, close: for the programs that have one question. */
int sluice_sock_call(const char *path, const json_t *request, json_t **answer, int timeout,
		     struct sluice_err *err);

#endif
