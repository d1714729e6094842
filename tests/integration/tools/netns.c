// SPDX-License-Identifier: GPL-2.0-only
/*
 * netns: named network namespaces, as "ip netns" keeps them, at a tenth of its cost: in an emulated
 * machine a scenario waits mostly for programs to start.
 *
 *	netns add NAME...	with the loopback device up
 *	netns del NAME...	those that exist
 *	netns exec NAME COMMAND...
 *	netns set NAME... PATH=VALUE...	files under /proc/sys
 *	netns cookie NAME...	the kernel's number of each
 *
 * exec changes the network namespace alone: /sys is still that of the caller's.
 */
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "netns.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static void loopback_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr))
		die("netns: lo: %s", strerror(errno));
	close(fd);
}

/* "ip netns" wants the folder to be a mount of its own, which other mount namespaces share. */
static void prepare_folder(void)
{
	mkdir("/run/netns", 0755);
	if (!mount("", "/run/netns", "none", MS_SHARED | MS_REC, NULL))
		return;
	if (errno != EINVAL || mount("/run/netns", "/run/netns", "none", MS_BIND | MS_REC, NULL) ||
	    mount("", "/run/netns", "none", MS_SHARED | MS_REC, NULL))
		die("netns: /run/netns: %s", strerror(errno));
}

static void add(const char *name)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "/run/netns/%s", name);
	fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);
	if (fd < 0)
		die("netns: %s: %s", path, strerror(errno));
	close(fd);
	if (unshare(CLONE_NEWNET) || mount("/proc/self/ns/net", path, "none", MS_BIND, NULL))
		die("netns: %s: %s", path, strerror(errno));
	loopback_up();
}

static void del(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "/run/netns/%s", name);
	umount2(path, MNT_DETACH);
	if (unlink(path) && errno != ENOENT)
		die("netns: %s: %s", path, strerror(errno));
}

static void set(const char *name, char **settings)
{
	netns_enter(name);
	for (; *settings; settings++) {
		const char *value = strchr(*settings, '=');
		char path[256];
		int fd;

		if (!value)
			die("netns: \"%s\" is not PATH=VALUE", *settings);
		snprintf(path, sizeof(path), "/proc/sys/%.*s", (int)(value - *settings), *settings);
		value++;
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, value, strlen(value)) < 0)
			die("netns: %s: %s", path, strerror(errno));
		close(fd);
	}
}

static void print_cookie(const char *name)
{
	uint64_t cookie;
	socklen_t len = sizeof(cookie);
	int fd;

	netns_enter(name);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len))
		die("netns: the cookie of %s: %s", name, strerror(errno));
	printf("%llu\n", (unsigned long long)cookie);
	close(fd);
}

int main(int argc, char **argv)
{
	int settings = 2;

	if (argc < 3)
		die("netns: want add, del, exec, set or cookie, and a name");
	if (!strcmp(argv[1], "exec") && argc > 3) {
		netns_enter(argv[2]);
		execvp(argv[3], argv + 3);
		die("netns: %s: %s", argv[3], strerror(errno));
	}
	if (!strcmp(argv[1], "add"))
		prepare_folder();
	if (!strcmp(argv[1], "set")) {
		while (settings < argc && !strchr(argv[settings], '='))
			settings++;
		for (int i = 2; i < settings; i++)
			set(argv[i], argv + settings);
		return 0;
	}
	for (int i = 2; i < argc; i++) {
		if (!strcmp(argv[1], "add"))
			add(argv[i]);
		else if (!strcmp(argv[1], "del"))
			del(argv[i]);
		else if (!strcmp(argv[1], "cookie"))
			print_cookie(argv[i]);
		else
			die("netns: unknown command \"%s\"", argv[1]);
	}
	return 0;
}
