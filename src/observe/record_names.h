/* record_names.h -- what record.def's rows are called: in struct record, and in a line. For those who expand the table. */
#pragma once

/* A row's name as member of struct record ... */
#define MEMBER_TIME(name) name
#define MEMBER_STR(name)  name
#define MEMBER_INT(name)  name
#define MEMBER_MS(name)   name##_us
#define MEMBER_USD(name)  name
#define MEMBER_RATE(name) name
#define MEMBER_BOOL(name) name
#define MEMBER_RAW(name)  name
/* ... and as key in the line. */
#define KEY_TIME(name) #name
#define KEY_STR(name)  #name
#define KEY_INT(name)  #name
#define KEY_MS(name)   #name "_ms"
#define KEY_USD(name)  #name
#define KEY_RATE(name) #name
#define KEY_BOOL(name) #name
#define KEY_RAW(name)  #name
