#include "observe/process.h"

#include <dirent.h>
#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"

uint64_t process_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* proc(5), /proc/pid/statm: "size resident ...", in pages. */
enum statm_field { STATM_SIZE, STATM_RESIDENT };

/* Where no descriptor is left to look with, what was seen last: 0 would look like a restart just when that matters. */
static uint64_t memory_bytes(enum statm_field field)
{
    static uint64_t last[2]; /* [any, relaxed] */
    unsigned long long pages[2];
    FILE *f = fopen("/proc/self/statm", "re");
    int got = f ? fscanf(f, "%llu %llu", &pages[STATM_SIZE], &pages[STATM_RESIDENT]) : 0;
    if (f)
        fclose(f);
    if (got == 2)
        __atomic_store_n(&last[field], pages[field] * (uint64_t)sysconf(_SC_PAGESIZE),
                         __ATOMIC_RELAXED);
    return __atomic_load_n(&last[field], __ATOMIC_RELAXED);
}

uint64_t process_virtual_bytes(void)
{
    return memory_bytes(STATM_SIZE);
}
uint64_t process_resident_bytes(void)
{
    return memory_bytes(STATM_RESIDENT);
}

uint64_t process_open_fds(void)
{
    uint64_t count = 0;
    DIR *d = opendir("/proc/self/fd");
    if (!d) /* none left to look with: that is when it matters most */
        return errno == EMFILE ? process_max_fds() : 0;
    for (const struct dirent *e; (e = readdir(d));)
        count += e->d_name[0] != '.';
    closedir(d);
    return count - 1; /* less the directory's own */
}

uint64_t process_max_fds(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (uint64_t)limit.rlim_cur : 0;
}
