// SPDX-License-Identifier: GPL-2.0-only
#include "ctl/lib/kube_config.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/lib/alloc.h"
#include "ctl/lib/manifest_yaml.h"
#include "ctl/lib/value.h"

#define MAX_FILE (4u << 20) /* a kubeconfig, a token or a bundle of certificates */
#define SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"

static int read_file(const char *path, char **out, size_t *len, struct sluice_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret = 0;
	size_t n = 0, cap = 0;
	char *text = NULL;
	ssize_t got;

	if (fd < 0)
		return sluice_err_errno(err, errno, "open %s", path);
	do {
		if (n + 4096 > cap) {
			cap = cap * 2 + 8192;
			text = sluice_realloc(text, cap, 1);
		}
		got = read(fd, text + n, cap - n - 1);
		if (got < 0)
			ret = sluice_err_errno(err, errno, "read %s", path);
		n += got > 0 ? got : 0;
		if (n > MAX_FILE)
			ret = sluice_err_set(err, EFBIG, "%s: larger than %u bytes", path,
					     MAX_FILE);
	} while (got > 0 && !ret);
	close(fd);
	if (ret) {
		free(text);
		return ret;
	}
	text[n] = '\0';
	*out = text;
	*len = n;
	return 0;
}

static void free_list(char **list)
{
	for (char **at = list; at && *at; at++)
		free(*at);
	free(list);
}

void kube_pem_clear(struct kube_pem *pem)
{
	free(pem->file);
	if (pem->data)
		explicit_bzero(pem->data, pem->len);
	free(pem->data);
	memset(pem, 0, sizeof(*pem));
}

int kube_pem_text(const struct kube_pem *pem, char **text, size_t *len, struct sluice_err *err)
{
	if (pem->file)
		return read_file(pem->file, text, len, err);
	*len = pem->len;
	*text = sluice_zalloc(pem->len + 1);
	if (pem->data)
		memcpy(*text, pem->data, pem->len);
	return 0;
}

void kube_config_free(struct kube_config *config)
{
	if (!config)
		return;
	free(config->source);
	free(config->server);
	free(config->tls_server_name);
	free(config->proxy);
	kube_pem_clear(&config->ca);
	kube_pem_clear(&config->cert);
	kube_pem_clear(&config->key);
	if (config->token)
		explicit_bzero(config->token, strlen(config->token));
	free(config->token);
	free(config->token_file);
	free(config->exec.command);
	free(config->exec.api_version);
	free_list(config->exec.args);
	free_list(config->exec.env);
	free(config);
}

int kube_config_token(const struct kube_config *config, char **token, struct sluice_err *err)
{
	size_t len;
	int ret;

	*token = NULL;
	if (!config->token_file) {
		*token = config->token ? sluice_strdup(config->token) : NULL;
		return 0;
	}
	ret = read_file(config->token_file, token, &len, err);
	if (ret)
		return sluice_err_prefix(err, "token");
	while (len && strchr(" \t\r\n", (*token)[len - 1]))
		(*token)[--len] = '\0';
	/* It becomes a header: a line feed inside would make two of it. */
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)(*token)[i] > ' ' && (*token)[i] != 0x7f)
			continue;
		ret = sluice_err_set(err, EINVAL, "token: %s holds what no token may",
				     config->token_file);
	}
	if (!len)
		ret = sluice_err_set(err, EINVAL, "token: %s is empty", config->token_file);
	if (ret) {
		free(*token);
		*token = NULL;
	}
	return ret;
}

/* https://HOST[:PORT][/PATH], without user, query or fragment; slashes at its end are cut off. */
static int set_server(struct kube_config *config, const char *text, struct sluice_err *err)
{
	size_t n = strlen(text);

	if (strncasecmp(text, "https://", 8))
		return sluice_err_set(err, EINVAL,
				      "server: \"%.200s\" is not https://..., the only one allowed",
				      text);
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p <= ' ' || strchr("@?#\\\"", *p))
			return sluice_err_set(err, EINVAL,
					      "server: \"%.200s\" is not a server's URL", text);
	while (n > 8 && text[n - 1] == '/')
		n--;
	if (n == 8)
		return sluice_err_set(err, EINVAL, "server: \"%.200s\" names no host", text);
	config->server = sluice_alloc_check(strndup(text, n));
	return 0;
}

