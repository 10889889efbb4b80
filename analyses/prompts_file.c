// Prompts from files, and back: JSON lines are read one at a time, each no longer than 64 MiB, so
// that a file of any size takes the memory of its prompts only.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/prompts_internal.h"
#include "model/core/json.h"
#include "model/core/mem.h"

enum { MAX_LINE = 64 << 20, CHUNK = 1 << 16 };

// ---- lines --------------------------------------------------------------------------------------

struct lines {
    FILE *file;
    char chunk[CHUNK];
    size_t at, n; // unread bytes of chunk
    hs_buf line;
    int64_t number; // of the line, from 1
};

// The next line without its newline; *more false at the end of the file.
static int next_line(struct lines *l, bool *more) {
    hs_buf_clear(&l->line);
    *more = false;
    for (;;) {
        if (l->at == l->n) {
            l->at = 0;
            l->n = fread(l->chunk, 1, CHUNK, l->file);
            if (ferror(l->file)) return hs_fail(HS_EIO, "cannot read on: %s", strerror(errno));
            if (!l->n) break;
        }
        if (!*more) l->number++;
        *more = true;
        const char *from = l->chunk + l->at, *end = memchr(from, '\n', l->n - l->at);
        size_t n = end ? (size_t)(end - from) : l->n - l->at;
        if (n > MAX_LINE - l->line.len)
            return hs_fail(HS_EFORMAT, "the line is longer than %d MiB", MAX_LINE >> 20);
        hs_buf_add(&l->line, from, n);
        l->at += n + (end != NULL);
        if (end) break;
    }
    return hs_buf_rc(&l->line);
}

static bool is_blank(const hs_buf *line) {
    for (size_t i = 0; i < line->len; i++)
        if (!strchr(" \t\r", line->data[i]) || !line->data[i]) return false;
    return true;
}

// ---- one line -----------------------------------------------------------------------------------

static const char *const own_keys[] = {"id", "tokens", "period", "bos_len"};

static bool is_own(const char *key, const char *text_key) {
    for (size_t i = 0; i < sizeof own_keys / sizeof *own_keys; i++)
        if (!strcmp(key, own_keys[i])) return true;
    return text_key && !strcmp(key, text_key);
}

// The members that are not ours, as an object; out stays empty when there are none.
static int keep_extra(const hs_json *obj, const char *text_key, hs_buf *out) {
    hs_jw w = {.out = out};
    bool any = false;
    for (const hs_json *v = hs_json_first(obj); v; v = hs_json_next(v)) {
        if (is_own(hs_json_key(v), text_key)) continue;
        if (!any) hs_jw_begin(&w, '{');
        any = true;
        hs_buf value = {0};
        hs_json_print(v, &value);
        hs_jw_key(&w, hs_json_key(v));
        hs_jw_buf(&w, &value);
        hs_buf_free(&value);
    }
    if (any) hs_jw_end(&w, '}');
    return hs_buf_rc(out);
}

static int read_int(const hs_json *obj, const char *key, int64_t max, int64_t *out) {
    const hs_json *v = hs_json_get(obj, key);
    *out = 0;
    if (!v || (hs_json_int(v, out) && *out >= 0 && *out <= max)) return HS_OK;
    return hs_fail(HS_EFORMAT, "\"%s\" is not a whole number from 0 to %" PRId64, key, max);
}

// The id as text in `buf`, or *id NULL when the line has none.
static int read_id(const hs_json *obj, char buf[24], const char **id) {
    const hs_json *v = hs_json_get(obj, "id");
    int64_t number;
    *id = hs_json_str(v);
    if (!v || *id) return HS_OK;
    if (!hs_json_int(v, &number)) return hs_fail(HS_EFORMAT, "\"id\" is not a text or number");
    snprintf(buf, 24, "%" PRId64, number);
    *id = buf;
    return HS_OK;
}

static int add_tokens(hs_prompts *p, const char *id, const hs_json *tokens, int bos_len,
                      int64_t period, const char *extra) {
    int32_t *ids;
    int64_t n;
    int rc = hs_prefix(hs_prompt_ids(tokens, &ids, &n), "tokens");
    if (!rc) rc = hs_prompts_add_tokens(p, id, ids, n, bos_len, period, extra);
    free(ids);
    return rc;
}

