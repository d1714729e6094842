// SPDX-License-Identifier: GPL-2.0-only
/* sluiced: one process a node, which keeps the kernel in step with Kubernetes' objects. */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/sock.h"
#include "ctl/sluiced/controller.h"
#include "ctl/sluiced/log.h"
#include "ctl/sluiced/notice.h"
#include "ctl/sluiced/server.h"
#include "ctl/sluiced/watcher.h"

#define EXIT_USAGE 2

static const char usage[] =
	"usage: sluiced --node NAME [--kubeconfig FILE | --manifests PATH...] [OPTION]...\n"
	"\n"
	"Keeps the kernel's state in step with Kubernetes' objects. Runs in the foreground and logs to\n"
	"stderr. SIGHUP sends everything to the kernel again; SIGTERM ends it and changes nothing there.\n"
	"\n"
	"  --node NAME            this node's name in Kubernetes\n"
	"  --kubeconfig FILE      the API server, and who we are there (default: in-cluster credentials)\n"
	"  --manifests PATH...    instead of an API server: files, directories of *.yaml, *.yml, *.json;\n"
	"                         read again on change\n"
	"  --socket PATH          unix socket for sluice-cni and sluicectl\n"
	"                         (default: $SLUICE_SOCKET, else " SLUICE_SOCK_DEFAULT ")\n"
	"  --uplink IF            an interface towards other nodes; may be repeated\n"
	"                         (default: those of the default routes)\n"
	"  --conn-budget BYTES    memory for connections; K, M, G may follow (default: an eighth of all)\n"
	"  --dataplane NAME       module, bpf, or auto (default): the module if it is loaded, else bpf\n"
	"  --cgroup PATH          bpf: the cgroup2 whose processes reach services (default: its root)\n"
	"  --resync SECONDS       send everything again this often (default 0: never)\n"
	"  --log-level LEVEL      debug, info, warning or error (default info)\n"
	"  --help                 this text\n"
	"\n"
	"Manual: sluiced(8)\n";

struct list {
	const char **v;
	size_t n;
	size_t cap;
};

static void add(struct list *list, const char *text)
{
	sluice_grow(list->v, list->n, list->cap);
	list->v[list->n++] = text;
}

__attribute__((noreturn, format(printf, 1, 2))) static void refuse(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("sluiced: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputs(" (sluiced --help)\n", stderr);
	va_end(ap);
	exit(EXIT_USAGE);
}

static bool parse_bytes(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMG";
	unsigned long long value;
	const char *unit;
	int shift = 0;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *text == '-')
		return false;
	if (*end) {
		unit = strchr(units, *end);
		if (!unit || end[1])
			return false;
		shift = 10 * (int)(unit - units + 1);
	}
	if (value > UINT64_MAX >> shift)
		return false;
	*bytes = value << shift;
	return *bytes;
}

static void parse_options(int argc, char **argv, struct options *options)
{
	enum {
		NODE = 256,
		KUBECONFIG,
		MANIFESTS,
		SOCKET,
		UPLINK,
		CONN_BUDGET,
		RESYNC,
		LOG_LEVEL,
		DATAPLANE,
		CGROUP,
		HELP
	};
	static const struct option longs[] = {
		{ "node", required_argument, NULL, NODE },
		{ "kubeconfig", required_argument, NULL, KUBECONFIG },
		{ "manifests", required_argument, NULL, MANIFESTS },
		{ "socket", required_argument, NULL, SOCKET },
		{ "uplink", required_argument, NULL, UPLINK },
		{ "conn-budget", required_argument, NULL, CONN_BUDGET },
		{ "resync", required_argument, NULL, RESYNC },
		{ "log-level", required_argument, NULL, LOG_LEVEL },
		/* "memory" for tests without a kernel; not in the manual. */
		{ "dataplane", required_argument, NULL, DATAPLANE },
		{ "cgroup", required_argument, NULL, CGROUP },
		{ "help", no_argument, NULL, HELP },
		{ 0 },
	};
	/* Never freed: they live as long as the program. */
	static struct list manifests, uplinks;
	const char *socket = NULL;
	char *end;
	long seconds;
	int opt;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, "-:h", longs, NULL)) != -1) {
		switch (opt) {
		case NODE:
			options->node = optarg;
			break;
		case KUBECONFIG:
			options->kubeconfig = optarg;
			break;
		case MANIFESTS:
			add(&manifests, optarg);
			break;
		case 1: /* --manifests a b c */
			if (!manifests.n || argv[optind - 1][0] == '-')
				refuse("unexpected argument \"%s\"", optarg);
			add(&manifests, optarg);
			break;
		case SOCKET:
			socket = optarg;
			break;
		case UPLINK:
			add(&uplinks, optarg);
			break;
		case CONN_BUDGET:
			if (!parse_bytes(optarg, &options->conn_budget))
				refuse("--conn-budget %s: not a number of bytes", optarg);
			break;
		case RESYNC:
			errno = 0;
			seconds = strtol(optarg, &end, 10);
			if (errno || *end || end == optarg || seconds < 0 || seconds > 86400 * 365)
				refuse("--resync %s: not a number of seconds", optarg);
			options->resync = seconds;
			break;
		case LOG_LEVEL:
			if (!log_set_level(optarg))
				refuse("--log-level %s: not debug, info, warning or error", optarg);
			break;
		case DATAPLANE:
			if (!plane_parse(optarg, &options->dataplane))
				refuse("--dataplane %s: not auto, module or bpf", optarg);
			break;
		case CGROUP:
			options->cgroup = optarg;
			break;
		case 'h':
		case HELP:
			fputs(usage, stdout);
			exit(fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS);
		case ':':
			refuse("%s needs a value", argv[optind - 1]);
		default:
			refuse("unknown option \"%s\"", argv[optind - 1]);
		}
	}
	for (; optind < argc; optind++)
		refuse("unexpected argument \"%s\"", argv[optind]);
	if (!options->node || !*options->node)
		refuse("--node is missing");
	if (manifests.n && options->kubeconfig)
		refuse("--kubeconfig and --manifests: there is one source of objects");
	options->manifests = manifests.v;
	options->n_manifests = manifests.n;
	options->uplinks = uplinks.v;
	options->n_uplinks = uplinks.n;
	options->socket = sluice_sock_path(socket);
}

