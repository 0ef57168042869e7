/* default_log.c -- the seed's path first, then the one that weir serve falls back to. */
#include "cli/default_log.h"

#include <unistd.h>

#define DEFAULT_LOG_2 "./requests.log"

const char *default_log(void)
{
    return access(DEFAULT_LOG, R_OK) != 0 && access(DEFAULT_LOG_2, R_OK) == 0 ? DEFAULT_LOG_2
                                                                              : DEFAULT_LOG;
}