static int add_object(hs_prompts *p, const hs_json *obj) {
    const hs_json *tokens = hs_json_get(obj, "tokens");
    const char *text_key = tokens ? NULL : hs_json_get(obj, "text") ? "text" : "prompt";
    const char *text = text_key ? hs_json_str(hs_json_get(obj, text_key)) : NULL, *id;
    char number[24];
    int64_t period, bos_len;
    hs_buf extra = {0};
    if (text_key && !hs_json_get(obj, text_key))
        return hs_fail(HS_EFORMAT, "the line has neither \"tokens\" nor \"text\" nor \"prompt\"");
    if (text_key && !text) return hs_fail(HS_EFORMAT, "\"%s\" is not a text", text_key);
    int rc = read_id(obj, number, &id);
    if (!rc) rc = read_int(obj, "period", INT32_MAX, &period);
    if (!rc) rc = read_int(obj, "bos_len", 1, &bos_len);
    if (!rc) rc = keep_extra(obj, text_key, &extra);
    if (!rc && tokens) rc = add_tokens(p, id, tokens, (int)bos_len, period, extra.data);
    if (!rc && text) rc = hs_prompts_put_text(p, id, text, strlen(text), period, extra.data);
    hs_buf_free(&extra);
    return rc;
}

static int add_line(hs_prompts *p, const char *line, size_t n) {
    hs_json *obj;
    int rc = hs_json_parse(&obj, line, n);
    if (rc) return rc;
    rc = hs_json_type(obj) == HS_JSON_OBJ ? add_object(p, obj)
                                          : hs_fail(HS_EFORMAT, "the line is not a JSON object");
    hs_json_free(obj);
    return rc;
}

// ---- files --------------------------------------------------------------------------------------

static int add_lines(hs_prompts *p, FILE *file, const char *name) {
    struct lines *l;
    const int64_t before = hs_prompts_count(p);
    int rc = hs_alloc(&l, 1, sizeof *l);
    if (rc) return rc;
    l->file = file;
    bool more;
    while (!(rc = next_line(l, &more)) && more) {
        // A byte order mark may open the file.
        const size_t skip =
            l->number == 1 && l->line.len >= 3 && !memcmp(l->line.data, "\xef\xbb\xbf", 3) ? 3 : 0;
        if (is_blank(&l->line)) continue;
        rc = add_line(p, l->line.data + skip, l->line.len - skip);
        if (rc) break;
    }
    if (rc)
        rc = hs_prefix(rc, "%s:%" PRId64, name, l->number);
    else if (hs_prompts_count(p) == before)
        rc = hs_fail(HS_EARG, "%s: the file holds no prompts", name);
    hs_buf_free(&l->line);
    free(l);
    return rc;
}

static int add_whole(hs_prompts *p, const char *path) {
    hs_map map;
    int rc = hs_map_open(&map, path);
    if (rc) return rc;
    rc = hs_prompts_add_text(p, NULL, (const char *)map.data, map.size);
    hs_map_close(&map);
    return hs_prefix(rc, "%s", path);
}

int hs_prompts_add_file(hs_prompts *p, const char *path) {
    if (!strcmp(path, "-")) return add_lines(p, stdin, "standard input");
    const char *dot = strrchr(path, '.');
    if (dot && (!strcmp(dot, ".txt") || !strcmp(dot, ".md"))) return add_whole(p, path);
    FILE *file = fopen(path, "rb");
    if (!file) return hs_fail(HS_EIO, "%s: %s", path, strerror(errno));
    int rc = add_lines(p, file, path);
    fclose(file);
    return rc;
}

void hs_prompt_jsonl(const hs_prompt *p, hs_buf *out) {
    hs_jw w = {.out = out};
    hs_jw_begin(&w, '{');
    hs_jw_key(&w, "id");
    hs_jw_str(&w, p->id);
    hs_jw_key(&w, "tokens");
    hs_jw_begin(&w, '[');
    for (int64_t i = 0; i < p->n_token; i++) hs_jw_int(&w, p->tokens[i]);
    hs_jw_end(&w, ']');
    hs_jw_key(&w, "bos_len");
    hs_jw_int(&w, p->bos_len);
    if (p->period) {
        hs_jw_key(&w, "period");
        hs_jw_int(&w, p->period);
    }
    if (p->text) {
        hs_jw_key(&w, "text");
        hs_jw_strn(&w, p->text, (size_t)p->text_len);
    }
    // The other keys follow: the object without its braces.
    const size_t n = p->extra ? strlen(p->extra) : 0;
    if (n > 2) {
        hs_buf_chr(out, ',');
        hs_buf_add(out, p->extra + 1, n - 2);
    }
    hs_jw_end(&w, '}');
    hs_buf_chr(out, '\n');
}
