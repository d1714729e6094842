// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/kube_exec.h"

#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/lib/alloc.h"

#define INFO "KUBERNETES_EXEC_INFO"

extern char **environ;

bool kube_credential_is_set(const struct kube_credential *credential)
{
	return credential->token || credential->cert.data;
}

void kube_credential_clear(struct kube_credential *credential)
{
	if (credential->token)
		explicit_bzero(credential->token, strlen(credential->token));
	free(credential->token);
	kube_pem_clear(&credential->cert);
	kube_pem_clear(&credential->key);
	memset(credential, 0, sizeof(*credential));
}

/* ---- what it prints ---- */

static void take_pem(const json_t *status, const char *name, struct kube_pem *out)
{
	const char *text = json_string_value(json_object_get(status, name));

	if (!text || !*text)
		return;
	out->data = sluice_strdup(text);
	out->len = strlen(text);
}

/* RFC 3339 in UTC, as Kubernetes writes it: 2026-01-02T03:04:05Z. */
static bool parse_time(const char *text, time_t *out)
{
	struct tm tm = { 0 };
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	long offset = 0;
	int h, m;

	if (!end)
		return false;
	if (*end == '.')
		end += 1 + strspn(end + 1, "0123456789");
	if (*end == '+' || *end == '-') {
		if (sscanf(end + 1, "%2d:%2d", &h, &m) != 2)
			return false;
		offset = (h * 60L + m) * 60 * (*end == '-' ? -1 : 1);
	} else if (strcmp(end, "Z")) {
		return false;
	}
	*out = timegm(&tm) - offset;
	return true;
}

int kube_exec_parse(const char *text, size_t len, const char *api_version,
		    struct kube_credential *out, struct sluice_err *err)
{
	json_error_t why;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	const json_t *status = json_object_get(root, "status");
	const char *kind = json_string_value(json_object_get(root, "kind"));
	const char *api = json_string_value(json_object_get(root, "apiVersion"));
	const char *expires = json_string_value(json_object_get(status, "expirationTimestamp"));
	const char *token = json_string_value(json_object_get(status, "token"));
	int ret = 0;

