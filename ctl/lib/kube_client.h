/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Requests to the Kubernetes API server: libcurl's multi interface on the event loop.
 *
 * A client is one server and one identity (kube_config.h). Connections are kept and used again, by one
 * request at a time. Credentials are looked up for each request, so that a
 * rotated token or certificate is used from the next request on, without a restart; a request waits for an
 * exec plugin where one has to run first.
 *
 *	static void sent(void *ctx, const struct kube_answer *answer)
 *	{
 *		if (!kube_answer_ok(answer))
 *			log_warning("cannot send an event", "error", answer->error);
 *	}
 *	...
 *	kube_client_request(client, &(struct kube_request){
 *		.method = "POST", .path = "/api/v1/namespaces/shop/events",
 *		.content_type = "application/json", .body = text, .body_len = strlen(text),
 *		.done = sent, .ctx = this });
 *
 * Nothing here retries: who asks knows whether and when. One thread owns a client; callbacks run in
 * the loop.
 */
#ifndef SLUICE_CTL_LIB_KUBE_CLIENT_H
#define SLUICE_CTL_LIB_KUBE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/lib/err.h"
#include "ctl/lib/kube_config.h"
#include "ctl/lib/loop.h"

/* What a request without data() may be answered; more is an error. */
#define KUBE_ANSWER_MAX (1u << 20)
#define KUBE_TIMEOUT_MS 30000

struct kube_client;
struct kube_call; /* a request under way */

struct kube_answer {
	int status; /* of HTTP; 0: there was no whole answer */
	/*
	 * What went wrong, for people: of the transport, or what the server's Status object says. NULL
	 * exactly if the answer is whole and its status is 2xx.
	 */
	const char *error;
	const char *
		reason; /* the Status object's word, "Expired", "Invalid", ...; "" when it says none */
	const char *body; /* ends in a NUL that does not count; "" for a request with data() */
	size_t len;
	int64_t retry_after; /* ms that the server asks for by Retry-After; 0: it does not */
};

static inline bool kube_answer_ok(const struct kube_answer *answer)
{
	return !answer->error;
}

struct kube_request {
	const char *method; /* NULL: GET */
	const char *path; /* with the query: "/api/v1/pods?limit=500" */
	const char *content_type; /* of the body; NULL without one */
	const void *body; /* copied */
	size_t body_len;
	int64_t timeout; /* ms for all of it; 0: KUBE_TIMEOUT_MS */
	/*
	 * Gets the body of a 2xx answer as it comes, instead of answer->body; first with no byte, when the
	 * server has agreed. May cancel the call, from then on nothing is called any more. May be NULL.
	 */
	void (*data)(void *ctx, const char *data, size_t len);
	/* Called once, never from within kube_client_request(). The answer is valid during the call. */
	void (*done)(void *ctx, const struct kube_answer *answer);
	void *ctx;
};

/* Takes the config over, which is freed with the client, also if this fails. */
int kube_client_new(struct loop *loop, struct kube_config *config, struct kube_client **out,
		    struct sluice_err *err);
/* Requests under way are forgotten, without done(). */
void kube_client_free(struct kube_client *client);

/* Everything in the request is copied but ctx. Never fails: errors are the answer. */
struct kube_call *kube_client_request(struct kube_client *client,
				      const struct kube_request *request);
/* done() is not called. The call may not be used afterwards, nor after done() was called. */
void kube_client_cancel(struct kube_call *call);

/* "https://10.0.0.1:6443" (no slash at the end), for people. */
const char *kube_client_server(const struct kube_client *client);
/* Connections that were made so far. */
unsigned long kube_client_connections(const struct kube_client *client);

/* Percent-encodes one segment of a path, or one value of a query; to be freed. */
char *kube_escape(const char *text);

#endif
