// SPDX-License-Identifier: GPL-2.0-only
#include "cni/agent.h"

#include <time.h>

#include "ctl/lib/sock.h"

/* Milliseconds. sluiced answers all but attach from what it has at hand. */
#define ANSWER_TIMEOUT 2000
/* Beyond attach's own time: sluiced gives up first, and says why. */
#define ATTACH_GRACE 5000
/* How long CHECK lets a sluiced that is just starting get ready. */
#define CHECK_TRIES 20
#define CHECK_INTERVAL 100

/* Ask and give up the request's reference. */
static int ask(const struct cni_request *req, json_t *request, json_t **answer, int timeout,
	       struct sluice_err *err)
{
	int ret;

	if (!request)
		return sluice_err_set(err, ENOMEM, "out of memory");
	ret = sluice_sock_call(sluice_sock_path(req->socket), request, answer, timeout, err);
	json_decref(request);
	return ret;
}

static json_t *attachment_request(const struct cni_request *req, const char *op)
{
	return json_pack("{s:s, s:s, s:s}", "op", op, "containerID", req->attachment.container_id,
			 "ifname", req->attachment.ifname);
}

int cni_agent_attach(const struct cni_request *req, const struct cni_link *host,
		     const struct cni_address *addresses, size_t n_addresses,
		     struct sluice_err *err)
{
	json_t *ips = json_array(), *request;
	char text[CNI_ADDRESS_TEXT];

	for (size_t i = 0; i < n_addresses; i++)
		json_array_append_new(ips, json_string(cni_address_text(&addresses[i], text)));
	request = json_pack("{s:s, s:s*, s:s*, s:s, s:s, s:s, s:i, s:o, s:i}", "op", "attach",
			    "namespace", req->pod_namespace, "pod", req->pod_name, "containerID",
			    req->attachment.container_id, "ifname", req->attachment.ifname,
			    "hostIfname", host->name, "ifindex", host->ifindex, "ips", ips,
			    "timeout", (int)req->attach_timeout);
	return ask(req, request, NULL, req->attach_timeout * 1000 + ATTACH_GRACE, err);
}

int cni_agent_detach(const struct cni_request *req, struct sluice_err *err)
{
	return ask(req, attachment_request(req, "detach"), NULL, ANSWER_TIMEOUT, err);
}

int cni_agent_check(const struct cni_request *req, struct sluice_err *err)
{
	int ret;

	for (int i = 0; i < CHECK_TRIES; i++) {
		ret = ask(req, attachment_request(req, "check"), NULL, ANSWER_TIMEOUT, err);
		if (ret != -EAGAIN && ret != -ECONNREFUSED)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = CHECK_INTERVAL * 1000000 }, NULL);
	}
	return ret;
}

int cni_agent_gc(const struct cni_request *req, const struct cni_attachment *keep, size_t n_keep,
		 struct sluice_err *err)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n_keep; i++)
		json_array_append_new(list,
				      json_pack("{s:s, s:s}", "containerID", keep[i].container_id,
						"ifname", keep[i].ifname));
	return ask(req, json_pack("{s:s, s:o}", "op", "gc", "keep", list), NULL, ANSWER_TIMEOUT,
		   err);
}

int cni_agent_ready(const struct cni_request *req, struct sluice_err *err)
{
	return ask(req, json_pack("{s:s}", "op", "ready"), NULL, ANSWER_TIMEOUT, err);
}

int cni_agent_cidrs(const struct cni_request *req, struct cni_address **cidrs, size_t *n_cidrs,
		    struct sluice_err *err)
{
	json_t *answer, *list;
	int ret;

	ret = ask(req, json_pack("{s:s}", "op", "status"), &answer, ANSWER_TIMEOUT, err);
	if (ret)
		return ret;
	list = json_object_get(answer, "podCIDRs");
	if (!list || json_is_null(list) || (json_is_array(list) && !json_array_size(list)))
		ret = sluice_err_set(err, ENOENT,
				     "the configuration has no podCIDRs, and sluiced knows none "
				     "of this node");
	else
		ret = cni_request_cidrs(list, "sluiced: podCIDRs", cidrs, n_cidrs, err);
	json_decref(answer);
	return ret;
}
