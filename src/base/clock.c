#include "base/clock.h"

#include "base/digits.h"

static uint64_t read_clock(clockid_t id, uint64_t units_per_s)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * units_per_s + (uint64_t)t.tv_nsec / (NS_PER_S / units_per_s);
}

uint64_t clock_mono_ns(void)
{
    return read_clock(CLOCK_MONOTONIC, NS_PER_S);
}
int64_t clock_real_us(void)
{
    return (int64_t)read_clock(CLOCK_REALTIME, 1000000);
}

void clock_rfc3339(int64_t real_us, char out[CLOCK_RFC3339_BYTES])
{
    static __thread int64_t cached_second = INT64_MIN;
    static __thread char cached[CLOCK_RFC3339_BYTES];
    int64_t second = real_us / 1000000 - (real_us % 1000000 < 0);
    int64_t ms = (real_us - second * 1000000) / 1000;
    if (second != cached_second) {
        time_t t = (time_t)second;
        struct tm tm;
        if (!gmtime_r(&t, &tm) || tm.tm_year + 1900 > 9999 || tm.tm_year + 1900 < 0)
            tm = (struct tm){.tm_year = 70, .tm_mday = 1};
        memcpy(cached, "0000-00-00T00:00:00.000Z", CLOCK_RFC3339_BYTES);
        digits_fixed(cached, (unsigned)tm.tm_year + 1900, 4);
        digits_fixed(cached + 5, (unsigned)tm.tm_mon + 1, 2);
        digits_fixed(cached + 8, (unsigned)tm.tm_mday, 2);
        digits_fixed(cached + 11, (unsigned)tm.tm_hour, 2);
        digits_fixed(cached + 14, (unsigned)tm.tm_min, 2);
        digits_fixed(cached + 17, (unsigned)tm.tm_sec, 2);
        cached_second = second;
    }
    memcpy(out, cached, CLOCK_RFC3339_BYTES);
    digits_fixed(out + 20, (unsigned)ms, 3);
}
