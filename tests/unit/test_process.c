/* test_process.c -- what the kernel says of this process, also when it has no descriptor left. */
#include "metrics_fixture.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"
#include "observe/process.h"

#define BLOCK_BYTES (32u << 20)

static void memory_is_that_of_now(void **state)
{
    (void)state;
    process_prepare();
    uint64_t resident = process_resident_bytes(), size = process_virtual_bytes();
    assert_true(resident > 100000 && size > resident);
    char *block = mem_alloc(BLOCK_BYTES);
    memset(block, 1, BLOCK_BYTES);
    assert_true(process_resident_bytes() >= resident + BLOCK_BYTES / 2);
    assert_true(process_virtual_bytes() > size);
    mem_free(block);
}

static void also_without_a_descriptor(void **state)
{
    (void)state;
    struct rlimit before, few;
    struct metrics *m = metrics_new(1, &config);
    int taken[64], count = 0, fd;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 64;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    double resident = sum_of(expose(m), "process_resident_memory_bytes");
    while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        taken[count++] = fd;
    char *block = mem_alloc(BLOCK_BYTES);
    memset(block, 1, BLOCK_BYTES);
    const char *text = expose(m);
    double grown = sum_of(text, "process_resident_memory_bytes") - resident;
    double open_fds = sum_of(text, "process_open_fds");
    for (int i = 0; i < count; i++)
        close(taken[i]);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_true(count > 0);
    assert_true(grown >= BLOCK_BYTES / 2);
    assert_true(open_fds == 64);
    mem_free(block);
    metrics_free(m);
}

/* What is not known is left out: 0 is a value. */
static void not_known_is_not_0(void **state)
{
    (void)state;
    struct rlimit before, none;
    struct metrics *m = metrics_new(1, &config);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    const char *text = expose(m);
    setrlimit(RLIMIT_NOFILE, &before);
    check_absent(text, "process_max_fds");
    check_absent(text, "process_open_fds");
    assert_true(sum_of(text, "process_resident_memory_bytes") > 0);
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_that_of_now),
        cmocka_unit_test(also_without_a_descriptor),
        cmocka_unit_test(not_known_is_not_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
