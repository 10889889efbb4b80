// What a named query needs of a run: the lines "-- needs:" of its text. Each is one of the checks
// below, or observers joined by '|' of which one must have looked.
#include "db/query_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "analyses/experiment.h"

// Whether an observer has looked at the run (the prompt, when one is given).
static int has_looked(hs_db *db, const char *name, size_t n, int64_t run, int64_t prompt,
                      bool *out) {
    int64_t one;
    hs_v v[] = {hs_v_textn(name, n), hs_v_int(run), hs_v_int(prompt)};
    return hs_sql_int(db,
                      "SELECT 1 FROM prompt AS p JOIN analysis_run AS r ON r.prompt_id = p.id "
                      "JOIN analysis AS a ON a.id = r.analysis_id AND a.name = ?1 "
                      "WHERE p.run_id = ?2 AND ?3 IN (0, p.id) LIMIT 1",
                      v, 3, &one, out);
}

static int no_metric(hs_db *db, const char *metric, int64_t run) {
    hs_analysis giver;
    const bool known = hs_analysis_metric(metric, &giver) != NULL;
    sqlite3_stmt *s = NULL;
    bool row = false;
    hs_v v = hs_v_int(run);
    if (known && !giver.observer)
        return hs_fail(HS_ENOTFOUND, "run %" PRId64 " has no %s: a run of headscope %s has", run,
                       metric, giver.command);
    if (known)
        return hs_fail(HS_ENOTFOUND,
                       "run %" PRId64 " has no %s: record it with --observe %s, or run "
                       "`headscope observe %s`",
                       run, metric, giver.name, giver.name);
    int rc = hs_sql_prepare(db, &s,
                            "SELECT group_concat(metric, ', ') FROM (SELECT DISTINCT m.metric "
                            "FROM prompt AS p JOIN head_metric AS m ON m.prompt_id = p.id "
                            "WHERE p.run_id = ? ORDER BY 1)");
    if (!rc) rc = hs_sql_bind(db, s, &v, 1);
    if (!rc) rc = hs_sql_step(db, s, &row);
    const char *all = row ? (const char *)sqlite3_column_text(s, 0) : NULL;
    if (!rc)
        rc = hs_fail(HS_ENOTFOUND, "run %" PRId64 " has no metric '%s': it has %s", run, metric,
                     all ? all : "none");
    sqlite3_finalize(s);
    return rc;
}

// The command that runs the experiment of a name, which recordings cannot be asked for; NULL when it
// is none's.
static const char *command_of(const char *name, size_t n) {
    for (int i = 0; hs_experiments[i]; i++)
        if (strlen(hs_experiments[i]->name) == n && !memcmp(hs_experiments[i]->name, name, n))
            return hs_analysis_of_experiment(hs_experiments[i]).command;
    return NULL;
}

static int nobody_looked(const char *needs, size_t len, int64_t run, const char *prompt) {
    const char *command = command_of(needs, len);
    if (command)
        return hs_fail(HS_ENOTFOUND,
                       "run %" PRId64 "%s%s has no results of %.*s: a run of headscope %s has", run,
                       prompt ? ", prompt " : "", prompt ? prompt : "", (int)len, needs, command);
    hs_buf names = {0};
    const char *bar = memchr(needs, '|', len);
    int first = (int)(bar ? (size_t)(bar - needs) : len);
    for (size_t i = 0; i < len; i++)
        if (needs[i] == '|')
            hs_buf_str(&names, " or ");
        else
            hs_buf_chr(&names, needs[i]);
    int rc = hs_fail(HS_ENOTFOUND,
                     "run %" PRId64 "%s%s has no results of %s: record it with --observe %.*s, "
                     "or run `headscope observe %.*s`",
                     run, prompt ? ", prompt " : "", prompt ? prompt : "", hs_buf_text(&names),
                     first, needs, first, needs);
    hs_buf_free(&names);
    return rc;
}

