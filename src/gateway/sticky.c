/* sticky.c -- see sticky.h.
 *
 * A provider's prompt cache holds beginnings of prompts, so what belongs together is what begins alike and goes on. Of a chat that is all up to
 * the first user message: the system prompt alone would send everybody who shares it to one deployment, and what comes later changes with each
 * turn. Of each message its role and its texts are hashed, not its bytes: clients that mark a cache's breakpoint (cache_control) move the mark as
 * the chat grows, and turn a plain string into a part for it. A prompt so long that its first user message is not among the bytes looked
 * at counts by those alone. */
#include "gateway/sticky.h"

#include "base/json_view.h"

#define MESSAGES_MAX     16
#define PARTS_MAX        16
#define PROMPT_MIN_BYTES 1024 /* `prompt` has no turns: a shorter one has no beginning to share */

static uint64_t mix_in(uint64_t hash, struct str bytes)
{
    uint64_t pair[] = {hash, str_hash(bytes)};
    return str_hash((struct str){(const char *)pair, sizeof pair});
}

/* A string's bytes as they stand, escapes included. */
static struct str inside(struct str value)
{
    return value.n >= 2 ? (struct str){value.p + 1, value.n - 2} : STR_NONE;
}

/* Of a part: its text; of another kind (an image, a sound) all of it but the mark of a cache, which is not in it. */
static uint64_t mix_in_part(uint64_t hash, struct str part)
{
    struct str type = json_view_member(part, STR("type")), text;
    if (str_eq(type, STR("\"text\"")))
        text = inside(json_view_member(part, STR("text")));
    else
        text = json_view_member(part, inside(type));
    return mix_in(hash, text);
}

static uint64_t mix_in_content(uint64_t hash, struct str content)
{
    struct str part;
    if (json_view_is(content, '"'))
        return mix_in(hash, inside(content));
    for (int i = 0; i < PARTS_MAX && json_view_next(&content, &part); i++)
        hash = mix_in_part(hash, part);
    return hash;
}

static uint64_t of_messages(struct str messages, bool cut)
{
    uint64_t hash = 1;
    struct str message;
    bool user = false;
    for (int i = 0; i < MESSAGES_MAX && !user && json_view_next(&messages, &message); i++) {
        struct str role = json_view_member(message, STR("role"));
        user = str_eq(role, STR("\"user\""));
        hash = mix_in_content(mix_in(hash, role), json_view_member(message, STR("content")));
    }
    return user || cut ? hash : 0;
}

static uint64_t of_prompt(struct str prompt, bool cut)
{
    if (json_view_is(prompt, '[')) {
        struct str first = json_view_element(prompt, 0);
        if (json_view_is(first, '{'))
            return of_messages(prompt, cut);
    }
    return prompt.n >= PROMPT_MIN_BYTES ? str_hash((struct str){prompt.p, PROMPT_MIN_BYTES}) : 0;
}

uint64_t sticky_hash(struct str session, struct str prompt)
{
    if (session.n)
        return MAX(str_hash(session), 1u);
    return of_prompt((struct str){prompt.p, MIN(prompt.n, STICKY_PROMPT_BYTES)},
                     prompt.n > STICKY_PROMPT_BYTES);
}