	memset(out, 0, sizeof(*out));
	if (!root)
		return sluice_err_set(err, EINVAL, "what it printed is not JSON: %s (line %d)",
				      why.text, why.line);
	take_pem(status, "clientCertificateData", &out->cert);
	take_pem(status, "clientKeyData", &out->key);
	if (!kind || strcmp(kind, "ExecCredential") || !api || strcmp(api, api_version))
		ret = sluice_err_set(err, EINVAL, "what it printed is not an ExecCredential of %s",
				     api_version);
	else if (!(token && *token) && !out->cert.data)
		ret = sluice_err_set(err, EINVAL,
				     "what it printed has no token and no certificate");
	else if (!out->cert.data != !out->key.data)
		ret = sluice_err_set(err, EINVAL,
				     "what it printed has one of clientCertificateData and "
				     "clientKeyData alone");
	else if (expires && !parse_time(expires, &out->expires))
		ret = sluice_err_set(err, EINVAL, "expirationTimestamp: \"%.60s\" is not a time",
				     expires);
	for (const char *p = token; !ret && p && *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			ret = sluice_err_set(err, EINVAL, "the token holds what no token may");
	if (ret)
		kube_credential_clear(out);
	else if (token && *token)
		out->token = sluice_strdup(token);
	json_decref(root);
	return ret;
}

/* ---- running it ---- */

struct kube_exec_run {
	struct loop *loop;
	const struct kube_config *config;
	void (*done)(void *ctx, struct kube_credential *credential, const struct sluice_err *err);
	void *ctx;
	pid_t pid; /* 0: it did not start */
	struct watch output;
	struct watch process; /* its pidfd: readable when it has ended */
	struct timer timer;
	struct sluice_err problem; /* why it is being given up */
	char *text;
	size_t len, cap;
};

static json_t *cluster_info(const struct kube_config *config)
{
	json_t *cluster = json_pack("{s:s, s:s*, s:s*}", "server", config->server,
				    "tls-server-name", config->tls_server_name, "proxy-url",
				    config->proxy);
	unsigned char *encoded;
	size_t len;
	char *pem;

	/* An authority that cannot be read is told by the first request. */
	if ((config->ca.file || config->ca.data) && !kube_pem_text(&config->ca, &pem, &len, NULL)) {
		encoded = sluice_zalloc(len / 3 * 4 + 8);
		EVP_EncodeBlock(encoded, (unsigned char *)pem, len);
		json_object_set_new(cluster, "certificate-authority-data",
				    json_string((char *)encoded));
		free(encoded);
		free(pem);
	}
	return cluster;
}

static char *exec_info(const struct kube_config *config)
{
	json_t *spec = json_pack("{s:b}", "interactive", 0), *info;
	char *json, *text;

	if (config->exec.provide_cluster_info)
		json_object_set_new(spec, "cluster", cluster_info(config));
	info = json_pack("{s:s, s:s, s:o}", "kind", "ExecCredential", "apiVersion",
			 config->exec.api_version, "spec", spec);
	json = sluice_alloc_check(json_dumps(info, JSON_COMPACT));
	if (asprintf(&text, INFO "=%s", json) < 0)
		sluice_alloc_check(NULL);
	free(json);
	json_decref(info);
	return text;
}

/* Ours, what the kubeconfig adds, and KUBERNETES_EXEC_INFO; to be freed from "*own" on. */
static char **make_environment(const struct kube_config *config, size_t *own)
{
	char **out = NULL, *const * at;
	size_t n = 0, cap = 0;

	for (at = environ; *at; at++) {
		bool replaced = !strncmp(*at, INFO "=", strlen(INFO) + 1);

		for (char *const *pair = config->exec.env; pair && *pair && !replaced; pair += 2) {
			size_t len = strlen(*pair);

			replaced = !strncmp(*at, *pair, len) && (*at)[len] == '=';
		}
		if (replaced)
			continue;
		sluice_grow(out, n, cap);
		out[n++] = *at;
	}
	*own = n;
	for (char *const *pair = config->exec.env; pair && *pair; pair += 2) {
		sluice_grow(out, n, cap);
		if (asprintf(&out[n++], "%s=%s", pair[0], pair[1]) < 0)
			sluice_alloc_check(NULL);
	}
	sluice_grow(out, n, cap);
	out[n++] = exec_info(config);
	sluice_grow(out, n, cap);
	out[n] = NULL;
	return out;
}

static void free_run(struct kube_exec_run *run)
{
	loop_disarm(run->loop, &run->timer);
	if (run->output.fd >= 0) {
		loop_remove(run->loop, &run->output);
		close(run->output.fd);
	}
	if (run->process.fd >= 0) {
		loop_remove(run->loop, &run->process);
		close(run->process.fd);
	}
	sluice_err_clear(&run->problem);
	if (run->text)
		explicit_bzero(run->text, run->len);
	free(run->text);
	free(run);
}

static void give_up(struct kube_exec_run *run)
{
	if (run->pid)
		kill(run->pid, SIGKILL);
}

/* Reads what is there. False: no more will come. */
static bool drain(struct kube_exec_run *run)
{
	ssize_t n;

	for (;;) {
		if (run->cap - run->len < 4096) {
			run->cap = run->cap * 2 + 8192;
			run->text = sluice_realloc(run->text, run->cap, 1);
		}
		n = read(run->output.fd, run->text + run->len, run->cap - run->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		run->len += n;
		if (run->len > KUBE_EXEC_MAX) {
			sluice_err_set(&run->problem, EFBIG, "it printed more than %u bytes",
				       KUBE_EXEC_MAX);
			run->len = 0;
			give_up(run);
			return false;
		}
	}
}

static void on_output(struct watch *watch, uint32_t events)
{
	struct kube_exec_run *run = container_of(watch, struct kube_exec_run, output);

	(void)events;
	if (drain(run))
		return;
	loop_remove(run->loop, watch);
	close(watch->fd);
	watch->fd = -1;
}

static void tell(struct kube_exec_run *run)
{
	struct kube_credential credential;
	SLUICE_ERR(err);

	sluice_err_move(&err, &run->problem);
	if (!err.code)
		kube_exec_parse(run->text ?: "", run->len, run->config->exec.api_version,
				&credential, &err);
	if (err.code) {
		sluice_err_prefix(&err, "exec plugin %s", run->config->exec.command);
		run->done(run->ctx, NULL, &err);
	} else {
		run->done(run->ctx, &credential, NULL);
	}
	free_run(run);
}

static void on_end(struct watch *watch, uint32_t events)
{
	struct kube_exec_run *run = container_of(watch, struct kube_exec_run, process);
	int status = 0;

	(void)events;
	waitpid(run->pid, &status, 0);
	run->pid = 0;
	if (run->output.fd >= 0)
		drain(run);
	if (!run->problem.code && WIFSIGNALED(status))
		sluice_err_set(&run->problem, EIO, "it was ended by signal %d", WTERMSIG(status));
	else if (!run->problem.code && WEXITSTATUS(status))
		sluice_err_set(&run->problem, EIO, "it ended with status %d", WEXITSTATUS(status));
	tell(run);
}

static void on_time(struct timer *timer)
{
	struct kube_exec_run *run = container_of(timer, struct kube_exec_run, timer);

	if (!run->pid) { /* it did not even start */
		tell(run);
		return;
	}
	sluice_err_set(&run->problem, ETIMEDOUT, "it took longer than %d s", KUBE_EXEC_MS / 1000);
	give_up(run);
}

static int spawn(struct kube_exec_run *run, struct sluice_err *err)
{
	const struct kube_exec *exec = &run->config->exec;
	char *const none[] = { NULL }, *const *args = exec->args ?: none;
	char **argv, **envp;
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t mask;
	size_t n = 0, own;
	int fds[2], ret;

	if (pipe2(fds, O_CLOEXEC))
		return sluice_err_errno(err, errno, "pipe");
	while (args[n])
		n++;
	argv = sluice_zalloc((n + 2) * sizeof(*argv));
	argv[0] = exec->command;
	memcpy(argv + 1, args, n * sizeof(*argv));
	envp = make_environment(run->config, &own);

	/* Signals that we take by signalfd are the program's to die of. */
	sigemptyset(&mask);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &mask);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
	ret = posix_spawnp(&run->pid, exec->command, &actions, &attr, argv, envp);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	close(fds[1]);
	for (char **at = envp + own; *at; at++)
		free(*at);
	free(envp);
	free(argv);
	if (ret) {
		run->pid = 0;
		close(fds[0]);
		return sluice_err_errno(err, ret, "it cannot be started");
	}
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	run->output = (struct watch){ fds[0], on_output };
	run->process = (struct watch){ pidfd_open(run->pid, 0), on_end };
	ret = run->process.fd < 0 ? sluice_err_errno(err, errno, "pidfd_open") : 0;
	if (!ret)
		ret = loop_add(run->loop, &run->output, EPOLLIN, err);
	if (!ret)
		ret = loop_add(run->loop, &run->process, EPOLLIN, err);
	if (ret) {
		give_up(run);
		waitpid(run->pid, NULL, 0);
		run->pid = 0;
	}
	return ret;
}

struct kube_exec_run *kube_exec_start(struct loop *loop, const struct kube_config *config,
				      void (*done)(void *ctx, struct kube_credential *credential,
						   const struct sluice_err *err),
				      void *ctx)
{
	struct kube_exec_run *run = sluice_zalloc(sizeof(*run));

	run->loop = loop;
	run->config = config;
	run->done = done;
	run->ctx = ctx;
	run->output.fd = run->process.fd = -1;
	run->timer.expired = on_time;
	loop_arm(loop, &run->timer, spawn(run, &run->problem) ? 0 : KUBE_EXEC_MS);
	return run;
}

void kube_exec_cancel(struct kube_exec_run *run)
{
	give_up(run);
	if (run->pid)
		waitpid(run->pid, NULL, 0);
	free_run(run);
}