// What a check is told.
typedef struct asked {
    hs_db *db;
    const hs_query_info *info;
    const hs_query_opts *o;
    int64_t run, prompt; // row ids; prompt 0: all
} asked;

// The value of a parameter, given or declared; false when the query has none of that name.
static bool value_of(const asked *a, const char *name, char *out, size_t n) {
    const char *value = hs_query_given(a->o, name);
    if (!hs_query_declared(a->info, name, out, n)) return false;
    if (value) snprintf(out, n, "%s", value);
    return true;
}

static int has_metric(const asked *a, int64_t run, int64_t prompt, bool *found) {
    int64_t one;
    char metric[128] = "";
    value_of(a, "metric", metric, sizeof metric);
    hs_v v[] = {hs_v_text(metric), hs_v_int(run), hs_v_int(prompt)};
    int rc = hs_sql_int(a->db,
                        "SELECT 1 FROM prompt AS p CROSS JOIN head_metric AS m "
                        "ON m.prompt_id = p.id AND m.metric = ?1 "
                        "WHERE p.run_id = ?2 AND ?3 IN (0, p.id) LIMIT 1",
                        v, 3, &one, found);
    return rc || *found ? rc : no_metric(a->db, metric, run);
}

// ---- the checks ---------------------------------------------------------------------------------

// The metric that the parameter of this name says.
static int check_metric(const asked *a) {
    bool found;
    return has_metric(a, a->run, a->prompt, &found);
}

static int on_row(void *ctx, const hs_query *row) {
    bool *found = ctx;
    (void)row;
    *found = true;
    return HS_OK;
}

// The metrics that the parameter metrics lists, as the query part ranked reads them: each in some run
// of the same model under the same interventions. Its default names none that must be there.
static int check_metrics(const asked *a) {
    char metric[128], param[144];
    const char *const params[] = {param};
    const hs_query_opts o = {.run = a->run, .param = params, .n_param = 1};
    const char *at = hs_query_given(a->o, "metrics");
    bool found = true;
    int rc = HS_OK;
    if (!at || strcmp(at, "usual") == 0) return HS_OK;
    for (bool more = true; more && !rc && found; at++) {
        const size_t n = strcspn(at, ",");
        const char *name = at + strspn(at, " ");
        name += strspn(name, "+-");
        snprintf(metric, sizeof metric, "%.*s", name < at + n ? (int)(at + n - name) : 0, name);
        metric[strcspn(metric, " ")] = 0;
        snprintf(param, sizeof param, "metric=%s", metric);
        found = false;
        rc = hs_query_each(a->db, "same_runs", &o, on_row, &found);
        at += n;
        more = *at == ',';
    }
    hs_analysis giver;
    if (rc || found) return rc;
    if (hs_analysis_metric(metric, &giver)) return no_metric(a->db, metric, a->run);
    return hs_fail(HS_ENOTFOUND,
                   "no run of the model of run %" PRId64
                   " has a metric '%s': headscope list metrics names them",
                   a->run, metric);
}

// Stored maps: of the head that the parameters layer and head say, where the query has them.
static int check_maps(const asked *a) {
    int64_t one;
    bool found = false;
    char layer[32], head[32], name[80] = "all";
    bool is_one = value_of(a, "layer", layer, sizeof layer) &&
                  value_of(a, "head", head, sizeof head);
    if (is_one) snprintf(name, sizeof name, "L%sH%s", layer, head);
    hs_v v[] = {hs_v_int(a->run), hs_v_int(a->prompt), hs_v_text(is_one ? layer : NULL),
                hs_v_text(is_one ? head : NULL)};
    int rc = hs_sql_int(a->db,
                        "SELECT 1 FROM prompt AS p JOIN map AS m ON m.prompt_id = p.id AND "
                        "m.point = 'pattern' WHERE p.run_id = ?1 AND ?2 IN (0, p.id) AND (?3 IS "
                        "NULL OR (m.layer = CAST(?3 AS INTEGER) AND m.head = CAST(?4 AS "
                        "INTEGER))) LIMIT 1",
                        v, 4, &one, &found);
    if (rc || found) return rc;
    return hs_fail(HS_ENOTFOUND, "run %" PRId64 " stored no map%s%s: record it with --maps %s",
                   a->run, is_one ? " of " : "s", is_one ? name : "", name);
}

