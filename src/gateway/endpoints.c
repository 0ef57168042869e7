/* endpoints.c -- which path is what: one row an endpoint. Paths are LiteLLM's, with and without /v1. */
#include "gateway/reload.h"
#include "gateway/scrape.h"

static const struct call_type chat = {
    "chat.completions", {"/v1/chat/completions", 20}, {"/chat/completions", 17}, true};
static const struct call_type completions = {
    "completions", {"/v1/completions", 15}, {"/completions", 12}, true};
static const struct call_type embeddings = {
    "embeddings", {"/v1/embeddings", 14}, {"/embeddings", 11}, false};

#define P(literal)                                                                                 \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

// clang-format off
static const struct endpoint_row rows[] = {
    /* path                      GET    POST   key          road           at once            by the control thread */
    {P("/v1/chat/completions"),  false, true,  KEY_NO,      &chat,         NULL,              NULL},
    {P("/chat/completions"),     false, true,  KEY_NO,      &chat,         NULL,              NULL},
    {P("/v1/completions"),       false, true,  KEY_NO,      &completions,  NULL,              NULL},
    {P("/completions"),          false, true,  KEY_NO,      &completions,  NULL,              NULL},
    {P("/v1/embeddings"),        false, true,  KEY_NO,      &embeddings,   NULL,              NULL},
    {P("/embeddings"),           false, true,  KEY_NO,      &embeddings,   NULL,              NULL},
    {P("/v1/models"),            true,  false, KEY_YES,     NULL,          admin_models,      NULL},
    {P("/models"),               true,  false, KEY_YES,     NULL,          admin_models,      NULL},
    {P("/v1/models/*"),          true,  false, KEY_YES,     NULL,          admin_model,       NULL},
    {P("/models/*"),             true,  false, KEY_YES,     NULL,          admin_model,       NULL},
    {P("/model/info"),           true,  false, KEY_YES,     NULL,          NULL,              admin_model_info},
    {P("/v1/model/info"),        true,  false, KEY_YES,     NULL,          NULL,              admin_model_info},
    {P("/health"),               true,  false, KEY_YES,     NULL,          NULL,              health_answer},
    {P("/health/liveliness"),    true,  false, KEY_NO,      NULL,          admin_liveliness,  NULL},
    {P("/health/liveness"),      true,  false, KEY_NO,      NULL,          admin_liveliness,  NULL},
    {P("/health/readiness"),     true,  false, KEY_NO,      NULL,          admin_readiness,   NULL},
    {P("/health/backlog"),       true,  false, KEY_YES,     NULL,          admin_backlog,     NULL},
    {P("/cache/ping"),           true,  false, KEY_YES,     NULL,          cache_admin_ping,  NULL},
    {P("/cache/delete"),         false, true,  KEY_MASTER,  NULL,          cache_admin_delete, NULL},
    {P("/cache/flushall"),       false, true,  KEY_MASTER,  NULL,          NULL,              cache_admin_flush},
    {P("/metrics"),              true,  false, KEY_METRICS, NULL,          NULL,              scrape_metrics},
    {P("/metrics/"),             true,  false, KEY_METRICS, NULL,          NULL,              scrape_metrics},
    {P("/config/reload"),        false, true,  KEY_MASTER,  NULL,          NULL,              reload_answer},
    {P("/"),                     true,  false, KEY_NO,      NULL,          NULL,              admin_status_page},
    {P("/dashboard"),            true,  false, KEY_NO,      NULL,          NULL,              admin_status_page},
    {P("/key/generate"),         false, true,  KEY_MASTER,  NULL,          NULL,              key_admin},
    {P("/key/update"),           false, true,  KEY_MASTER,  NULL,          NULL,              key_admin},
    {P("/key/delete"),           false, true,  KEY_MASTER,  NULL,          NULL,              key_admin},
    {P("/key/block"),            false, true,  KEY_MASTER,  NULL,          NULL,              key_admin},
    {P("/key/unblock"),          false, true,  KEY_MASTER,  NULL,          NULL,              key_admin},
    {P("/key/regenerate"),       false, true,  KEY_MASTER,  NULL,          NULL,              key_admin},
    {P("/key/info"),             true,  false, KEY_YES,     NULL,          NULL,              key_admin},
    {P("/key/list"),             true,  false, KEY_MASTER,  NULL,          NULL,              key_admin},
    {P("/api/v1/status"),        true,  false, KEY_MASTER,    NULL,          NULL,              admin_status},
    {P("/api/v1/requests"),      true,  false, KEY_MASTER,    NULL,          NULL,              admin_requests},
};
// clang-format on

static bool row_matches(const struct endpoint_row *row, struct str path)
{
    if (row->path.p[row->path.n - 1] != '*')
        return str_eq(row->path, path);
    struct str prefix = {row->path.p, row->path.n - 1};
    return path.n > prefix.n && str_starts(path, prefix);
}

const struct endpoint_row *endpoint_find(struct str path, enum h1_method method,
                                         enum error_code *why)
{
    *why = ERR_NOT_FOUND;
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (!row_matches(&rows[i], path))
            continue;
        if ((rows[i].get && (method == H1_GET || method == H1_HEAD)) ||
            (rows[i].post && method == H1_POST)) {
            *why = ERR_NONE;
            return &rows[i];
        }
        *why = ERR_METHOD_NOT_ALLOWED;
    }
    return NULL;
}

const char *endpoint_allow(struct str path)
{
    for (size_t i = 0; i < COUNT(rows); i++)
        if (row_matches(&rows[i], path))
            return rows[i].post ? "allow: POST, OPTIONS\r\n" : "allow: GET, HEAD, OPTIONS\r\n";
    return "";
}

enum error_code endpoint_auth(const struct endpoint_row *row, struct worker *w,
                              const struct h1_head *h)
{
    const struct config *c = worker_config(w);
    struct caller who;
    if (row->key == KEY_NO || (row->key == KEY_METRICS && !c->require_auth_for_metrics))
        return ERR_NONE; /* roads ask in their auth step, so that the refusal is recorded */
    enum error_code code = auth_check(w, c, h, &who);
    key_put(who.key);
    return code == ERR_NONE && row->key == KEY_MASTER && !who.is_master ? ERR_KEY_NOT_ADMIN : code;
}
