/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Results: the one ADD prints, the one an IPAM plugin printed, the prevResult of CHECK; and errors.
 * The format follows the request's cniVersion:
 *
 *	1.1.0		interfaces[].mtu
 *	1.0.0		no mtu
 *	0.3.0 - 0.4.0	no mtu, and ips[].version "4" or "6"
 */
#ifndef SLUICE_CNI_RESULT_H
#define SLUICE_CNI_RESULT_H

#include "cni/netdev.h"
#include "cni/request.h"

/*
 * The result of ADD: prevResult, if there is one, with the pod's interface and its other end, its
 * addresses and default routes appended. dns may be NULL. The caller owns *result.
 */
int cni_result_make(const struct cni_request *req, const struct cni_link *host,
		    const struct cni_link *pod, const struct cni_address *addresses,
		    size_t n_addresses, json_t *dns, json_t **result, struct sluice_err *err);

/* What an IPAM plugin answered. addresses are hosts; the caller owns both (dns may be NULL). */
int cni_result_from_ipam(const char *text, size_t len, struct cni_address **addresses,
			 size_t *n_addresses, json_t **dns, struct sluice_err *err);

/*
 * What prevResult says about this attachment's interface: its addresses, and the destinations of
 * the routes through the gateways only Sluice uses. Other entries are other plugins'.
 */
int cni_result_previous(const struct cni_request *req, struct cni_address **addresses,
			size_t *n_addresses, struct cni_address **routes, size_t *n_routes,
			struct sluice_err *err);

/* The error object of the specification, as one line with its line feed; the caller frees it. */
char *cni_result_error(const char *version, const struct cni_failure *failure);

/* Read an error object; false when it is none. */
bool cni_result_read_error(const char *text, size_t len, struct cni_failure *failure);

#endif
