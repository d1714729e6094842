// SPDX-License-Identifier: GPL-2.0-only
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "conn.h"
#include "conn_view.h"
#include "device.h"
#include "endpoint.h"
#include "net.h"
#include "peer.h"
#include "proc.h"
#include "rule.h"
#include "service.h"
#include "uapi/sluice.h"

/*
 * Files are opened without a reference to their namespace: taking them away (sluice_proc_exit) waits
 * for whoever is in a call on one and closes the open ones, before anything they show goes.
 */

static void show_addr(struct seq_file *m, const struct sluice_addr *a, u8 family)
{
	if (family == SLUICE_IPV4)
		seq_printf(m, "%pI4", a);
	else
		seq_printf(m, "%pI6c", a);
}

static void show_addr_port(struct seq_file *m, const struct sluice_addr *a, __be16 port, u8 family)
{
	if (family == SLUICE_IPV4)
		seq_printf(m, "%pI4:%u", a, ntohs(port));
	else
		seq_printf(m, "[%pI6c]:%u", a, ntohs(port));
}

static void show_proto(struct seq_file *m, u8 proto)
{
	switch (proto) {
	case SLUICE_PROTO_TCP:
		seq_puts(m, "tcp");
		break;
	case SLUICE_PROTO_UDP:
		seq_puts(m, "udp");
		break;
	case SLUICE_PROTO_SCTP:
		seq_puts(m, "sctp");
		break;
	case SLUICE_PROTO_ICMP:
		seq_puts(m, "icmp");
		break;
	case SLUICE_PROTO_ICMPV6:
		seq_puts(m, "icmpv6");
		break;
	default:
		seq_printf(m, "%u", proto);
	}
}

/* A column must stay one column. */
static void show_name(struct seq_file *m, const char *name)
{
	if (*name)
		seq_escape(m, name, " \t\n\\");
	else
		seq_putc(m, '-');
}

static void show_service(struct seq_file *m, struct sluice_net *sn, const struct sluice_node *n)
{
	const struct sluice_service *s = container_of(n, struct sluice_service, node);
	u32 i;

	show_name(m, s->name);
	seq_putc(m, ' ');
	show_addr_port(m, &s->key.addr, s->key.port, s->key.family);
	seq_putc(m, ' ');
	show_proto(m, s->key.proto);
	seq_printf(m, " %u %u ", READ_ONCE(n->written), s->n_backends);
	if (!s->n_backends)
		seq_putc(m, '-');
	for (i = 0; i < s->n_backends; i++) {
		const struct sluice_backend *b = sluice_backend_get(sn, s->backend_ids[i]);

		if (i)
			seq_putc(m, ',');
		show_addr_port(m, &b->addr, b->port, b->family);
	}
	seq_putc(m, '\n');
}

static void show_endpoint(struct seq_file *m, struct sluice_net *sn, const struct sluice_node *n)
{
	const struct sluice_endpoint *ep = container_of(n, struct sluice_endpoint, node);
	const struct net_device *dev = READ_ONCE(ep->device->dev);
	u32 i;

	show_name(m, ep->name);
	seq_printf(m, " %u %s %s %u %u %u ", ep->ifindex, dev ? dev->name : "-",
		   ep->open ? "open" : "closed", ep->ingress, ep->egress, READ_ONCE(n->written));
	if (!ep->n_addrs)
		seq_putc(m, '-');
	for (i = 0; i < ep->n_addrs; i++) {
		if (i)
			seq_putc(m, ',');
		show_addr(m, &ep->addrs[i].addr, ep->addrs[i].family);
	}
	seq_putc(m, ' ');
	show_name(m, ep->container);
	seq_putc(m, '\n');
}

static void show_policy(struct seq_file *m, struct sluice_net *sn, const struct sluice_node *n)
{
	const struct sluice_rule_name *r = container_of(n, struct sluice_rule_name, node);

	seq_printf(m, "%u ", r->id);
	show_name(m, r->policy);
	seq_putc(m, ' ');
	show_name(m, r->rule);
	seq_printf(m, " %u\n", READ_ONCE(n->written));
}

static void show_peer(struct seq_file *m, struct sluice_net *sn, const struct sluice_node *n)
{
	const struct sluice_peer *p = container_of(n, struct sluice_peer, node);

	show_addr(m, &p->addr, p->family);
	seq_printf(m, "/%u %u %u ", p->plen, p->class, READ_ONCE(n->written));
	show_name(m, p->name);
	seq_putc(m, '\n');
}

struct sheet {
	const char *name;
	const char *header;
	size_t table; /* offset in struct sluice_net */
	void (*show)(struct seq_file *m, struct sluice_net *sn, const struct sluice_node *n);
};

static const struct sheet sheets[] = {
	{ "services", "NAME ADDRESS PROTOCOL REVISION COUNT BACKENDS\n",
	  offsetof(struct sluice_net, services), show_service },
	{ "endpoints", "NAME IFINDEX INTERFACE STATE INGRESS EGRESS REVISION ADDRESSES CONTAINER\n",
	  offsetof(struct sluice_net, endpoints), show_endpoint },
	{ "policies", "ID POLICY RULE REVISION\n", offsetof(struct sluice_net, rules),
	  show_policy },
	{ "peers", "PREFIX CLASS REVISION NAME\n", offsetof(struct sluice_net, peers), show_peer },
};

