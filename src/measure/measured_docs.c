/* measured_docs.c -- docs/measuring.md: what is measured, by which clock, and how numbers are made of it. */
#include "measure/measured_docs.h"

#include "measure/results.h"
#include "measure/sample.h"

static const char CLOCKS[] =
    "# Measuring\n\n"
    "What `weir test`, `weir profile`, `weir compare` and `weir load` mean by their numbers. "
    "Generated "
    "by `weir docs measuring`.\n\n"
    "## The clock\n\n"
    "All times are of CLOCK_MONOTONIC, in ns. Bytes have arrived when the **kernel** had the "
    "segment that "
    "completed the event (`SO_TIMESTAMPING`, also under TLS, where it is the time of the "
    "ciphertext), not "
    "when the program came round to read them; where the kernel does not say (Unix sockets, old "
    "kernels) it "
    "is the time at which the read returned, never one after parsing. Which of the two it was is "
    "said in the "
    "report, as is the run's own error: how far a time in it may be off.\n\n"
    "A request is **due** when the schedule says so (open loop: `--rate`, `--replay`) or when a "
    "slot is free "
    "(closed loop: `--concurrency`). Times *from due* charge the wait to the request, whoever "
    "caused it; times "
    "from the first byte sent do not. Both stand side by side: if they differ, requests had to "
    "wait, and the "
    "second alone would hide it (coordinated omission; Tene, \"How NOT to Measure Latency\"). What "
    "was due and never "
    "sent is counted as `dropped`, and no report leaves it out.\n\n"
    "A token is an event with content, reasoning, refusal or tool-call arguments that are not "
    "empty. The "
    "first event of a stream (the role alone) is not one: gateways pass it on at different "
    "moments. "
    "The number of tokens is the server's `usage`; without it, the number of events, and the "
    "report says so.\n\n";

static const char NUMBERS[] =
    "## Percentiles, intervals, what is refused\n\n"
    "- Percentiles are nearest ranks of the values themselves up to 1 M "
    "values, beyond of a histogram whose buckets "
    "are 0.05 % wide at most (HdrHistogram's layout, three digits). JSON "
    "reports say which (`rule`).\n"
    "- Each percentile has a 95 % interval from order statistics "
    "(binomial, no assumption on the shape). It exists "
    "from a number of values on (below), and with fewer the percentile is "
    "not printed: `n/a (n < 368)`.\n"
    "- Where there are enough values, but neighbours are so alike that "
    "they weigh as too few (see n_eff below), the percentile is given "
    "without its interval: a dash, in JSON null. It is true of this run; "
    "of others like it nothing can be said.\n\n";

static const char RULES[] =
    "- Values that come one after another resemble each other. Intervals use the effective number "
    "n_eff = n (1 - r) / (1 + r), r being "
    "the correlation of neighbours; it counts as 0 below 1.96 / sqrt(pairs of neighbours), which "
    "chance alone stays under in 97.5 of 100 runs.\n"
    "- Means have Student's interval. Outliers (beyond the third quartile plus three interquartile "
    "ranges) are "
    "counted and named, never taken out.\n"
    "- Failures have no latency. Where a percentile counts them, they are infinitely long.\n"
    "- Goodput: requests that succeeded and met every objective of `--slo`; as a share, of all "
    "attempts.\n\n"
    "## May the run be believed?\n\n"
    "Each report ends with the instrument's own account: achieved against offered rate (99 % at "
    "least), lateness of sends, "
    "the generator's CPU (below 80 % of a core), Little's law (in flight = rate x time in the "
    "system, within 5 %), receive lag, stalls of "
    "its loop, dropped arrivals, drift between the halves. Where one fails, the run is "
    "*client-limited*: the report says so, says "
    "what to do, and the exit status is 1. `weir load --self-test` measures the instrument against "
    "the built-in simulator, whose own "
    "account is the truth.\n\n"
    "## Sources\n\n"
    "HdrHistogram and wrk2 (Gil Tene) on coordinated omission; Hyndman and Fan 1996 on quantiles "
    "(nearest rank is their type 1); "
    "RFC 9110 and the WHATWG's \"Server-sent events\" for what is parsed; Linux, "
    "Documentation/networking/timestamping.rst for "
    "arrival times; W3C Server Timing for the gateway's own account.\n";

static void put_measured(struct buf *out)
{
    bool ok =
        buf_printf(out, "## Measured of each request\n\n| in reports | key | formula |\n| --- "
                        "| --- | --- |\n");
    for (int i = 0; i < MEASURED_COUNT; i++) {
        const struct measured_info *info = measured_info((enum measured)i);
        ok = ok && buf_printf(out, "| %s | `%s` | %s |\n", info->heading, info->key, info->formula);
    }
    ENSURE(ok && buf_printf(out, "\nWhat is not defined for a request (TPOT of one token, TTFT of "
                                 "a plain answer) is absent, "
                                 "never 0.\n\n"));
}

static void put_outcomes(struct buf *out)
{
    bool ok = buf_printf(out, "## How a request can end\n\n| outcome | meaning |\n| --- | --- |\n");
    for (int i = 0; i < OUTCOME_COUNT; i++)
        ok = ok && buf_printf(out, "| `%s` | %s |\n", outcome_key((enum outcome)i),
                              outcome_help((enum outcome)i));
    ENSURE(ok && buf_printf(out, "\n"));
}

static void put_needs(struct buf *out)
{
    static const double quantiles[] = {0.5, 0.9, 0.95, 0.99, 0.999, 0.9999};
    bool ok = buf_printf(out, "| percentile | values needed |\n| --- | --- |\n");
    for (size_t i = 0; i < COUNT(quantiles); i++)
        ok = ok && buf_printf(out, "| p%g | %llu |\n", quantiles[i] * 100,
                              (unsigned long long)quantile_needs(quantiles[i]));
    ENSURE(ok && buf_printf(out, "\n"));
}

void measured_write_docs(struct buf *out)
{
    ENSURE(buf_append(out, CLOCKS, sizeof CLOCKS - 1));
    put_measured(out);
    put_outcomes(out);
    ENSURE(buf_append(out, NUMBERS, sizeof NUMBERS - 1));
    put_needs(out);
    ENSURE(buf_append(out, RULES, sizeof RULES - 1));
}
