/* libblockjob_oracle: judges recordings of block-job engines. Made by cbindgen of src/capi/src/lib.rs; do not edit. */

#ifndef BLOCKJOB_ORACLE_H
#define BLOCKJOB_ORACLE_H

#include <stddef.h>
#include <stdint.h>

/*
 What the oracle says of a trace.
 */
typedef enum BlockjobVerdict {
  /*
   Nothing yet: what was fed is allowed so far.
   */
  BLOCKJOB_VERDICT_OPEN = 0,
  /*
   The trace is complete, and the specification allows all of it.
   */
  BLOCKJOB_VERDICT_ACCEPT = 1,
  /*
   The specification does not allow it. More lines change nothing.
   */
  BLOCKJOB_VERDICT_REJECT = 2,
  /*
   It is no trace, or there is nothing to judge in it. More lines change nothing.
   */
  BLOCKJOB_VERDICT_ERROR = 3,
  /*
   NULL was given where there must be something.
   */
  BLOCKJOB_VERDICT_MISUSE = 4,
  /*
   A mistake of the library; free the oracle.
   */
  BLOCKJOB_VERDICT_BROKEN = 5,
} BlockjobVerdict;

/*
 Judges one trace. Made by `blockjob_oracle_new`, ended by `blockjob_oracle_free`.

 Different oracles may be used by different threads at the same time, and an oracle may be handed from one thread
 to another; one oracle must not be used by two threads at the same time. Each has a thread of its own, which
 sleeps between calls.
 */
typedef struct BlockjobOracle BlockjobOracle;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 An oracle for one trace, judged by the profile of this name: `reference`, `qemu-10.0` … (`blockjob spec --profile`
 lists them). NULL or "auto": the one that the trace names, else any that fits.

 NULL: there is no such profile, or the system gives it no thread. Any thread.

 # Safety

 `profile` is NULL, or text that ends with NUL.
 */
struct BlockjobOracle *blockjob_oracle_new(const char *profile);

/*
 Hands over the next line: `length` bytes, with or without a line feed at their end. Any bytes: NUL and what is no
 UTF-8 are judged as in a file. Returns when the line is judged: `Open` if it is allowed (a format whose messages go
 over several lines is judged when the message is complete), else the verdict.

 # Safety

 `oracle` is NULL, or came from `blockjob_oracle_new`, was not freed, and is used by no other thread meanwhile. `line`
 is NULL, or `length` bytes can be read there.
 */
enum BlockjobVerdict blockjob_oracle_feed(struct BlockjobOracle *oracle,
                                          const char *line,
                                          size_t length);

/*
 The trace is complete: the verdict. It may be asked for again.

 # Safety

 As for `blockjob_oracle_feed`.
 */
enum BlockjobVerdict blockjob_oracle_finish(struct BlockjobOracle *oracle);

/*
 The verdict in words, as `blockjob check` prints it: the line, the rule, because of what, what would have been allowed.
 UTF-8, ends with NUL. It belongs to the oracle and lasts until that is freed. NULL while there is no verdict.

 # Safety

 As for `blockjob_oracle_feed`.
 */
const char *blockjob_oracle_explanation(const struct BlockjobOracle *oracle);

/*
 The same as one JSON object, as `blockjob check --json` prints it (`blockjob schema check`).

 # Safety

 As for `blockjob_oracle_feed`.
 */
const char *blockjob_oracle_json(const struct BlockjobOracle *oracle);

/*
 The line of the fault of a rejected trace, from 1; 0 where there is none.

 # Safety

 As for `blockjob_oracle_feed`.
 */
uint64_t blockjob_oracle_line(const struct BlockjobOracle *oracle);

/*
 Ends the oracle, and what it has lent. NULL is nothing to end.

 # Safety

 As for `blockjob_oracle_feed`; it is not used again.
 */
void blockjob_oracle_free(struct BlockjobOracle *oracle);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* BLOCKJOB_ORACLE_H */
