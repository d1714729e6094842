// SPDX-License-Identifier: GPL-2.0-only
/*
 * The node's own connections to services, with real sockets: in a network namespace of the test's own, on loopback
 * addresses, in a cgroup of its own, to which the programs are attached.
 *
 *	node OBJECT
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "bpf/layout.h"
#include "object.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

#define REVISION 5
#define TOMORROW (1U << 30)
#define BACKENDS 3
#define PORT 8080 /* of backend 0; the others follow */
#define SERVICE_PORT 80
#define EMPTY_PORT 81 /* a service without backends */
#define OTHER_PORT 82 /* no service's */
#define PAST_PORT 83 /* a service that is no more */

/* How a test's sockets look. */
struct kind {
	const char *name;
	int domain; /* of the client's sockets */
	bool mapped; /* IPv4 addresses as ::ffff: ones */
};

static const struct kind kinds[] = {
	{ "IPv4", AF_INET, false },
	{ "IPv6", AF_INET6, false },
	{ "IPv4 by IPv6 sockets", AF_INET6, true },
};

static char mount_point[] = "/tmp/sluice-node-XXXXXX";
static char cgroup[64];

static bool is_v6(const struct kind *k)
{
	return k->domain == AF_INET6 && !k->mapped;
}

static struct sluice_addr addr_of(const char *text, bool v6)
{
	struct sluice_addr a = { 0 };

	if (inet_pton(v6 ? AF_INET6 : AF_INET, text, &a) != 1)
		bail("%s is no address", text);
	return a;
}

static struct sluice_addr service_addr(bool v6)
{
	return v6 ? addr_of("fd00:96::1", true) : addr_of("10.96.0.1", false);
}

static struct sluice_addr backend_addr(bool v6)
{
	return v6 ? addr_of("::1", true) : addr_of("127.0.0.2", false);
}

/* A socket address as a client of this kind writes it. */
static socklen_t fill(struct sockaddr_storage *ss, const struct kind *k, struct sluice_addr a,
		      uint16_t port)
{
	struct sockaddr_in6 s6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in s4 = { .sin_family = AF_INET, .sin_port = htons(port) };

	memset(ss, 0, sizeof(*ss));
	if (k->domain == AF_INET) {
		s4.sin_addr.s_addr = a.w[0];
		memcpy(ss, &s4, sizeof(s4));
		return sizeof(s4);
	}
	if (k->mapped) {
		s6.sin6_addr.s6_addr[10] = s6.sin6_addr.s6_addr[11] = 0xff;
		memcpy(s6.sin6_addr.s6_addr + 12, a.w, 4);
	} else {
		memcpy(&s6.sin6_addr, a.w, 16);
	}
	memcpy(ss, &s6, sizeof(s6));
	return sizeof(s6);
}

static bool same(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	struct sockaddr_in6 x, y;
	struct sockaddr_in v, w;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	memcpy(&v, a, sizeof(v));
	memcpy(&w, b, sizeof(w));
	if (v.sin_family != w.sin_family || v.sin_port != w.sin_port)
		return false;
	if (v.sin_family == AF_INET)
		return v.sin_addr.s_addr == w.sin_addr.s_addr;
	return !memcmp(&x.sin6_addr, &y.sin6_addr, sizeof(x.sin6_addr));
}

static void put_service(bool v6, uint8_t proto, uint16_t port, __u32 set, __u32 n, bool past)
{
	struct sluice_service_key key = { service_addr(v6), htons(port), proto, v6 ? 6 : 4 };
	struct sluice_bpf_service s = { .since = { { past ? 2 : TOMORROW, past ? REVISION : 2 } } };
	__u32 i;

	s.v[0].set = s.v[1].set = set;
	s.v[0].n = past ? n : SLUICE_BPF_ABSENT;
	s.v[1].n = past ? SLUICE_BPF_ABSENT : n;
	put("services", &key, &s);
	for (i = 0; i < n; i++) {
		struct sluice_bpf_backend_key bk = { set, i };
		struct sluice_bpf_backend b = { backend_addr(v6), htons(PORT + i), 0 };
		struct sluice_bpf_backend_ref ref = { key, b.addr, b.port, 0 };
		__u32 one = 1;

		put("backends", &bk, &b);
		put("backend_refs", &ref, &one);
	}
}

