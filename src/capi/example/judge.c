/* Judges a trace on standard input, line by line, and says at which line it went wrong.
 *
 *     cc judge.c -I../include -L../../../target/debug -lblockjob_oracle -o judge
 *     ./judge [PROFILE] < trace.jsonl
 *
 * Exit code: 0 accepted, 1 rejected, 2 no trace.
 */
#include <blockjob_oracle.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

int main(int argc, char **argv)
{
    BlockjobOracle *oracle = blockjob_oracle_new(argc > 1 ? argv[1] : NULL);
    BlockjobVerdict verdict = BLOCKJOB_VERDICT_OPEN;
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    int code;

    if (!oracle) {
        fprintf(stderr, "no such profile\n");
        return 2;
    }
    while (verdict == BLOCKJOB_VERDICT_OPEN && (length = getline(&line, &size, stdin)) > 0) {
        verdict = blockjob_oracle_feed(oracle, line, (size_t)length);
    }
    verdict = blockjob_oracle_finish(oracle);
    printf("%s\n", blockjob_oracle_explanation(oracle));
    printf("%s\n", blockjob_oracle_json(oracle));
    printf("line %llu\n", (unsigned long long)blockjob_oracle_line(oracle));
    code = verdict == BLOCKJOB_VERDICT_ACCEPT ? 0 : verdict == BLOCKJOB_VERDICT_REJECT ? 1 : 2;
    free(line);
    blockjob_oracle_free(oracle);
    return code;
}
