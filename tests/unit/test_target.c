#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

#include "measure/target.h"

static struct measure_target *target(const char *url)
{
    struct err e = {0};
    struct measure_target *t = measure_target_new(&(struct measure_target_options){.url = url}, &e);
    if (!t)
        fail_msg("%s: %s", url, e.text);
    return t;
}

static void urls_as_people_write_them(void **state)
{
    static const struct {
        const char *url, *shown, *host, *base, *root;
        int port;
    } rows[] = {
        {NULL, "http://localhost:4000", "localhost", "/v1", "", 4000},
        {"http://localhost:4000/", "http://localhost:4000", "localhost", "/v1", "", 4000},
        {"localhost:4000", "http://localhost:4000", "localhost", "/v1", "", 4000},
        {"http://LOCALHOST:4000/v1/", "http://localhost:4000", "localhost", "/v1", "", 4000},
        {"http://127.0.0.1:8000/v1/chat/completions", "http://127.0.0.1:8000", "127.0.0.1", "/v1",
         "", 8000},
        {"https://api.groq.com/openai/v1", "https://api.groq.com/openai", "api.groq.com",
         "/openai/v1", "/openai", 443},
        {"https://x.example/v1beta/openai", "https://x.example", "x.example", "/v1beta/openai", "",
         443},
        {"http://[::1]:81/gw", "http://[::1]:81/gw", "::1", "/gw/v1", "/gw", 81},
        {"unix:/tmp/x.sock", "unix:/tmp/x.sock", "unix:/tmp/x.sock", "/v1", "", 0},
        {"unix:/tmp/x.sock:/a/v1", "unix:/tmp/x.sock:/a", "unix:/tmp/x.sock", "/a/v1", "/a", 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct measure_target *t = target(rows[i].url);
        if (!str_eq(t->url, str_from(rows[i].shown)) ||
            !str_eq(t->http.host, str_from(rows[i].host)) ||
            !str_eq(t->base_path, str_from(rows[i].base)) ||
            !str_eq(t->root_path, str_from(rows[i].root)) || t->http.port != rows[i].port)
            fail_msg("row %zu: %.*s %.*s %d %.*s %.*s", i, STR_ARG(t->url), STR_ARG(t->http.host),
                     t->http.port, STR_ARG(t->base_path), STR_ARG(t->root_path));
        measure_target_free(t);
    }
}

static void assert_refused(struct measure_target_options o, const char *sentence)
{
    struct err e = {0};
    assert_null(measure_target_new(&o, &e));
    assert_string_equal(e.text, sentence);
}

static void what_is_refused(void **state)
{
    static const char *const bad[] = {"x", "content-length: 1", "a b: c", "x: a\rb",
                                      "X-Request-Id: 1"};
    (void)state;
    assert_refused((struct measure_target_options){.url = "http://u:secret@h/v1"},
                   "a user or password has no place in the URL (it is not shown here): give the "
                   "key as --key or in LITELLM_API_KEY");
    assert_refused((struct measure_target_options){.url = ""},
                   "the URL is empty: expected one such as http://localhost:4000");
    assert_refused((struct measure_target_options){.url = "ftp://h"},
                   "\"ftp://h\": expected http://, https:// or unix: at the beginning");
    assert_refused((struct measure_target_options){.key = "sk-1\n"},
                   "the key holds a control byte (a line end, perhaps): give it without");
    assert_refused((struct measure_target_options){.headers = &bad[0], .header_count = 1},
                   "--header: expected \"Name: value\", got \"x\"");
    assert_refused((struct measure_target_options){.headers = &bad[1], .header_count = 1},
                   "--header: content-length cannot be set: each request has its own");
    assert_refused((struct measure_target_options){.headers = &bad[2], .header_count = 1},
                   "--header: expected \"Name: value\", got \"a b\"");
    assert_refused((struct measure_target_options){.headers = &bad[3], .header_count = 1},
                   "--header x: its value holds a control byte");
    assert_refused((struct measure_target_options){.headers = &bad[4], .header_count = 1},
                   "--header: X-Request-Id cannot be set: each request gets its own, so that it is "
                   "found in the log");
}

static void heads(void **state)
{
    static const char *const lines[] = {"User-Agent: mine", "X-A:  b "};
    struct measure_target_options o = {
        .url = "http://h:1", .key = "sk-1", .headers = lines, .header_count = 2};
    struct err e = {0};
    struct arena a;
    (void)state;
    arena_init(&a, NULL, 0);
    struct measure_target *t = measure_target_new(&o, &e);
    struct str head = measure_target_head(t, &a, STR("POST"), STR("/v1/x"));
    assert_string_equal(head.p, "POST /v1/x HTTP/1.1\r\nhost: h:1\r\naccept: "
                                "*/*\r\naccept-encoding: identity\r\ncontent-type: "
                                "application/json\r\nUser-Agent: mine\r\nX-A: b\r\nauthorization: "
                                "Bearer sk-1\r\n");
    measure_target_free(t);
    /* Through a proxy: in absolute form, and the proxy's own password. */
    setenv("http_proxy", "http://u:p@proxy:3128", 1);
    unsetenv("no_proxy");
    o.key = NULL;
    o.header_count = 0;
    t = measure_target_new(&o, &e);
    unsetenv("http_proxy");
    head = measure_target_head(t, &a, STR("GET"), STR("/v1/models"));
    assert_true(str_starts(head, STR("GET http://h:1/v1/models HTTP/1.1\r\nhost: h:1\r\n")));
    assert_true(str_contains(head, STR("proxy-authorization: Basic dTpw\r\n")));
    assert_true(t->http.proxy == &t->proxy);
    measure_target_free(t);
    arena_fini(&a);
}

/* ---- asking ---- */

/* A server that reads one request and answers `answer`, once. */
struct server {
    int listener;
    const char *answer;
    char request[2000];
    pthread_t thread;
};

static void *serve(void *arg)
{
    struct server *s = arg;
    int fd = accept(s->listener, NULL, NULL);
    size_t n = 0;
    while (!strstr(s->request, "\r\n\r\n")) {
        ssize_t got = read(fd, s->request + n, sizeof s->request - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    if (write(fd, s->answer, strlen(s->answer)) < 0)
        n = 0;
    close(fd);
    return NULL;
}

static struct measure_target *start(struct server *s, const char *answer)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    char url[60];
    *s = (struct server){.answer = answer};
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(s->listener, 5), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&at, &bytes), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(at.sin_port));
    return target(url);
}