static void put_services(void)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP };
	__u32 v6, p, set = 1;

	for (v6 = 0; v6 < 2; v6++) {
		struct sluice_bpf_addr_key vip = { service_addr(v6), v6 ? 6 : 4 };
		struct sluice_bpf_number one = { .since = { { TOMORROW, 1 } }, .v = { ~0U, 1 } };

		put("vips", &vip, &one);
		for (p = 0; p < 2; p++) {
			put_service(v6, protos[p], SERVICE_PORT, set++, BACKENDS, false);
			put_service(v6, protos[p], EMPTY_PORT, set++, 0, false);
			put_service(v6, protos[p], PAST_PORT, set++, BACKENDS, true);
		}
	}
}

static __u64 dropped(__u32 reason)
{
	int n = libbpf_num_possible_cpus(), i;
	struct sluice_bpf_stats *s = calloc(n, sizeof(*s));
	__u32 zero = 0;
	__u64 sum = 0;

	bpf_map_lookup_elem(map("stats"), &zero, s);
	for (i = 0; i < n; i++)
		sum += s[i].drops[reason];
	free(s);
	return sum;
}

/* Backends answer on all their ports until the test ends them. */
struct backends {
	int tcp[2][BACKENDS], udp[2][BACKENDS];
};

static int listener(bool v6, int type, uint16_t port)
{
	const struct kind *k = &kinds[v6 ? 1 : 0];
	int fd = socket(k->domain, type, 0), one = 1;
	struct sockaddr_storage ss;
	socklen_t len = fill(&ss, k, backend_addr(v6), port);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (void *)&ss, len) || (type == SOCK_STREAM && listen(fd, 128)))
		bail("a backend's socket: %s", strerror(errno));
	return fd;
}

static void open_backends(struct backends *b)
{
	int v6, i;

	for (v6 = 0; v6 < 2; v6++) {
		for (i = 0; i < BACKENDS; i++) {
			b->tcp[v6][i] = listener(v6, SOCK_STREAM, PORT + i);
			b->udp[v6][i] = listener(v6, SOCK_DGRAM, PORT + i);
		}
	}
}

/* Which of them has something to read? -1: none, within a second. */
static int ready(const int fds[BACKENDS])
{
	struct pollfd p[BACKENDS];
	int i;

	for (i = 0; i < BACKENDS; i++)
		p[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
	if (poll(p, BACKENDS, 1000) <= 0)
		return -1;
	for (i = 0; i < BACKENDS; i++)
		if (p[i].revents)
			return i;
	return -1;
}

static int client(const struct kind *k, int type)
{
	struct timeval second = { .tv_sec = 1 };
	int fd = socket(k->domain, type, 0), off = 0;

	if (k->domain == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second));
	return fd;
}

static int connect_to(const struct kind *k, int type, uint16_t port, int *fd)
{
	struct sockaddr_storage ss;
	socklen_t len = fill(&ss, k, service_addr(is_v6(k)), port);

	*fd = client(k, type);
	return connect(*fd, (void *)&ss, len) ? errno : 0;
}

static bool peer_is_service(const struct kind *k, int fd)
{
	struct sockaddr_storage peer = { 0 }, want;
	socklen_t len = sizeof(peer);

	fill(&want, k, service_addr(is_v6(k)), SERVICE_PORT);
	return !getpeername(fd, (void *)&peer, &len) && same(&peer, &want);
}

static void test_tcp(const struct kind *k, const struct backends *b)
{
	int seen[BACKENDS] = { 0 }, i, fd, n;

	for (i = 0; i < 60; i++) {
		int err = connect_to(k, SOCK_STREAM, SERVICE_PORT, &fd);

		check(!err, "connecting: %s", strerror(err));
		check(peer_is_service(k, fd), "the other end is not the service");
		n = err ? -1 : ready(b->tcp[is_v6(k)]);
		check(n >= 0, "no backend has the connection");
		if (n >= 0) {
			seen[n]++;
			close(accept(b->tcp[is_v6(k)][n], NULL, NULL));
		}
		close(fd);
	}
	/* Each is missed by all of 60 once in 10^10 runs. */
	check(seen[0] && seen[1] && seen[2], "backends saw %d, %d, %d", seen[0], seen[1], seen[2]);
	ok_checks("%s: TCP connections to a service reach its backends", k->name);
}