/* ---- the kubeconfig ---- */

struct reading {
	struct kube_config *config;
	const char *file;
	unsigned int documents;
	int ret;
	struct sluice_err *err;
};

/* Paths are relative to the kubeconfig's directory. */
static char *resolve(const struct reading *r, const char *path)
{
	const char *slash = strrchr(r->file, '/');
	char *out;

	if (*path == '/' || !slash)
		return sluice_strdup(path);
	if (asprintf(&out, "%.*s/%s", (int)(slash - r->file), r->file, path) < 0)
		sluice_alloc_check(NULL);
	return out;
}

static bool is_text(const struct sluice_value *v)
{
	return v && v->type == SLUICE_VALUE_TEXT;
}

/* The text of a field. NULL if it is absent, null or "", as Kubernetes has it. */
static int text_field(const struct sluice_value *object, const char *name, const char **out,
		      struct sluice_err *err)
{
	const struct sluice_value *v = sluice_value_get(object, name);

	*out = NULL;
	if (!v || v->type == SLUICE_VALUE_NULL)
		return 0;
	if (!is_text(v))
		return sluice_err_set(err, EINVAL, "line %u: %s is not a string", v->line, name);
	if (*v->text)
		*out = v->text;
	return 0;
}

static int refuse_unknown(const struct sluice_value *object, const char *const *known,
			  struct sluice_err *err)
{
	for (size_t i = 0; i < object->n; i++) {
		const struct sluice_member *m = &object->members[i];
		const char *const *at = known;

		while (*at && strcmp(*at, m->key))
			at++;
		if (!*at)
			return sluice_err_set(err, EINVAL, "line %u: %.80s is not understood",
					      m->value.line, m->key);
	}
	return 0;
}

/* The object "inner" of the list's item of that name. */
static int find_named(const struct sluice_value *root, const char *list, const char *name,
		      const char *inner, const struct sluice_value **out, struct sluice_err *err)
{
	const struct sluice_value *items = sluice_value_get(root, list);

	for (size_t i = 0; items && items->type == SLUICE_VALUE_LIST && i < items->n; i++) {
		const char *text = sluice_value_text(&items->items[i], "name");

		if (!text || strcmp(text, name))
			continue;
		*out = sluice_value_get(&items->items[i], inner);
		if (*out && (*out)->type == SLUICE_VALUE_OBJECT)
			return 0;
		return sluice_err_set(err, EINVAL, "%s: \"%.100s\" has no %s", list, name, inner);
	}
	return sluice_err_set(err, ENOENT, "%s: there is no \"%.100s\"", list, name);
}

static int decode_base64(const char *text, char **out, size_t *out_len, struct sluice_err *err)
{
	size_t n = 0, len = strlen(text), pad = 0;
	char *clean = sluice_zalloc(len + 1);
	unsigned char *bytes;
	int got;

	/* YAML folds long lines. */
	for (size_t i = 0; i < len; i++)
		if (!strchr(" \t\r\n", text[i]))
			clean[n++] = text[i];
	while (pad < n && pad < 2 && clean[n - 1 - pad] == '=')
		pad++;
	bytes = sluice_zalloc(n / 4 * 3 + 4);
	got = n && n < INT32_MAX ? EVP_DecodeBlock(bytes, (unsigned char *)clean, n) : -1;
	free(clean);
	if (got < (int)pad) {
		free(bytes);
		return sluice_err_set(err, EINVAL, "is not base64");
	}
	*out = (char *)bytes;
	*out_len = got - pad;
	bytes[*out_len] = '\0';
	return 0;
}

/* "client-key" and "client-key-data": the data counts more, as for kubectl. */
static int pem_field(struct reading *r, const struct sluice_value *object, const char *name,
		     struct kube_pem *out)
{
	const char *file, *data;
	char with_data[64];
	int ret;

