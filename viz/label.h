// Token bytes as text that can be read: every byte shows, nothing is lost or reordered.
#ifndef HS_VIZ_LABEL_H
#define HS_VIZ_LABEL_H

#include "model/core/buf.h"

// Each appends to the buffer valid UTF-8 without control characters, for any bytes up to the NUL.
//
// A token as Pango markup. Spaces at its ends and runs of spaces become open boxes, a newline a
// return sign, other invisible characters their code, bytes that are no UTF-8 <0xE2>; all of these
// are set pale, so that a token that spells them out looks different. Very long tokens are cut.
void hs_label_token(hs_buf *, const char *bytes);
// A line of text (title, caption) as Pango markup: like a token, but spaces stay.
void hs_label_text(hs_buf *, const char *bytes);
// The same line without markup, for metadata.
void hs_label_plain(hs_buf *, const char *bytes);

#endif