static void test_connected_udp(const struct kind *k, const struct backends *b)
{
	struct sockaddr_storage from, service;
	socklen_t len = sizeof(from);
	char buf[16];
	int fd, n, err = connect_to(k, SOCK_DGRAM, SERVICE_PORT, &fd);

	ok(!err && send(fd, "hello", 5, 0) == 5, "%s: UDP connects and sends", k->name);
	n = ready(b->udp[is_v6(k)]);
	if (!ok(n >= 0, "%s: a backend has it", k->name))
		return;
	check(recvfrom(b->udp[is_v6(k)][n], buf, sizeof(buf), 0, (void *)&from, &len) == 5, "lost");
	sendto(b->udp[is_v6(k)][n], "answer", 6, 0, (void *)&from, len);
	fill(&service, k, service_addr(is_v6(k)), SERVICE_PORT);
	len = sizeof(from);
	check(recvfrom(fd, buf, sizeof(buf), 0, (void *)&from, &len) == 6, "no answer");
	check(same(&from, &service), "the answer is not from the service");
	check(peer_is_service(k, fd), "the other end is not the service");
	ok_checks("%s: its answer is the service's", k->name);
	close(fd);
}

/* One datagram there and back; the backend that had it, or -1. */
static int ask(const struct kind *k, const struct backends *b, int fd)
{
	struct sockaddr_storage to, from;
	socklen_t len = fill(&to, k, service_addr(is_v6(k)), SERVICE_PORT);
	char buf[16];
	int n;

	if (sendto(fd, "hello", 5, 0, (void *)&to, len) != 5)
		return -1;
	n = ready(b->udp[is_v6(k)]);
	if (n < 0)
		return -1;
	len = sizeof(from);
	if (recvfrom(b->udp[is_v6(k)][n], buf, sizeof(buf), 0, (void *)&from, &len) != 5)
		return -1;
	sendto(b->udp[is_v6(k)][n], "answer", 6, 0, (void *)&from, len);
	len = sizeof(from);
	check(recvfrom(fd, buf, sizeof(buf), 0, (void *)&from, &len) == 6, "no answer");
	check(same(&from, &to), "the answer is not from the service");
	return n;
}

static void test_unconnected_udp(const struct kind *k, const struct backends *b)
{
	struct sluice_bpf_backend_ref ref = { { service_addr(is_v6(k)), htons(SERVICE_PORT),
						IPPROTO_UDP, is_v6(k) ? 6 : 4 },
					      backend_addr(is_v6(k)),
					      0,
					      0 };
	int fd, i, n, first, seen = 0;
	__u32 one = 1;

	for (i = 0; i < 60; i++) {
		fd = client(k, SOCK_DGRAM);
		n = ask(k, b, fd);
		check(n >= 0, "no backend has it");
		seen |= n >= 0 ? 1 << n : 0;
		close(fd);
	}
	check(seen == 7, "not all backends are used");
	ok_checks("%s: UDP that is not connected reaches the backends, and is answered", k->name);

	fd = client(k, SOCK_DGRAM);
	first = ask(k, b, fd);
	for (i = 0; i < 30; i++)
		check(ask(k, b, fd) == first, "another backend");
	ok_checks("%s: a socket keeps to its backend", k->name);

	/* It leaves the service: the set without it has the other two. */
	ref.port = htons(PORT + first);
	if (bpf_map_delete_elem(map("backend_refs"), &ref))
		bail("backend_refs: %s", strerror(errno));
	for (i = 0, n = first; i < 60 && n == first; i++)
		n = ask(k, b, fd); /* the set is as before, so that it may be picked again */
	ok(n >= 0 && n != first, "%s: until that leaves the service", k->name);
	put("backend_refs", &ref, &one);
	close(fd);
}

static void refused(const struct kind *k, uint16_t port, __u32 reason, const char *what)
{
	__u64 before = dropped(reason);
	struct sockaddr_storage to;
	socklen_t len = fill(&to, k, service_addr(is_v6(k)), port);
	int fd, err;

	err = connect_to(k, SOCK_STREAM, port, &fd);
	check(err == ECONNREFUSED, "TCP: %s", strerror(err));
	close(fd);
	err = connect_to(k, SOCK_DGRAM, port, &fd);
	check(err == ECONNREFUSED, "UDP: %s", strerror(err));
	close(fd);
	fd = client(k, SOCK_DGRAM);
	err = sendto(fd, "hello", 5, 0, (void *)&to, len) < 0 ? errno : 0;
	check(err == ECONNREFUSED, "UDP that is not connected: %s", strerror(err));
	close(fd);
	check(dropped(reason) == before + 3, "%llu are counted",
	      (unsigned long long)(dropped(reason) - before));
	ok_checks("%s: %s refuses, and is counted", k->name, what);
}

