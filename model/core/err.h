// Errors: every fallible function returns an hs_rc; the message of the last failure lives in
// thread-local storage. A message is one line: what, where, what to do. Libraries never print.
#ifndef HS_CORE_ERR_H
#define HS_CORE_ERR_H

enum hs_rc {
    HS_OK = 0,
    HS_E = -1,            // any other failure
    HS_ENOMEM = -2,       // out of memory
    HS_EIO = -3,          // the operating system refused a read, write or map
    HS_EFORMAT = -4,      // a file is damaged or not what it claims to be
    HS_EUNSUPPORTED = -5, // a valid model or file that this build cannot honour exactly
    HS_ENOTFOUND = -6,    // a name, pattern or row that matches nothing
    HS_EARG = -7,         // a wrong argument: the caller can mend it
    HS_ERANGE = -8,       // an id, position or count outside its range
    HS_EDB = -9,          // SQLite failed
    HS_ECHECK = -10,      // a check (verify, integrity) found a difference
    HS_ESTOP = -11,       // never raised by a library: a callback returns it to stop
};

#define HS_MUST_USE __attribute__((warn_unused_result))
#define HS_PRINTF(f, a) __attribute__((format(printf, f, a)))

// Stores the message and returns rc. Messages are cut at 1,023 bytes and never hold a newline
// or another control byte (file contents may be quoted in them).
int hs_fail(int rc, const char *fmt, ...) HS_PRINTF(2, 3);

// Puts "<text>: " before the stored message (a file or tensor name, added once on the way up)
// and returns rc. Does nothing but return when rc is HS_OK, or HS_ESTOP: the same line wherever a
// signal came.
int hs_prefix(int rc, const char *fmt, ...) HS_PRINTF(2, 3);

// The stored message of this thread; "" when nothing failed. Valid until the next failure.
const char *hs_errmsg(void);

#endif
