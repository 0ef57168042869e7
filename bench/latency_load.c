/* latency_load.c -- the bench's generator of requests one at a time: how long does each take?
 *
 * One kept connection, blocking sockets, no event loop: send, wait for the whole answer, note the time, again. Every
 * request is a sample as it was. Why not wrk: at one connection it corrects for coordinated omission, so one pause of
 * the machine of 4 ms becomes two hundred made-up requests, and p99 tells of the machine and not of the gateway.
 *
 * latency_load PORT SECONDS BODY_FILE [HEADER...]   prints one JSON object, times in microseconds. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"

#define SAMPLES_MAX  5000000u
#define ANSWER_BYTES (1u << 20)

static int open_connection(uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    ENSURE(fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        perror("latency_load: connect");
        exit(1);
    }
    return fd;
}

/* Bytes of the whole answer, once its head is there; 0: not yet. */
static size_t answer_bytes(const char *answer, size_t have)
{
    static const struct str field = STR("content-length: ");
    const char *end = memmem(answer, have, "\r\n\r\n", 4);
    if (!end)
        return 0;
    for (const char *line = answer; line < end; line++) {
        size_t left = (size_t)(end - line);
        if (line[-(line > answer)] == '\n' && left > field.n &&
            str_ieq((struct str){line, field.n}, field))
            return (size_t)(end + 4 - answer) + strtoul(line + field.n, NULL, 10);
    }
    fprintf(stderr, "latency_load: an answer without content-length\n");
    exit(1);
}

/* One request. False: the answer is not a 200. */
static bool ask(int fd, struct str request, char *answer)
{
    size_t have = 0, whole = 0;
    for (size_t sent = 0; sent < request.n;) {
        ssize_t n = send(fd, request.p + sent, request.n - sent, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        sent += (size_t)n;
    }
    while (whole == 0 || have < whole) {
        ssize_t n = have < ANSWER_BYTES ? recv(fd, answer + have, ANSWER_BYTES - have, 0) : 0;
        if (n <= 0)
            return false;
        have += (size_t)n;
        whole = whole ? whole : answer_bytes(answer, have);
    }
    return memcmp(answer, "HTTP/1.1 200", 12) == 0;
}

static struct str make_request(struct arena *a, const char *body_path, int headers, char **header)
{
    static char body[4u << 20];
    FILE *f = fopen(body_path, "r");
    ENSURE(f);
    size_t n = fread(body, 1, sizeof body, f);
    fclose(f);
    struct str lines = STR("");
    for (int i = 0; i < headers; i++)
        lines = arena_printf(a, "%.*s%s\r\n", STR_ARG(lines), header[i]);
    return arena_printf(a,
                        "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\n%.*scontent-length: "
                        "%zu\r\n\r\n%.*s",
                        STR_ARG(lines), n, (int)n, body);
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    struct arena a;
    int64_t port, seconds;
    if (argc < 4 || !str_to_i64(str_from(argv[1]), &port) ||
        !str_to_i64(str_from(argv[2]), &seconds)) {
        fprintf(stderr, "usage: latency_load PORT SECONDS BODY_FILE [HEADER...]\n");
        return 2;
    }
    arena_init(&a, NULL, 0);
    struct str request = make_request(&a, argv[3], argc - 4, argv + 4);
    char *answer = mem_alloc(ANSWER_BYTES + 1);
    uint32_t *samples_ns = mem_alloc(SAMPLES_MAX * sizeof *samples_ns);
    size_t count = 0, failed = 0;
    int fd = open_connection((uint16_t)port);
    uint64_t begin_ns = clock_mono_ns(), now_ns = begin_ns;
    while (now_ns < begin_ns + (uint64_t)seconds * NS_PER_S && count < SAMPLES_MAX && !failed) {
        uint64_t asked_ns = now_ns;
        failed += !ask(fd, request, answer);
        now_ns = clock_mono_ns();
        samples_ns[count++] = (uint32_t)MIN(now_ns - asked_ns, (uint64_t)UINT32_MAX);
    }
    qsort(samples_ns, count, sizeof *samples_ns, ascending);
    printf("{\"requests\":%zu,\"seconds\":%.6f,\"p50_us\":%.3f,\"p99_us\":%.3f,\"failed\":%zu}\n",
           count, (double)(now_ns - begin_ns) / 1e9, samples_ns[count / 2] / 1e3,
           samples_ns[count * 99 / 100] / 1e3, failed);
    close(fd);
    mem_free(samples_ns);
    mem_free(answer);
    arena_fini(&a);
    return failed ? 1 : 0;
}