/* What is no service's address goes on as it is. */
static void test_others(const struct kind *k, const struct backends *b)
{
	struct sockaddr_storage ss, peer = { 0 };
	socklen_t len = fill(&ss, k, backend_addr(is_v6(k)), PORT + 1);
	int fd = client(k, SOCK_STREAM);

	check(!connect(fd, (void *)&ss, len), "connecting: %s", strerror(errno));
	check(ready(b->tcp[is_v6(k)]) == 1, "not there");
	close(accept(b->tcp[is_v6(k)][1], NULL, NULL));
	len = sizeof(peer);
	check(!getpeername(fd, (void *)&peer, &len) && same(&peer, &ss),
	      "the other end is another");
	close(fd);
	ok_checks("%s: other addresses are left alone", k->name);
}

static __u64 netns_cookie(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	__u64 cookie = 0;
	socklen_t len = sizeof(cookie);

	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len))
		bail("SO_NETNS_COOKIE: %s", strerror(errno));
	close(fd);
	return cookie;
}

static void loopback_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (ioctl(fd, SIOCSIFFLAGS, &ifr))
		bail("lo: %s", strerror(errno));
	close(fd);
}

/* In a namespace of its own a pod's socket must not meet the node's programs. */
static void test_other_namespace(void)
{
	int status, fd;
	pid_t pid = fork();

	if (!pid) {
		if (unshare(CLONE_NEWNET))
			_exit(2);
		/* Without a route: the stack's own answer, not a backend's and not a refusal. */
		_exit(connect_to(&kinds[0], SOCK_STREAM, SERVICE_PORT, &fd) == ENETUNREACH ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	ok(WIFEXITED(status) && !WEXITSTATUS(status), "sockets of other namespaces are left alone");
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		bail("%s: %s", path, strerror(errno));
	close(fd);
}

/* The hierarchy is mounted for us alone; the cgroup goes when we leave it. */
static void leave_cgroup(void)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/cgroup.procs", mount_point);
	write_file(path, "0");
	rmdir(cgroup);
	umount2(mount_point, MNT_DETACH);
	rmdir(mount_point);
}

static int enter_cgroup(void)
{
	char path[96];
	int fd;

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		bail("a mount namespace: %s", strerror(errno));
	if (!mkdtemp(mount_point) || mount("none", mount_point, "cgroup2", 0, NULL))
		bail("cgroup2: %s", strerror(errno));
	snprintf(cgroup, sizeof(cgroup), "%s/sluice-test-%d", mount_point, (int)getpid());
	if (mkdir(cgroup, 0755))
		bail("%s: %s", cgroup, strerror(errno));
	fd = open(cgroup, O_RDONLY | O_DIRECTORY);
	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	write_file(path, "0");
	return fd;
}

int main(int argc, char **argv)
{
	struct sluice_bpf_control c = { .layout = SLUICE_BPF_LAYOUT, .revision = REVISION };
	struct bpf_program *p;
	struct backends b;
	int cgroup_fd;
	__u32 zero = 0, i;

	if (argc < 2)
		return 2;
	if (unshare(CLONE_NEWNET))
		bail("a network namespace: %s", strerror(errno));
	loopback_up();
	object_open(argv[1]);
	object_load();
	c.netns_cookie = netns_cookie();
	put("control", &zero, &c);
	put_services();
	open_backends(&b);
	cgroup_fd = enter_cgroup();
	/* They are detached when their links are closed, at the latest with this process. */
	bpf_object__for_each_program(p, object) if (!bpf_program__attach_cgroup(p, cgroup_fd))
	{
		leave_cgroup();
		bail("attaching %s: %s", bpf_program__name(p), strerror(errno));
	}
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		test_tcp(&kinds[i], &b);
		test_connected_udp(&kinds[i], &b);
		test_unconnected_udp(&kinds[i], &b);
		refused(&kinds[i], EMPTY_PORT, SLUICE_REASON_NO_ENDPOINTS,
			"a service without backends");
		refused(&kinds[i], OTHER_PORT, SLUICE_REASON_SERVICE_PORT,
			"a port that no service has");
		refused(&kinds[i], PAST_PORT, SLUICE_REASON_SERVICE_PORT,
			"a service that is no more");
		test_others(&kinds[i], &b);
	}
	test_other_namespace();
	leave_cgroup();
	return done_testing();
}