/* An open table. */
struct sheet_reader {
	struct sluice_net *sn;
	const struct sheet *sheet;
	struct sluice_cursor cursor;
	loff_t at; /* position that the cursor belongs to */
	u32 revision;
};

static struct sluice_node *sheet_seek(struct sheet_reader *r)
{
	const struct sluice_table *t = (const void *)((char *)r->sn + r->sheet->table);

	return sluice_table_seek(t, r->revision, &r->cursor);
}

static void *sheet_start(struct seq_file *m, loff_t *pos) __acquires(RCU)
{
	struct sheet_reader *r = m->private;

	rcu_read_lock();
	if (!*pos)
		return SEQ_START_TOKEN;
	if (!sluice_net_active(r->sn))
		return NULL;
	r->revision = sluice_revision(r->sn);
	/* Reading on is the rule; only a seek backwards counts from the beginning. */
	if (r->at != *pos) {
		memset(&r->cursor, 0, sizeof(r->cursor));
		for (r->at = 1; r->at < *pos; r->at++, r->cursor.index++)
			if (!sheet_seek(r))
				return NULL;
	}
	return sheet_seek(r);
}

static void *sheet_next(struct seq_file *m, void *v, loff_t *pos)
{
	struct sheet_reader *r = m->private;

	++*pos;
	if (!sluice_net_active(r->sn))
		return NULL;
	if (v == SEQ_START_TOKEN) {
		memset(&r->cursor, 0, sizeof(r->cursor));
		r->revision = sluice_revision(r->sn);
	} else {
		r->cursor.index++;
	}
	r->at = *pos;
	return sheet_seek(r);
}

static void rcu_stop(struct seq_file *m, void *v) __releases(RCU)
{
	rcu_read_unlock();
}

static int sheet_show(struct seq_file *m, void *v)
{
	struct sheet_reader *r = m->private;

	if (v == SEQ_START_TOKEN)
		seq_puts(m, r->sheet->header);
	else
		r->sheet->show(m, r->sn, v);
	return 0;
}

static const struct seq_operations sheet_seq_ops = {
	.start = sheet_start,
	.next = sheet_next,
	.stop = rcu_stop,
	.show = sheet_show,
};

/* The directory's data is the namespace, a file's is what it shows. */
static struct sluice_net *net_of_file(const struct file *file)
{
	return pde_data(d_inode(file->f_path.dentry->d_parent));
}

