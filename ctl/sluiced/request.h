/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The requests of the unix socket:
 *
 *	ready		ok once a full state is in the kernel, else not-ready
 *	status		what sluiced holds, and what is wrong with it
 *	attach		a pod's interface: ok once its rulesets are in the kernel and it is open
 *	detach		ok also if it was not there
 *	check		ok if it is open, else not-ready or not-found
 *	gc		detaches all but those given
 *
 * A field that is missing, of the wrong type, or not known is refused by its name.
 */
#ifndef SLUICED_REQUEST_H
#define SLUICED_REQUEST_H

#include <stddef.h>

struct client;

/* One line without its line feed. Answers, or makes the client wait. */
void request_handle(struct client *client, const char *line, size_t len);

#endif
