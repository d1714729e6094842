// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/sluiced/plane.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/bpf_conns.h"
#include "ctl/lib/bpf_object.h"
#include "ctl/lib/dataplane_bpf.h"
#include "ctl/lib/dataplane_memory.h"
#include "ctl/lib/dataplane_netlink.h"
#include "ctl/lib/nl_query.h"
#include "ctl/sluiced/controller.h"
#include "ctl/sluiced/log.h"

/* 16,384 connections are kept free at least: a tenth of a second of 160,000 new ones each. */
#define TICK_MS 100

static const char *const names[] = {
	[PLANE_AUTO] = "auto",
	[PLANE_MODULE] = "module",
	[PLANE_BPF] = "bpf",
	[PLANE_MEMORY] = "memory",
};

const char *plane_name(enum plane_kind kind)
{
	return names[kind];
}

bool plane_parse(const char *name, enum plane_kind *kind)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i], name))
			continue;
		*kind = i;
		return true;
	}
	return false;
}

/* Does the module speak in this network namespace? */
static bool module_answers(void)
{
	struct sluice_nl nl;
	bool answers = !sluice_nl_open_module(&nl, NULL);

	if (answers)
		sluice_nl_close(&nl);
	return answers;
}

static void tick(struct timer *timer)
{
	struct plane *plane = container_of(timer, struct plane, tick);
	SLUICE_ERR(err);

	if (!sluice_dataplane_bpf_tick(plane->dp, &err)) {
		free(plane->trouble);
		plane->trouble = NULL;
	} else if (!plane->trouble || strcmp(plane->trouble, sluice_err_msg(&err))) {
		log_error("cannot look after the BPF maps", "error", sluice_err_msg(&err));
		free(plane->trouble);
		plane->trouble = sluice_strdup(sluice_err_msg(&err));
	}
	loop_arm(plane->loop, timer, TICK_MS);
}

static void choose(struct plane *plane, enum plane_kind kind, struct sluice_dataplane *dp,
		   const char *why)
{
	plane->kind = kind;
	plane->dp = dp;
	plane->why = why ? sluice_strdup(why) : NULL;
	log_info("data plane", "name", plane_name(kind), "why", why);
}

/* All is the thread's until it has been joined. */
struct plane_ahead {
	pthread_t thread;
	struct sluice_dataplane *dp;
	struct sluice_err err;
	int ret;
};

static struct sluice_dataplane *new_bpf(const struct options *options)
{
	struct sluice_bpf_options o = { .budget = options->conn_budget, .cgroup = options->cgroup };

	return sluice_dataplane_bpf_new(&o);
}

static void *open_ahead(void *arg)
{
	struct plane_ahead *ahead = arg;

	ahead->ret = sluice_dataplane_bpf_open(ahead->dp, &ahead->err);
	return NULL;
}

void plane_open_ahead(struct plane *plane, const struct options *options)
{
	struct plane_ahead *ahead;

	if (plane->dp || plane->ahead ||
	    !(options->dataplane == PLANE_BPF ||
	      (options->dataplane == PLANE_AUTO && !module_answers())))
		return;
	ahead = sluice_zalloc(sizeof(*ahead));
	ahead->dp = new_bpf(options);
	if (pthread_create(&ahead->thread, NULL, open_ahead, ahead)) {
		ahead->dp->ops->close(ahead->dp);
		free(ahead);
		return;
	}
	plane->ahead = ahead;
}

/* Waits for what was begun. NULL: nothing was, or it has failed. */
static struct sluice_dataplane *end_ahead(struct plane *plane, int *ret, struct sluice_err *err)
{
	struct plane_ahead *ahead = plane->ahead;
	struct sluice_dataplane *dp;

	if (!ahead)
		return NULL;
	plane->ahead = NULL;
	pthread_join(ahead->thread, NULL);
	dp = ahead->dp;
	*ret = ahead->ret;
	if (*ret) {
		sluice_err_move(err, &ahead->err);
		dp->ops->close(dp);
		dp = NULL;
	}
	sluice_err_clear(&ahead->err);
	free(ahead);
	return dp;
}

static int open_bpf(struct plane *plane, const struct options *options, const char *why,
		    struct sluice_err *err)
{
	struct sluice_dataplane *dp;
	const struct sluice_bpf *bpf;
	int ret = 0;

	dp = end_ahead(plane, &ret, err);
	if (ret)
		return ret;
	if (!dp) {
		dp = new_bpf(options);
		ret = sluice_dataplane_bpf_open(dp, err);
		if (ret) {
			dp->ops->close(dp);
			return ret;
		}
	}
	choose(plane, PLANE_BPF, dp, why);
	bpf = sluice_dataplane_bpf_object(dp);
	log_info("BPF programs", "pins", bpf->dir, "attached_by", bpf->tcx ? "tcx" : "clsact",
		 "state",
		 bpf->fresh    ? "made anew" :
		 bpf->replaced ? "replaced by those of this build" :
				 "taken as they were");
	if (bpf->warning)
		log_warning(bpf->warning);
	plane->tick.expired = tick;
	loop_arm(plane->loop, &plane->tick, TICK_MS);
	return 0;
}