// Another run, that of the parameter `other` (0: the one before), with a prompt of the same id, and
// with the metric where the query is about one.
static int check_other(const asked *a) {
    int64_t other = 0, one;
    bool found = false;
    char text[64] = "0", metric[128];
    value_of(a, "other", text, sizeof text);
    hs_v before[] = {hs_v_int(a->run), hs_v_text(text)};
    int rc = hs_sql_int(a->db,
                        "SELECT id FROM run WHERE CASE WHEN CAST(?2 AS INTEGER) > 0 THEN id = "
                        "CAST(?2 AS INTEGER) ELSE id < ?1 END ORDER BY id DESC LIMIT 1",
                        before, 2, &other, &found);
    if (!rc && !found)
        return hs_fail(HS_ENOTFOUND,
                       "there is no %s%s to compare run %" PRId64
                       " with: give --param other=RUN (headscope runs lists them)",
                       strcmp(text, "0") ? "run " : "earlier run", strcmp(text, "0") ? text : "",
                       a->run);
    hs_v both[] = {hs_v_int(a->run), hs_v_int(other), hs_v_int(a->prompt)};
    if (!rc)
        rc = hs_sql_int(a->db,
                        "SELECT 1 FROM prompt AS p JOIN prompt AS q ON q.run_id = ?2 AND q.label "
                        "= p.label WHERE p.run_id = ?1 AND ?3 IN (0, p.id) LIMIT 1",
                        both, 3, &one, &found);
    if (!rc && !found)
        return hs_fail(HS_ENOTFOUND,
                       "runs %" PRId64 " and %" PRId64
                       " share no prompt id: record both with the same -f FILE",
                       a->run, other);
    if (!rc && value_of(a, "metric", metric, sizeof metric)) rc = has_metric(a, other, 0, &found);
    return rc;
}

static const struct {
    const char *name;
    int (*check)(const asked *);
} checks[] = {{":metric", check_metric},
              {":metrics", check_metrics},
              {":maps", check_maps},
              {":other", check_other}};
enum { N_CHECK = sizeof checks / sizeof *checks };

// One of several observers, joined by '|'.
static int check_observers(const asked *a, const char *needs, size_t len) {
    bool found = false;
    int rc = HS_OK;
    for (size_t at = 0, n; at < len && !rc && !found; at += n + 1) {
        const char *bar = memchr(needs + at, '|', len - at);
        n = bar ? (size_t)(bar - needs) - at : len - at;
        rc = has_looked(a->db, needs + at, n, a->run, a->prompt, &found);
    }
    return rc || found ? rc : nobody_looked(needs, len, a->run, a->o->prompt);
}

int hs_query_check(hs_db *db, const hs_query_info *info, const hs_query_opts *o) {
    size_t len;
    asked a = {.db = db, .info = info, .o = o};
    const char *needs = hs_query_line(info->text, "-- needs: ", 0, &len);
    if (!needs) return HS_OK;
    int rc = hs_db_run(db, o->run, &a.run);
    if (!rc && o->prompt) rc = hs_db_prompt(db, a.run, o->prompt, &a.prompt);
    for (int i = 0; !rc && (needs = hs_query_line(info->text, "-- needs: ", i, &len)); i++) {
        int k = 0;
        while (k < N_CHECK &&
               (strlen(checks[k].name) != len || memcmp(checks[k].name, needs, len) != 0))
            k++;
        rc = k < N_CHECK ? checks[k].check(&a) : check_observers(&a, needs, len);
    }
    return rc;
}
