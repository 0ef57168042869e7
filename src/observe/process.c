#include "observe/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

/* Opened once and kept: where no descriptor is left to open it with is just where the number is wanted. -1: not yet. */
static int statm_kept = -1; /* [any, by compare and swap] */

static int statm_fd(void)
{
    int kept = __atomic_load_n(&statm_kept, __ATOMIC_ACQUIRE);
    if (kept >= 0)
        return kept;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && !__atomic_compare_exchange_n(&statm_kept, &kept, fd, false, __ATOMIC_ACQ_REL,
                                                __ATOMIC_ACQUIRE)) {
        close(fd); /* another thread was first */
        return kept;
    }
    return fd;
}

/* The kernel writes the text anew for each read from the start. */
static uint64_t memory_bytes(enum statm_field field)
{
    char text[128];
    unsigned long long pages[2];
    int fd = statm_fd();
    ssize_t n = fd >= 0 ? pread(fd, text, sizeof text - 1, 0) : -1;
    if (n <= 0)
        return 0;
    text[n] = '\0';
    if (sscanf(text, "%llu %llu", &pages[STATM_SIZE], &pages[STATM_RESIDENT]) != 2)
        return 0;
    return pages[field] * (uint64_t)sysconf(_SC_PAGESIZE);
}

void process_prepare(void)
{
    (void)statm_fd();
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
    if (!d) /* none of this process's left to look with: that is when it matters most */
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