	snprintf(with_data, sizeof(with_data), "%s-data", name);
	ret = text_field(object, name, &file, r->err);
	if (!ret)
		ret = text_field(object, with_data, &data, r->err);
	if (ret)
		return ret;
	if (data) {
		ret = decode_base64(data, &out->data, &out->len, r->err);
		return ret ? sluice_err_prefix(r->err, "%s", with_data) : 0;
	}
	if (!file)
		return 0;
	out->file = resolve(r, file);
	if (access(out->file, R_OK))
		return sluice_err_errno(r->err, errno, "%s: %s", name, out->file);
	return 0;
}

static int read_cluster(struct reading *r, const struct sluice_value *cluster)
{
	static const char *const known[] = { "server",
					     "certificate-authority",
					     "certificate-authority-data",
					     "tls-server-name",
					     "proxy-url",
					     "disable-compression",
					     "insecure-skip-tls-verify",
					     "extensions",
					     NULL };
	const struct sluice_value *insecure = sluice_value_get(cluster, "insecure-skip-tls-verify");
	const struct sluice_value *plain = sluice_value_get(cluster, "disable-compression");
	struct kube_config *config = r->config;
	const char *text = NULL;
	int ret;

	/* false says what holds anyway. */
	if (insecure && !(insecure->type == SLUICE_VALUE_BOOLEAN && !insecure->boolean))
		return sluice_err_set(r->err, EINVAL,
				      "line %u: insecure-skip-tls-verify is refused: the server's "
				      "certificate is always verified",
				      insecure->line);
	ret = refuse_unknown(cluster, known, r->err);
	if (!ret)
		ret = text_field(cluster, "server", &text, r->err);
	if (!ret && !text)
		ret = sluice_err_set(r->err, EINVAL, "server is missing");
	if (!ret)
		ret = set_server(config, text, r->err);
	if (!ret)
		ret = pem_field(r, cluster, "certificate-authority", &config->ca);
	if (!ret)
		ret = text_field(cluster, "tls-server-name", &text, r->err);
	if (!ret && text)
		config->tls_server_name = sluice_strdup(text);
	if (!ret)
		ret = text_field(cluster, "proxy-url", &text, r->err);
	if (!ret && text)
		config->proxy = sluice_strdup(text);
	config->no_compression = plain && plain->type == SLUICE_VALUE_BOOLEAN && plain->boolean;
	return ret;
}

static int read_args(const struct sluice_value *list, char ***out, struct sluice_err *err)
{
	if (!list || list->type == SLUICE_VALUE_NULL)
		return 0;
	if (list->type != SLUICE_VALUE_LIST)
		return sluice_err_set(err, EINVAL, "line %u: args is not a list", list->line);
	*out = sluice_zalloc((list->n + 1) * sizeof(**out));
	for (size_t i = 0; i < list->n; i++) {
		if (!is_text(&list->items[i]))
			return sluice_err_set(err, EINVAL, "line %u: args[%zu] is not a string",
					      list->items[i].line, i);
		(*out)[i] = sluice_strdup(list->items[i].text);
	}
	return 0;
}

static int read_env(const struct sluice_value *list, char ***out, struct sluice_err *err)
{
	if (!list || list->type == SLUICE_VALUE_NULL)
		return 0;
	if (list->type != SLUICE_VALUE_LIST)
		return sluice_err_set(err, EINVAL, "line %u: env is not a list", list->line);
	*out = sluice_zalloc((2 * list->n + 1) * sizeof(**out));
	for (size_t i = 0; i < list->n; i++) {
		const char *name = sluice_value_text(&list->items[i], "name");
		const char *value = sluice_value_text(&list->items[i], "value");

		if (!name || !*name || strchr(name, '=') || !value)
			return sluice_err_set(err, EINVAL,
					      "line %u: env[%zu] is not a name and a value",
					      list->items[i].line, i);
		(*out)[2 * i] = sluice_strdup(name);
		(*out)[2 * i + 1] = sluice_strdup(value);
	}
	return 0;
}