static void stop(struct server *s, struct measure_target *t)
{
    pthread_join(s->thread, NULL);
    close(s->listener);
    measure_target_free(t);
}

#define ANSWER(status, body) "HTTP/1.1 " status " X\r\nconnection: close\r\n\r\n" body

static void one_request_and_its_answer(void **state)
{
    struct server s;
    struct measure_reply reply;
    struct arena a;
    struct err e = {0};
    (void)state;
    arena_init(&a, NULL, 0);
    struct measure_target *t = start(&s, ANSWER("201", "hello"));
    assert_true(measure_ask(t, &a, STR("POST"), STR("/x"), STR("{}"), 5000, &reply, &e));
    assert_int_equal(reply.status, 201);
    assert_string_equal(reply.body.p, "hello");
    assert_true(reply.took_ns > 0);
    assert_true(str_starts(str_from(s.request), STR("POST /x HTTP/1.1\r\n")));
    assert_non_null(strstr(s.request, "\r\ncontent-length: 2\r\nconnection: close\r\n\r\n"));
    stop(&s, t);
    arena_fini(&a);
}

static void models_of_a_gateway(void **state)
{
    static const struct {
        const char *answer, *expected; /* names, or the sentence behind the URL */
    } rows[] = {
        {ANSWER("200", "{\"data\":[{\"id\":\"b\"},{\"id\":\"a\"},{\"x\":1},{\"id\":\"\"}]}"),
         "b a "},
        {ANSWER("200", "{\"data\":[]}"), ""},
        {ANSWER("200", "{\"models\":[]}"),
         "/v1/models: expected a list of models ({\"data\": [...]}), got other JSON"},
        {ANSWER("200", "<html>"),
         "/v1/models: expected a list of models ({\"data\": [...]}), got no JSON"},
        {ANSWER("401", "{}"),
         ": status 401 for the list of models; it wants a key: give --key, or set LITELLM_API_KEY"},
        {ANSWER("500", "{}"), ": status 500 for the list of models"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct server s;
        struct arena a;
        struct err e = {0};
        struct str *names;
        size_t count;
        char got[600] = "";
        arena_init(&a, NULL, 0);
        struct measure_target *t = start(&s, rows[i].answer);
        if (measure_models(t, &a, &names, &count, &e))
            for (size_t k = 0; k < count; k++)
                snprintf(got + strlen(got), sizeof got - strlen(got), "%.*s ", STR_ARG(names[k]));
        else
            snprintf(got, sizeof got, "%s", e.text + t->url.n);
        assert_string_equal(got, rows[i].expected);
        stop(&s, t);
        arena_fini(&a);
    }
}

/* 0 is "no bound", and the client would take it for "at once". */
static void connecting_has_time(void **state)
{
    (void)state;
    assert_true(measure_connect_timeout_ms(0) > 1000);
    assert_int_equal(measure_connect_timeout_ms(250), 250);
}

static void nobody_is_there(void **state)
{
    struct measure_reply reply;
    struct arena a;
    struct err e = {0};
    (void)state;
    arena_init(&a, NULL, 0);
    struct measure_target *t = target("unix:/tmp/weir-there-is-no-such.sock");
    assert_false(measure_ask(t, &a, STR("GET"), STR("/"), STR_NONE, 5000, &reply, &e));
    assert_int_equal(reply.status, 0);
    assert_true(str_starts(str_from(e.text), STR("unix:/tmp/weir-there-is-no-such.sock: ")));
    measure_target_free(t);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_as_people_write_them),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(heads),
        cmocka_unit_test(one_request_and_its_answer),
        cmocka_unit_test(models_of_a_gateway),
        cmocka_unit_test(nobody_is_there),
        cmocka_unit_test(connecting_has_time),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
