/* Secrets in text: what is masked, what is not, and what becomes of both where the room ends. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/redact.c" /* statics: classes, key_heads, least_bytes */

struct redaction {
    const char *text, *expected; /* NULL: stays as it is */
};

// clang-format off
static const struct redaction redactions[] = {
    /* Keys by their heads. */
    {"Incorrect API key provided: sk-1234.", "Incorrect API key provided: sk-***."},
    {"sk-abcdefghijklmnopqrstuvwx", "sk-***"},
    {"key sk-proj-A1b2C3d4E5f6_x-y, gone", "key sk-proj-***, gone"},
    {"(sk-ant-api03-AbCdEf0123456789-xyz)", "(sk-ant-***)"},
    {"sk-or-v1-0123456789abcdef0123456789abcdef", "sk-or-***"},
    {"gsk_0123456789abcdefghijABCDEFGHIJ", "gsk_***"},
    {"hf_AbCdEfGhIjKlMnOpQrStUvWxYz01234567", "hf_***"},
    {"?key=AIzaSyA-1234567890abcdefghijklmnopqrstuv&alt=sse", "?key=AIza***&alt=sse"},
    {"ya29.a0AfH6SMBx-1234567890abcdef.x", "ya29***"},
    {"xai-0123456789abcdefghijABCDEFGHIJ", "xai-***"},
    {"ghp_0123456789abcdefghijABCDEFGHIJ012345", "ghp_***"},
    {"AKIAIOSFODNN7EXAMPLE is not allowed", "AKIA*** is not allowed"},
    {"glpat-abcdefghij0123456789", "glpat-***"},
    {"xoxb-123456789012-abcdef", "xoxb-***"},
    {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk end", "eyJ*** end"},
    {"\\nsk-1234567\\n", "\\nsk-***\\n"},
    {"\\u000ask-1234567", "\\u000ask-***"},
    {"%3Dsk-1234567", "%3Dsk-***"},
    /* Schemes. */
    {"Authorization: Bearer abcdef", "Authorization: Bearer ***"},
    {"authorization: Basic dXNlcjpwYXNz", "authorization: Basic ***"},
    {"sent Bearer 0123.456/7+8==, got 401", "sent Bearer ***, got 401"},
    {"12%Bearer abc123", "12%Bearer ***"},
    {"-H 'Authorization: Bearer sk-1234'", "-H 'Authorization: Bearer sk-***'"},
    {"{'Authorization': 'Bearer sk-ant-api03-x9x9x9x9'}", "{'Authorization': 'Bearer sk-ant-***'}"},
    /* Names. */
    {"api_key=hello&x=1", "api_key=***&x=1"},
    {"api_key='hello'", "api_key='***'"},
    {"{\"api_key\": \"hello\", \"n\": 1}", "{\"api_key\": \"***\", \"n\": 1}"},
    {"{\\\"apiKey\\\":\\\"hello\\\",\\\"n\\\":1}", "{\\\"apiKey\\\":\\\"***\\\",\\\"n\\\":1}"},
    {"{\"password\":\"a\\\"b c\",\"n\":1}", "{\"password\":\"***\",\"n\":1}"},
    {"x-api-key: abc123def", "x-api-key: ***"},
    {"OPENAI_API_KEY=abcdef", "OPENAI_API_KEY=***"},
    {"password: correct horse", "password: *** horse"},
    {"password=a", "password=*"},
    {"client_secret=abc; path=/", "client_secret=***; path=/"},
    {"access_token=abc&refresh_token=def", "access_token=***&refresh_token=***"},
    {"Ocp-Apim-Subscription-Key: 0123456789abcdef", "Ocp-Apim-Subscription-Key: ***"},
    {"X-Amz-Credential=AKIAIOSFODNN7EXAMPLE/2026&X-Amz-Signature=fe5f", "X-Amz-Credential=AKIA***&X-Amz-Signature=***"},
    {"?sv=1&sig=abc%3D&se=2", "?sv=1&sig=***&se=2"},
    {"\"private_key\": \"-----BEGIN PRIVATE KEY-----\\nMIIE\\n\"}", "\"private_key\": \"***\"}"},
    {"Cookie: session=0123456789", "Cookie: ***"},
    {"{\"token\": \"cut sho", "{\"token\": \"***"},
    {"api_key=sk-ant-api03-x9x9x9x9", "api_key=sk-ant-***"},
    /* URLs. */
    {"postgres://weir:pa@ss@db:5432/x", "postgres://***@db:5432/x"},
    {"https://token@github.com/a", "https://***@github.com/a"},
    {"http://a@b", "http://*@b"},
    /* What is no secret. */
    {"", NULL},
    {"gpt-4o-mini-2024-07-18 claude-sonnet-4-20250514 meta-llama/Llama-3.3-70B-Instruct", NULL},
    {"550e8400-e29b-41d4-a716-446655440000", NULL},
    {"req_011CSHoEeqs5C35K2UUqR7Fy chatcmpl-9kQwErTyUiOpAsDf call_abc123", NULL},
    {"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", NULL},
    {"{\"max_tokens\": 4096, \"prompt_tokens\": \"12\", \"total_tokens\":77}", NULL},
    {"stop_token=50256 token: 7", NULL},
    {"Unexpected token: }", NULL},
    {"invalid token: expected a string", NULL},
    {"Bearer authentication is required", NULL},
    {"Basic knowledge", NULL},
    {"the API key sk-...1234 is not known", NULL},
    {"task-1234567890 risk-1234 disk-abcdefghijklmnopqrstuvwxyz", NULL},
    {"sk-SK hf_hub_download_with_retries_and_more npm_config_registry_url_of_company_x", NULL},
    {"api_key: os.environ/OPENAI_API_KEY", NULL},
    {"\"api_key\": null, 'password': None, token=true", NULL},
    {"https://example.org/a@b?x=y@z", NULL},
    {"key=value signature", NULL},
    {"Rate limit reached for org-AbC123: Limit 10000, Used 9000", NULL},
    {"eyJ.x eyJhbGciOiJIUzI1NiJ9", NULL},
    {"\xC3\x9C" "berlastet: bitte warten", NULL},
};
// clang-format on

static void what_is_masked(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(redactions); i++) {
        const struct redaction *c = &redactions[i];
        const char *expected = c->expected ? c->expected : c->text;
        char out[512], again[512];
        size_t n = redact_secrets(str_from(c->text), out, sizeof out - 1);
        out[n] = '\0';
        assert_string_equal(out, expected);
        assert_true(n <= strlen(c->text));
        n = redact_secrets(str_from(out), again, sizeof again - 1);
        again[n] = '\0';
        assert_string_equal(again, out); /* nothing more to find */
    }
}