static int read_exec(struct reading *r, const struct sluice_value *exec)
{
	static const char *const known[] = { "command",		"args",	       "env",
					     "apiVersion",	"installHint", "provideClusterInfo",
					     "interactiveMode", NULL };
	const struct sluice_value *info = sluice_value_get(exec, "provideClusterInfo");
	struct kube_exec *out = &r->config->exec;
	const char *text;
	int ret;

	if (exec->type != SLUICE_VALUE_OBJECT)
		return sluice_err_set(r->err, EINVAL, "is not an object");
	ret = refuse_unknown(exec, known, r->err);
	if (!ret)
		ret = text_field(exec, "apiVersion", &text, r->err);
	if (ret)
		return ret;
	if (!text || (strcmp(text, "client.authentication.k8s.io/v1") &&
		      strcmp(text, "client.authentication.k8s.io/v1beta1")))
		return sluice_err_set(
			r->err, EINVAL,
			"apiVersion: \"%.80s\" is not client.authentication.k8s.io/v1 or "
			"/v1beta1",
			text ? text : "");
	out->api_version = sluice_strdup(text);
	ret = text_field(exec, "interactiveMode", &text, r->err);
	if (ret)
		return ret;
	if (text && !strcmp(text, "Always"))
		return sluice_err_set(r->err, EINVAL,
				      "interactiveMode: Always, but nobody is there to be asked");
	ret = text_field(exec, "command", &text, r->err);
	if (!ret && !text)
		ret = sluice_err_set(r->err, EINVAL, "command is missing");
	if (ret)
		return ret;
	/* A bare name is looked up in PATH. */
	out->command = strchr(text, '/') ? resolve(r, text) : sluice_strdup(text);
	ret = read_args(sluice_value_get(exec, "args"), &out->args, r->err);
	if (!ret)
		ret = read_env(sluice_value_get(exec, "env"), &out->env, r->err);
	out->provide_cluster_info = info && info->type == SLUICE_VALUE_BOOLEAN && info->boolean;
	return ret;
}