static void drop_ahead(struct plane *plane)
{
	SLUICE_ERR(err);
	int ret = 0;
	struct sluice_dataplane *dp = end_ahead(plane, &ret, &err);

	if (dp)
		dp->ops->close(dp);
}

static int choose_auto(struct plane *plane, const struct options *options, struct sluice_err *err)
{
	int ret;

	if (module_answers()) {
		/* It came meanwhile. What the other has left goes when the module has taken over. */
		drop_ahead(plane);
		choose(plane, PLANE_MODULE, sluice_dataplane_netlink_new(), "the module is loaded");
		return 0;
	}
	ret = open_bpf(plane, options, "the module is not loaded", err);
	if (ret)
		sluice_err_prefix(err, "the module is not loaded, and of the eBPF data plane");
	return ret;
}

int plane_open(struct plane *plane, const struct options *options, struct loop *loop,
	       struct sluice_err *err)
{
	static const char asked[] = "--dataplane";
	int ret = 0;

	if (plane->dp)
		return 0;
	plane->loop = loop;
	switch (options->dataplane) {
	case PLANE_AUTO:
		return choose_auto(plane, options, err);
	case PLANE_MODULE:
		choose(plane, PLANE_MODULE, sluice_dataplane_netlink_new(), asked);
		break;
	case PLANE_BPF:
		ret = open_bpf(plane, options, asked, err);
		if (!ret && module_answers())
			log_warning("the module is loaded, too; it must have no state in this "
				    "network namespace");
		break;
	case PLANE_MEMORY:
		choose(plane, PLANE_MEMORY, sluice_memory_new(), asked);
		break;
	}
	return ret;
}

void plane_close(struct plane *plane)
{
	if (plane->loop)
		loop_disarm(plane->loop, &plane->tick);
	drop_ahead(plane);
	if (plane->dp)
		plane->dp->ops->close(plane->dp);
	plane->dp = NULL;
	free(plane->why);
	free(plane->trouble);
}

/* The eBPF variant's GET_INFO walks its maps of objects, which this is not to cost. */
static void count_bpf_conns(const struct plane *plane, struct plane_counters *counters)
{
	const struct sluice_bpf_control *control = sluice_dataplane_bpf_object(plane->dp)->control;

	for (int i = 0; i < 2; i++)
		counters->conns += __atomic_load_n(&control->table[i].alive, __ATOMIC_RELAXED);
	counters->conn_bytes = sluice_bpf_conn_bytes(control);
	counters->conn_budget = control->budget;
}

int plane_count(const struct plane *plane, struct plane_counters *counters, struct sluice_err *err)
{
	struct sluice_nl_kernel kernel;
	struct sluice_nl nl;
	int ret;

	*counters = (struct plane_counters){ 0 };
	if (!plane->dp || plane->kind == PLANE_MEMORY)
		return sluice_err_set(err, ENODATA, "no data plane that counts");
	ret = plane->kind == PLANE_MODULE ? sluice_nl_open_module(&nl, err) :
					    sluice_nl_open(&nl, err);
	if (ret)
		return ret;
	ret = sluice_nl_query_stats(&nl, &counters->stats, err);
	if (!ret && plane->kind == PLANE_MODULE) {
		ret = sluice_nl_query_info(&nl, &kernel, err);
		if (!ret) {
			counters->conns = kernel.info.conns;
			counters->conn_bytes = kernel.info.conn_bytes;
			counters->conn_budget = kernel.info.conn_budget;
		}
	} else if (!ret) {
		count_bpf_conns(plane, counters);
	}
	sluice_nl_close(&nl);
	return ret;
}

uint32_t plane_revision(const struct plane *plane)
{
	if (plane->kind == PLANE_MODULE)
		return sluice_dataplane_netlink_revision(plane->dp);
	return plane->kind == PLANE_BPF ? sluice_dataplane_bpf_revision(plane->dp) : 0;
}

void plane_remove_other(const struct plane *plane)
{
	struct sluice_bpf_removed removed;
	SLUICE_ERR(err);

	if (plane->kind != PLANE_MODULE || !sluice_bpf_is_there())
		return;
	if (sluice_bpf_remove(&removed, &err))
		log_warning("the eBPF data plane is still there", "error", sluice_err_msg(&err));
	else
		log_info("removed the eBPF data plane: the module has taken over", "attachments",
			 LOG_NUM(removed.attachments), "programs", LOG_NUM(removed.programs),
			 "maps", LOG_NUM(removed.maps));
}
