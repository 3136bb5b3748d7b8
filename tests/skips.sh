#!/bin/sh
# Counts the tests that were skipped: skips.sh clear | report
#
# A test that needs a privilege which the machine does not grant prints a line, adds it to
# target/skipped-tests and succeeds. With TEST_SKIPS=deny it fails instead. "report" prints how
# many tests were skipped since "clear", and why.
set -eu
cd "$(dirname "$0")/.."

list=${CARGO_TARGET_DIR:-target}/skipped-tests
case ${1:-} in
    clear)
        rm -f "$list"
        ;;
    report)
        if ! [ -s "$list" ]; then
            echo "no test was skipped"
            exit
        fi
        echo "SKIPPED: $(sort -u "$list" | wc -l) tests"
        sort -u "$list" | sed 's/^[^\t]*\t//' | sort | uniq -c
        sort -u "$list" | sed 's/\t.*//; s/^/        /'
        ;;
    *)
        echo "usage: $0 clear | report" >&2
        exit 64
        ;;
esac
