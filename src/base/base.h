/* base.h -- the only header every file may count on: small macros, attributes, assertions, banned functions.
 *
 * ENSURE is for what cannot happen. It stays on in release builds and is never used on input from a peer. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COUNT(array)            (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b)               ((a) < (b) ? (a) : (b))
#define MAX(a, b)               ((a) > (b) ? (a) : (b))
#define LIKELY(x)               __builtin_expect(!!(x), 1)
#define UNLIKELY(x)             __builtin_expect(!!(x), 0)
#define MUST_USE                __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define COLD                    __attribute__((cold, noinline))
#define NORETURN                __attribute__((noreturn))

/* The struct of type `type` whose member `member` is at `ptr`. */
#define CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Prints file:line and the condition, then aborts: the way out when our own logic is broken. [any thread] */
NORETURN COLD void ensure_failed(const char *file, int line, const char *what);
#define ENSURE(cond) (LIKELY(cond) ? (void)0 : ensure_failed(__FILE__, __LINE__, #cond))

/* What the four kinds of I/O call return. FAIL leaves the reason in errno (or in the caller's error struct). */
enum io { IO_OK, IO_AGAIN, IO_EOF, IO_FAIL };

/* Relaxed single-writer counters: the owner adds without a locked instruction, any thread may read. */
#define COUNTER_ADD(counter, n)                                                                    \
    __atomic_store_n(&(counter), __atomic_load_n(&(counter), __ATOMIC_RELAXED) + (n),              \
                     __ATOMIC_RELAXED)
#define COUNTER_SET(counter, n) __atomic_store_n(&(counter), (n), __ATOMIC_RELAXED)
#define COUNTER_GET(counter)    __atomic_load_n(&(counter), __ATOMIC_RELAXED)

/* Functions nobody may call here, each with what to use instead. */
#define BANNED(func) sorry_##func##_is_banned_see_base_h
#undef strcpy
#define strcpy(...) BANNED(strcpy) /* memcpy with a length, or buf_append */
#undef strcat
#define strcat(...) BANNED(strcat) /* buf_append */
#undef sprintf
#define sprintf(...) BANNED(sprintf) /* snprintf or buf_printf */
#undef vsprintf
#define vsprintf(...) BANNED(vsprintf) /* vsnprintf */
#undef strtok
#define strtok(...) BANNED(strtok) /* str_cut */
#undef gmtime
#define gmtime(...) BANNED(gmtime) /* gmtime_r */
#undef localtime
#define localtime(...) BANNED(localtime) /* localtime_r */
#undef atoi
#define atoi(...) BANNED(atoi) /* str_to_i64 */