static int sheet_open(struct inode *inode, struct file *file)
{
	struct sheet_reader *r = __seq_open_private(file, &sheet_seq_ops, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->sn = net_of_file(file);
	r->sheet = pde_data(inode);
	return 0;
}

static const struct proc_ops sheet_proc_ops = {
	.proc_open = sheet_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_release = seq_release_private,
};

/* An open table of connections. */
struct conns_reader {
	struct sluice_net *sn;
	struct sluice_conns_walk walk;
	struct sluice_conn_filter all; /* zero */
	struct sluice_conn_view view; /* the connection that the walk stands at */
	loff_t at;
	bool walking;
	bool skip; /* that one is done: the next one is wanted */
};

static int take_view(const struct sluice_conn_view *v, void *arg)
{
	struct conns_reader *r = arg;

	if (r->skip) {
		r->skip = false;
		return 0;
	}
	r->view = *v;
	return 1;
}

static void *conns_fetch(struct conns_reader *r)
{
	return sluice_conns_walk(r->sn, &r->walk, &r->all, take_view, r) ? &r->view : NULL;
}

static void conns_stop_walk(struct conns_reader *r)
{
	if (r->walking)
		sluice_conns_walk_stop(&r->walk);
	r->walking = false;
}

static void conns_start_walk(struct conns_reader *r)
{
	conns_stop_walk(r);
	sluice_conns_walk_start(r->sn, &r->walk);
	r->walking = true;
	r->skip = false;
}

static void *conns_start(struct seq_file *m, loff_t *pos)
{
	struct conns_reader *r = m->private;

	if (!*pos)
		return SEQ_START_TOKEN;
	if (!sluice_net_active(r->sn))
		return NULL;
	if (r->at != *pos) {
		conns_start_walk(r);
		for (r->at = 1; r->at < *pos; r->at++, r->skip = true)
			if (!conns_fetch(r))
				return NULL;
	}
	return conns_fetch(r);
}

static void *conns_next(struct seq_file *m, void *v, loff_t *pos)
{
	struct conns_reader *r = m->private;

	++*pos;
	if (!sluice_net_active(r->sn))
		return NULL;
	if (v == SEQ_START_TOKEN)
		conns_start_walk(r);
	else
		r->skip = true;
	r->at = *pos;
	return conns_fetch(r);
}

static void conns_stop(struct seq_file *m, void *v)
{
}

static void show_tuple(struct seq_file *m, const struct sluice_tuple *t)
{
	show_addr_port(m, &t->src, t->sport, t->family);
	seq_putc(m, '>');
	show_addr_port(m, &t->dst, t->dport, t->family);
}

static int conns_show(struct seq_file *m, void *v)
{
	const struct sluice_conn_view *c = v;

	if (v == SEQ_START_TOKEN) {
		seq_puts(m, "PROTOCOL STATE TIMEOUT AGE ORIGINAL REPLY PACKETS BYTES ");
		seq_puts(m, "REPLY-PACKETS REPLY-BYTES VERDICT REASON EGRESS-RULE INGRESS-RULE\n");
		return 0;
	}
	show_proto(m, c->original.proto);
	seq_printf(m, " %s %u %u ", sluice_state_name(c->state), c->timeout, c->age);
	show_tuple(m, &c->original);
	seq_putc(m, ' ');
	show_tuple(m, &c->reply);
	seq_printf(m, " %llu %llu %llu %llu %s %s %u %u\n", c->packets[SLUICE_DIR_ORIGINAL],
		   c->bytes[SLUICE_DIR_ORIGINAL], c->packets[SLUICE_DIR_REPLY],
		   c->bytes[SLUICE_DIR_REPLY], sluice_verdict_name(c->verdict),
		   sluice_reason_name(c->reason), c->egress_rule, c->ingress_rule);
	return 0;
}

static const struct seq_operations conns_seq_ops = {
	.start = conns_start,
	.next = conns_next,
	.stop = conns_stop,
	.show = conns_show,
};

static int conns_open(struct inode *inode, struct file *file)
{
	struct conns_reader *r = __seq_open_private(file, &conns_seq_ops, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->sn = net_of_file(file);
	return 0;
}

static int conns_release(struct inode *inode, struct file *file)
{
	struct seq_file *m = file->private_data;

	conns_stop_walk(m->private);
	return seq_release_private(inode, file);
}

static const struct proc_ops conns_proc_ops = {
	.proc_open = conns_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_release = conns_release,
};

static const char *const evict_names[SLUICE_EVICT_COUNT] = {
	[SLUICE_EVICT_CLOSING] = "closing",
	[SLUICE_EVICT_UNREPLIED] = "unreplied",
	[SLUICE_EVICT_IDLE] = "idle",
	[SLUICE_EVICT_ESTABLISHED] = "established",
};

static int stats_show(struct seq_file *m, void *v)
{
	struct sluice_net *sn = m->private;
	struct sluice_stats s;
	u32 i;

	sluice_stats_sum(sn, &s);
	seq_puts(m, "NAME VALUE\n");
	seq_printf(m, "revision %u\n", sluice_revision(sn));
	seq_printf(m, "policy-generation %u\n", sluice_policy_generation(sn));
	if (sluice_net_active(sn)) {
		seq_printf(m, "connections %d\n", atomic_read(&sn->conns->count));
		seq_printf(m, "connection-bytes %llu\n", sluice_conns_bytes(sn->conns));
		seq_printf(m, "connection-budget %llu\n", READ_ONCE(sn->conns->budget));
	}
	seq_printf(m, "hits %llu\nmisses %llu\ncreated %llu\nexpired %llu\n", s.hits, s.misses,
		   s.created, s.expired);
	seq_printf(m, "rejudged %llu\ncut %llu\nremapped %llu\n", s.rejudged, s.cut, s.remapped);
	seq_printf(m, "fast-pod %llu\nfast-uplink %llu\nstack %llu\nforeign %llu\n", s.fast_pod,
		   s.fast_uplink, s.stack, s.foreign);
	seq_printf(m, "fragments %llu\nevents-lost %llu\n", s.fragments, s.events_lost);
	for (i = 0; i < SLUICE_EVICT_COUNT; i++)
		seq_printf(m, "evicted-%s %llu\n", evict_names[i], s.evicted[i]);
	for (i = 0; i < SLUICE_REASON_COUNT; i++)
		seq_printf(m, "drop-%s %llu\n", sluice_reason_name(i), s.drops[i]);
	return 0;
}

static int stats_open(struct inode *inode, struct file *file)
{
	return single_open(file, stats_show, net_of_file(file));
}

static const struct proc_ops stats_proc_ops = {
	.proc_open = stats_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
};

int sluice_proc_init(struct sluice_net *sn)
{
	size_t i;

	sn->proc = proc_mkdir_data("sluice", 0550, sluice_net_of(sn)->proc_net, sn);
	if (!sn->proc)
		return -ENOMEM;
	for (i = 0; i < ARRAY_SIZE(sheets); i++)
		if (!proc_create_data(sheets[i].name, 0440, sn->proc, &sheet_proc_ops,
				      (void *)&sheets[i]))
			goto remove;
	if (!proc_create("connections", 0440, sn->proc, &conns_proc_ops) ||
	    !proc_create("stats", 0440, sn->proc, &stats_proc_ops))
		goto remove;
	return 0;

remove:
	sluice_proc_exit(sn);
	return -ENOMEM;
}

void sluice_proc_exit(struct sluice_net *sn)
{
	proc_remove(sn->proc);
	sn->proc = NULL;
}