static int read_user(struct reading *r, const struct sluice_value *user)
{
	static const char *const known[] = { "client-certificate",
					     "client-certificate-data",
					     "client-key",
					     "client-key-data",
					     "token",
					     "tokenFile",
					     "exec",
					     "extensions",
					     NULL };
	const struct sluice_value *exec = sluice_value_get(user, "exec");
	struct kube_config *config = r->config;
	const char *text = NULL;
	int ret;

	ret = refuse_unknown(user, known, r->err);
	if (!ret)
		ret = pem_field(r, user, "client-certificate", &config->cert);
	if (!ret)
		ret = pem_field(r, user, "client-key", &config->key);
	if (!ret &&
	    (config->cert.file || config->cert.data) != (config->key.file || config->key.data))
		ret = sluice_err_set(
			r->err, EINVAL,
			"client-certificate and client-key are given together or not at "
			"all");
	if (!ret)
		ret = text_field(user, "token", &text, r->err);
	if (!ret && text)
		config->token = sluice_strdup(text);
	if (!ret)
		ret = text_field(user, "tokenFile", &text, r->err);
	if (!ret && text)
		config->token_file = resolve(r, text);
	if (!ret && exec && exec->type != SLUICE_VALUE_NULL) {
		ret = read_exec(r, exec);
		if (ret)
			sluice_err_prefix(r->err, "exec");
	}
	for (const char *p = config->token; !ret && p && *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			ret = sluice_err_set(r->err, EINVAL, "token holds what no token may");
	return ret;
}

static int read_root(struct reading *r, const struct sluice_value *root)
{
	const struct sluice_value *context, *cluster, *user;
	const char *kind = sluice_value_text(root, "kind"), *name, *cluster_name, *user_name;
	int ret;

	if (root->type != SLUICE_VALUE_OBJECT || (kind && strcmp(kind, "Config")))
		return sluice_err_set(r->err, EINVAL, "this is not a kubeconfig (kind: Config)");
	ret = text_field(root, "current-context", &name, r->err);
	if (!ret && !name)
		ret = sluice_err_set(r->err, EINVAL, "current-context is missing");
	if (!ret)
		ret = find_named(root, "contexts", name, "context", &context, r->err);
	if (!ret)
		ret = text_field(context, "cluster", &cluster_name, r->err);
	if (!ret)
		ret = text_field(context, "user", &user_name, r->err);
	if (!ret && !cluster_name)
		ret = sluice_err_set(r->err, EINVAL, "context \"%.100s\" has no cluster", name);
	if (!ret)
		ret = find_named(root, "clusters", cluster_name, "cluster", &cluster, r->err);
	if (ret)
		return ret;
	ret = read_cluster(r, cluster);
	if (ret)
		return sluice_err_prefix(r->err, "cluster \"%.100s\"", cluster_name);
	if (!user_name)
		return 0;
	ret = find_named(root, "users", user_name, "user", &user, r->err);
	if (ret)
		return ret;
	ret = read_user(r, user);
	return ret ? sluice_err_prefix(r->err, "user \"%.100s\"", user_name) : 0;
}

static void read_document(void *ctx, const struct sluice_value *root)
{
	struct reading *r = ctx;

	if (!r->documents++)
		r->ret = read_root(r, root);
}

static int load_file(struct kube_config *config, const char *file, struct sluice_err *err)
{
	struct sluice_arena arena = { 0 };
	unsigned int line;
	size_t len;
	char *text;
	int ret;
	SLUICE_ERR(problem); /* of the content: the YAML reader has its own, and clears it */
	struct reading r = { .config = config, .file = file, .err = &problem };

	ret = read_file(file, &text, &len, err);
	if (ret)
		return ret;
	ret = sluice_yaml_read(&arena, text, len, 1, read_document, &r, &line, err);
	if (ret)
		sluice_err_prefix(err, "line %u", line);
	else if (!r.documents)
		ret = sluice_err_set(err, EINVAL, "it is empty");
	else if (r.ret)
		ret = sluice_err_move(err, &problem);
	sluice_arena_clear(&arena);
	explicit_bzero(text, len);
	free(text);
	return ret ? sluice_err_prefix(err, "%s", file) : 0;
}

static int load_in_cluster(struct kube_config *config, struct sluice_err *err)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST");
	const char *port = getenv("KUBERNETES_SERVICE_PORT");
	/* For tests, which are no pods. */
	const char *dir = getenv("SLUICE_SERVICE_ACCOUNT") ?: SERVICE_ACCOUNT;
	bool brackets = host && strchr(host, ':') && *host != '[';
	char *url;
	int ret;

	if (!host || !*host || !port || !*port)
		return sluice_err_set(
			err, ENOENT,
			"not in a pod (KUBERNETES_SERVICE_HOST and _PORT are not set), "
			"and no --kubeconfig given");
	if (asprintf(&url, "https://%s%s%s:%s", brackets ? "[" : "", host, brackets ? "]" : "",
		     port) < 0 ||
	    asprintf(&config->ca.file, "%s/ca.crt", dir) < 0 ||
	    asprintf(&config->token_file, "%s/token", dir) < 0)
		sluice_alloc_check(NULL);
	ret = set_server(config, url, err);
	free(url);
	if (!ret && access(config->ca.file, R_OK))
		ret = sluice_err_errno(err, errno, "%s", config->ca.file);
	if (!ret && access(config->token_file, R_OK))
		ret = sluice_err_errno(err, errno, "%s", config->token_file);
	return ret ? sluice_err_prefix(err, "in-cluster credentials") : 0;
}

int kube_config_load(const char *file, struct kube_config **out, struct sluice_err *err)
{
	struct kube_config *config = sluice_zalloc(sizeof(*config));
	int ret;

	config->source = sluice_strdup(file ? file : "in-cluster");
	ret = file ? load_file(config, file, err) : load_in_cluster(config, err);
	if (ret) {
		kube_config_free(config);
		return ret;
	}
	*out = config;
	return 0;
}
