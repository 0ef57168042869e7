/* scrape.h -- GET /metrics, and the thread that writes it. Lifetimes: control makes and frees the scraper, and starts and stops its thread. */
#pragma once

#include "base/base.h"

struct control_job;
struct err;
struct gateway;
struct scraper;

struct scraper *scraper_new(struct gateway *g);
/* Without it, or after scraper_stop, the control thread writes by itself. */
MUST_USE bool scraper_start(struct scraper *s, struct err *e);
/* Ends the thread; answers that are under way follow in the control loop's next pass. NULL is fine. */
void scraper_stop(struct scraper *s);
/* After that pass. NULL is fine. */
void scraper_free(struct scraper *s);

/* A row of endpoints.c. [control] */
void scrape_metrics(struct gateway *g, struct control_job *j);
