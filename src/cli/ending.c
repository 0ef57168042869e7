/* ending.c -- the signals that ask a command to end, taken when it asks (ending.h). */
#include "cli/ending.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

static sigset_t ending_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return set;
}

void ending_hold(void)
{
    sigset_t set = ending_signals();
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

bool ending_came(void)
{
    sigset_t set = ending_signals();
    const struct timespec now = {0};
    int number;
    do
        number = sigtimedwait(&set, NULL, &now);
    while (number < 0 && errno == EINTR);
    return number > 0;
}

void ending_release(void)
{
    sigset_t set = ending_signals();
    while (ending_came()) {
    }
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
