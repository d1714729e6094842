/* SPDX-License-Identifier: GPL-2.0-only */
/* When the API server is asked again by those who tell it of problems, Events and conditions alike. Times are ms of loop_now(). */
#ifndef SLUICED_RETRY_H
#define SLUICED_RETRY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "ctl/lib/kube_client.h"
#include "ctl/lib/loop.h"

#define RETRY_MS 5000
#define RETRY_MAX_MS (5 * 60000)
#define RETRY_REFUSED_MS (60 * 60000)

/* Then, and up to random_ms later: nodes do not come all at once. */
static inline int64_t retry_in(int64_t ms, int64_t random_ms)
{
	return loop_now() + ms + random() % (random_ms + 1);
}

/* The same request would be answered the same. */
static inline bool retry_is_refused(const struct kube_answer *answer)
{
	return answer->status >= 400 && answer->status < 500 && answer->status != 429 &&
	       answer->status != 401;
}

static inline int64_t retry_refused(void)
{
	return retry_in(RETRY_REFUSED_MS, RETRY_REFUSED_MS / 2);
}

/* Doubled each time, or as long as the server asks for. *backoff is the request's own, 0 before it first fails. */
static inline int64_t retry_failed(int64_t *backoff, const struct kube_answer *answer)
{
	*backoff = *backoff ? *backoff * 2 : RETRY_MS;
	if (*backoff > RETRY_MAX_MS)
		*backoff = RETRY_MAX_MS;
	if (*backoff < answer->retry_after)
		*backoff = answer->retry_after;
	return retry_in(*backoff, *backoff);
}

#endif
