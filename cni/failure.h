/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a CNI command tells the runtime when it fails: the specification's code, a short message
 * and optional details. Lower layers speak in struct sluice_err; the layer that knows what the
 * runtime should do about it turns that into one of these.
 *
 * Ownership: the object owns its strings; it starts zeroed and ends with cni_failure_clear().
 */
#ifndef SLUICE_CNI_FAILURE_H
#define SLUICE_CNI_FAILURE_H

#include "ctl/lib/err.h"

enum cni_code {
	CNI_INCOMPATIBLE_VERSION = 1,
	CNI_UNSUPPORTED_FIELD = 2,
	CNI_UNKNOWN_CONTAINER = 3,
	CNI_BAD_ENVIRONMENT = 4,
	CNI_IO = 5,
	CNI_DECODE = 6,
	CNI_BAD_CONFIG = 7,
	CNI_BAD_NETNS = 8,
	CNI_TRY_LATER = 11,
	CNI_NOT_AVAILABLE = 50,
	/* 100 and above are the plugin's own */
	CNI_INTERFACE = 100, /* the kernel refused an interface, address or route */
	CNI_EXISTS = 101, /* the interface or the reservation exists already */
	CNI_NO_ADDRESS = 102, /* no free address left, or the address store failed */
	CNI_MISMATCH = 103, /* CHECK: what ADD made is missing or wrong */
	CNI_REFUSED = 104, /* sluiced refused the endpoint */
	CNI_IPAM = 105, /* the IPAM plugin could not be run, or its answer not be used */
	CNI_INTERNAL = 999,
};

struct cni_failure {
	int code; /* enum cni_code, or what a delegated plugin answered; 0: none */
	char *msg;
	char *details; /* NULL: none */
};

/* Both return -1, so that a failing path is one line. Setting again replaces. */
int cni_fail(struct cni_failure *failure, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same with the message of err as details. */
int cni_fail_because(struct cni_failure *failure, int code, const struct sluice_err *err,
		     const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Add to the details: "old; new". Used for what went wrong while cleaning up. */
void cni_failure_add(struct cni_failure *failure, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

void cni_failure_clear(struct cni_failure *failure);

/* One line on stderr: what did not change the outcome, but an operator may want to know. */
void cni_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