/* Without forwarding no packet leaves a pod's node; kube-proxy and CNI plugins switch it on too. */
static void switch_on(const char *name, const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char now;

	if (fd < 0 || read(fd, &now, 1) != 1) {
		log_warning("cannot read a sysctl", "name", name, "error", strerror(errno));
	} else if (now == '0') {
		if (pwrite(fd, "1\n", 2, 0) == 2)
			log_info("set a sysctl", "name", name, "value", "1");
		else
			log_warning("cannot set a sysctl", "name", name, "error", strerror(errno));
	}
	if (fd >= 0)
		close(fd);
}

struct signals {
	struct watch watch;
	struct controller *controller;
};

static void on_signal(struct watch *watch, uint32_t events)
{
	struct signals *signals = container_of(watch, struct signals, watch);
	struct signalfd_siginfo info;

	(void)events;
	if (read(watch->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP) {
		log_info("SIGHUP: everything is sent to the kernel again");
		controller_refresh(signals->controller);
		controller_want_sync(signals->controller, true);
		return;
	}
	log_info("ending; the kernel keeps its state", "signal", strsignal(info.ssi_signo));
	signals->controller->loop->stopped = true;
}

static int watch_signals(struct signals *signals, struct controller *c, struct sluice_err *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals->controller = c;
	signals->watch =
		(struct watch){ signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), on_signal };
	if (signals->watch.fd < 0)
		return sluice_err_errno(err, errno, "signalfd");
	return loop_add(c->loop, &signals->watch, EPOLLIN, err);
}

static bool work(void *arg)
{
	return controller_work(arg);
}

static void settled(void *arg)
{
	server_settled(arg);
}

static int run(const struct options *options, struct sluice_err *err)
{
	struct loop loop = { .fd = -1 };
	struct controller c;
	struct watcher watcher;
	struct notices notices;
	struct signals signals;
	struct server server;
	int ret;

	ret = loop_init(&loop, err);
	if (ret)
		return ret;
	ret = controller_init(&c, &loop, options, err);
	if (ret)
		goto exit_loop;
	loop.idle = work;
	loop.idle_arg = &c;
	c.settled = settled;
	c.settled_arg = &server;
	ret = watch_signals(&signals, &c, err);
	if (ret)
		goto exit_controller;
	ret = watcher_init(&watcher, &c, err);
	if (ret)
		goto exit_signals;
	ret = notices_init(&notices, &c, err);
	if (ret)
		goto exit_watcher;
	ret = server_init(&server, &c, options->socket, err);
	if (ret)
		goto exit_notices;
	if (options->dataplane != PLANE_MEMORY) {
		switch_on("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward");
		switch_on("net.ipv6.conf.all.forwarding", "/proc/sys/net/ipv6/conf/all/forwarding");
	}
	log_info("started", "node", options->node, "socket", options->socket);

	ret = loop_run(&loop, err);

	server_exit(&server);
exit_notices:
	notices_exit(&notices);
exit_watcher:
	watcher_exit(&watcher);
exit_signals:
	close(signals.watch.fd);
exit_controller:
	controller_exit(&c);
exit_loop:
	loop_exit(&loop);
	return ret;
}

int main(int argc, char **argv)
{
	struct options options = { 0 };
	SLUICE_ERR(err);

	parse_options(argc, argv, &options);
	if (run(&options, &err)) {
		log_error("cannot go on", "error", sluice_err_msg(&err));
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