/* What is looked at first to be quick says the same as what is looked at then. */
static void short_cuts_pass_over_nothing(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        assert_int_equal(is_word((char)c), char_is_word((char)c));
        assert_int_equal(is_dull((char)c),
                         !char_is_word((char)c) && c != '\\' && c != '%' && c != ':');
    }
    for (size_t i = 0; i < COUNT(key_heads); i++)
        assert_true(key_heads[i].head.n + key_heads[i].body_min >= least_bytes(key_heads[i].head));
    assert_int_equal(least_bytes(STR("sk-1234")), 7); /* documented: redact.h */
}

static void in_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(redactions); i++) {
        const struct redaction *c = &redactions[i];
        char text[512];
        size_t n = strlen(c->text);
        memcpy(text, c->text, n);
        n = redact_secrets((struct str){text, n}, text, n);
        text[n] = '\0';
        assert_string_equal(text, c->expected ? c->expected : c->text);
    }
}

static void where_the_room_ends(void **state)
{
    (void)state;
    char out[64];
    struct str text = STR("\xE9\x81\x8E\xC3\xBC sk-1234 x");
    static const size_t written[] = {0, 0, 0, 3, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
    for (size_t room = 0; room < COUNT(written); room++) {
        memset(out, '#', sizeof out);
        assert_int_equal(redact_secrets(text, out, room), written[room]);
        assert_int_equal(out[room], '#');
    }
    assert_memory_equal(out, "\xE9\x81\x8E\xC3\xBC sk-*** x", 14);
    assert_int_equal(redact_secrets(STR_NONE, NULL, 0), 0);
}

/* What is looked at twice must be bounded: a megabyte of the worst would take hours otherwise. */
static void stays_linear(void **state)
{
    (void)state;
    static const char *const units[] = {
        "a.", "eyJ.a",    "token: ", "Bearer ", "://",
        "x=", "token=\"", "\\\"",    "%",       "token=\"os.environ/'",
        "a-"};
    const size_t n = 1 << 20;
    char *text = mem_alloc(n);
    for (size_t u = 0; u < COUNT(units); u++) {
        size_t unit = strlen(units[u]);
        for (size_t i = 0; i < n; i++)
            text[i] = units[u][i % unit];
        assert_true(redact_secrets((struct str){text, n}, text, n) <= n);
    }
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_masked), cmocka_unit_test(short_cuts_pass_over_nothing),
        cmocka_unit_test(in_place), cmocka_unit_test(where_the_room_ends),
        cmocka_unit_test(stays_linear)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
