// Positions and ranges of positions; see names.h. Negative numbers count from the end.
#include "hooks/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// Reads a signed whole number that ends at `end`, counting negative ones from n.
static bool read_pos(const char *s, const char *end, int64_t n, int64_t *out) {
    char *stop;
    if (s == end || !(*s == '-' || (*s >= '0' && *s <= '9'))) return false;
    errno = 0;
    long long v = strtoll(s, &stop, 10);
    if (stop != end || errno) return false;
    *out = v < 0 ? v + n : v;
    return true;
}

int hs_pos_parse(int64_t *out, int64_t n, const char *text) {
    if (!read_pos(text, text + strlen(text), n, out))
        return hs_fail(HS_EARG, "'%s' is not a position: write 3, or -1 for the last one", text);
    if (*out < 0 || *out >= n)
        return hs_fail(HS_ERANGE, "position %s does not exist: there are %lld, counted from 0",
                       text, (long long)n);
    return HS_OK;
}

int hs_range_parse(int64_t *from, int64_t *to, int64_t n, const char *text) {
    const char *colon = strchr(text, ':'), *end = text + strlen(text);
    if (!colon) {
        int rc = hs_pos_parse(from, n, text);
        *to = *from + 1;
        return rc;
    }
    *from = 0;
    *to = n;
    if ((colon > text && !read_pos(text, colon, n, from)) ||
        (colon + 1 < end && !read_pos(colon + 1, end, n, to)))
        return hs_fail(HS_EARG, "'%s' is not a range: write 3:10, :4, -5: or one position", text);
    if (*from < 0 || *from > n || *to < 0 || *to > n)
        return hs_fail(HS_ERANGE, "'%s' reaches outside the %lld positions", text, (long long)n);
    if (*from > *to) return hs_fail(HS_EARG, "'%s' runs backwards", text);
    return HS_OK;
}
