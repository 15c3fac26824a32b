// One code of several reads of a conversion: their sum (mean), the most frequent one (of equally frequent ones the
// smallest), or the median. Registers hold the best code so far; every read is compared with every other one.
#pragma once
#include "conversion_job.h"
#include "lanes.h"

// Codes: the reads, `step` elements from one to the next.
INLINE i32v voted(const int32_t* codes, int64_t step, int votes, int32_t rule) {
    i32v best = load<i32v>(codes);
    if (rule == MEAN) {
        for (int a = 1; a < votes; ++a) best += load<i32v>(codes + a * step);
        return best;
    }
    i32v agreement{};
    for (int a = 0; a < votes; ++a) {
        const i32v code = load<i32v>(codes + a * step);
        i32v not_above{}, below{};     // reads that are not above this one, and below it
        for (int b = 0; b < votes; ++b) {
            const i32v other = load<i32v>(codes + b * step);
            not_above -= other <= code;
            below -= other < code;
        }
        if (rule == MEDIAN) {
            best = ((below <= votes / 2) & (not_above > votes / 2)) ? code : best;
        } else {
            const i32v agree = not_above - below;
            const i32v better = (agree > agreement) | ((agree == agreement) & (code < best));
            best = better ? code : best;
            agreement = better ? agree : agreement;
        }
    }
    return best;
}
