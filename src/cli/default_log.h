/* default_log.h -- the log that a command means when none is named. */
#pragma once

#define DEFAULT_LOG "/var/log/litellm/requests.log"

/* DEFAULT_LOG, or ./requests.log where weir serve writes when it may not write there, if only that can be read. Static text. */
const char *default_log(void);
