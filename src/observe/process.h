/* process.h -- what the kernel says of this process now, for the process_* metrics. 0: it does not say, and the metric is left out. Also right
 * where no descriptor is left: that is when somebody looks. [any] */
#pragma once

#include "base/base.h"

/* Call it early: opens, for good, what the numbers of memory are read from. A fork that does not exec would read its parent's. */
void process_prepare(void);
uint64_t process_cpu_ns(void); /* user and system, all threads */
uint64_t process_resident_bytes(void);
uint64_t process_virtual_bytes(void);
uint64_t process_open_fds(void);
uint64_t process_max_fds(void);
