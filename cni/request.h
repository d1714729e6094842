/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the container runtime asks: the environment and the configuration on stdin, both checked.
 *
 * Configuration keys of one sluice-cni object (in a .conflist: an element of "plugins"):
 *
 *	cniVersion	"0.3.0", "0.3.1", "0.4.0", "1.0.0" or "1.1.0"; put in by the runtime
 *	name		the network; names the address store, keys GC; put in by the runtime
 *	type		"sluice-cni"
 *	podCIDRs	list of the CIDRs pods of this node get their addresses from, one address of
 *			each family. Absent: sluiced is asked (it reads the Node object)
 *	ipam		{"type": "<binary>", ...}: let that IPAM plugin hand out the addresses;
 *			it excludes podCIDRs. Absent or without "type": the built-in store
 *	mtu		integer; 0 or absent: the smallest MTU of the devices with a default route
 *	dataDir		absolute path of the address store; default /var/lib/sluice/ipam
 *	socket		absolute path of sluiced's socket; default $SLUICE_SOCKET, else
 *			/run/sluice/sluiced.sock
 *	attachTimeout	seconds ADD waits until the pod's rulesets are in the kernel; 1 to 600,
 *			default 30
 *	dns		{"nameservers", "domain", "search", "options"}: handed on in the result
 *
 * Taken and not used: args, capabilities, ipMasq when false, and keys that start with "cni.dev/"
 * (except the attachment list of GC). runtimeConfig may be empty; with an IPAM plugin it may hold
 * "ips" and "ipRanges", which are that plugin's. Every other key is refused by ADD, CHECK and
 * STATUS with code 2. DEL and GC ignore what they do not need: a configuration that went bad must
 * not keep pods from being removed.
 *
 * CNI_ARGS: K8S_POD_NAMESPACE and K8S_POD_NAME say which pod it is (both or none; with none the
 * endpoint has no labels and no policy selects it). K8S_POD_INFRA_CONTAINER_ID and K8S_POD_UID are
 * taken; other keys are refused unless IgnoreUnknown is "1" or "true".
 */
#ifndef SLUICE_CNI_REQUEST_H
#define SLUICE_CNI_REQUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "cni/address.h"
#include "cni/failure.h"

#define CNI_DATA_DIR "/var/lib/sluice/ipam"
#define CNI_ATTACH_TIMEOUT 30
#define CNI_STDIN_MAX (16u << 20) /* GC's list: about 100 bytes for each attachment */
#define CNI_CIDRS_MAX 64
#define CNI_NEWEST_VERSION "1.1.0"

enum cni_command { CNI_ADD, CNI_DEL, CNI_CHECK, CNI_GC, CNI_STATUS, CNI_VERSION };

/* The key of everything ADD makes. */
struct cni_attachment {
	const char *container_id;
	const char *ifname;
};

struct cni_request {
	enum cni_command command;

	/* From the environment, borrowed; NULL where the command does not need it. */
	struct cni_attachment attachment;
	const char *netns; /* NULL when empty */
	const char *path;
	char *pod_namespace; /* owned; NULL: not a pod of Kubernetes */
	char *pod_name;

	/* From stdin; strings are borrowed from config. */
	char *stdin_data; /* owned: handed on as it came to an IPAM plugin */
	size_t stdin_len;
	json_t *config; /* owned */
	const char *version;
	int version_number; /* 1.1.0 is 10100 */
	const char *network;
	const char *data_dir;
	const char *socket;
	const char *ipam_type; /* NULL: the built-in store */
	struct cni_address *cidrs; /* owned */
	size_t n_cidrs;
	unsigned int mtu; /* 0: from the uplink */
	unsigned int attach_timeout; /* seconds */
	json_t *dns; /* NULL: none */
	json_t *prev_result; /* NULL: none */
	bool have_valid; /* GC: the list was there, possibly empty */
	struct cni_attachment *valid; /* owned */
	size_t n_valid;
};

extern const char *const cni_supported_versions[]; /* NULL-terminated, oldest first */

/* Steps in the order the reference library has them. All return 0, or -1 with failure set. */
int cni_request_environment(struct cni_request *req, struct cni_failure *failure);
int cni_request_read(struct cni_request *req, int fd, struct cni_failure *failure);
int cni_request_config(struct cni_request *req, struct cni_failure *failure);

void cni_request_clear(struct cni_request *req);

/* A JSON list of CIDR strings; name is what a message calls it. Returns 0 or a negative errno. */
int cni_request_cidrs(const json_t *list, const char *name, struct cni_address **cidrs,
		      size_t *n_cidrs, struct sluice_err *err);

bool cni_attachment_equal(const struct cni_attachment *a, const struct cni_attachment *b);
bool cni_attachment_listed(const struct cni_attachment *a, const struct cni_attachment *list,
			   size_t n);

#endif
