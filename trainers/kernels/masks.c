/* Fixed weights under a mask, and the gradient of what the mask comes from: one pass over memory each. Plain C11; float32.
 *
 * trainers/edge_popup.py and trainers/supermask.py say what is computed, and hold the same arithmetic in torch, which
 * must give the same bits: build with -ffp-contract=off.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#define GOLDEN 0x9E3779B97F4A7C15ULL
#define BLOCK 64

/* SplitMix64 (Steele, Lea & Flood, 2014). */
static inline uint64_t mixed(uint64_t word)
{
    word ^= word >> 30;
    word *= 0xBF58476D1CE4E5B9ULL;
    word ^= word >> 27;
    word *= 0x94D049BB133111EBULL;
    word ^= word >> 31;
    return word;
}

typedef struct {
    float magnitude;
    int64_t connection;
} Near;

/* The highest first, equal ones in the order of connections. */
static int by_rank(const void *left, const void *right)
{
    const Near *a = left, *b = right;
    if (a->magnitude != b->magnitude) return a->magnitude > b->magnitude ? -1 : 1;
    return a->connection < b->connection ? -1 : 1;
}

/* Writes the weights of the `kept` connections with the highest |score|, and 0 elsewhere, if the lowest of them has
 * low <= |score| <= high, and no more than `room` connections have. Returns how many have, and the lowest |score| kept
 * in `threshold`; or -1, having written nothing of use, where that is not so or there is no memory. */
int64_t popup_select(int64_t n, const float *restrict scores, const float *restrict weights, int64_t kept, float low,
                     float high, int64_t room, float *restrict out, float *restrict threshold)
{
    Near *near = malloc((size_t)(room + 1) * sizeof *near);
    if (!near) return -1;
    int64_t count = 0, rank = kept;
    for (int64_t start = 0; start < n; start += BLOCK) {
        int64_t size = n - start < BLOCK ? n - start : BLOCK;
        int32_t from_low = 0, from_high = 0;
        for (int64_t i = start; i < start + size; i++) {
            float magnitude = fabsf(scores[i]);
            out[i] = magnitude > high ? weights[i] : 0.0f;
            from_high += magnitude > high;
            from_low += magnitude >= low;
        }
        rank -= from_high;
        if (from_low == from_high) continue;
        if (count + from_low - from_high > room) {
            free(near);
            return -1;
        }
        for (int64_t i = start; i < start + size; i++) {
            float magnitude = fabsf(scores[i]);
            near[count] = (Near){magnitude, i}; /* overwritten by the next one unless it counts */
            count += magnitude >= low && !(magnitude > high);
        }
    }
    int found = 0 < rank && rank <= count;
    if (found) {
        qsort(near, (size_t)count, sizeof *near, by_rank);
        for (int64_t r = 0; r < rank; r++) out[near[r].connection] = weights[near[r].connection];
        *threshold = near[rank - 1].magnitude;
    }
    free(near);
    return found ? count : -1;
}

/* The gradient becomes gradient · weight · sign(score). */
void popup_gradient(int64_t n, const float *restrict weights, const float *restrict scores, float *restrict gradient)
{
    for (int64_t i = 0; i < n; i++) {
        float sign = (float)((scores[i] > 0.0f) - (scores[i] < 0.0f));
        gradient[i] = gradient[i] * weights[i] * sign;
    }
}

/* Keeps each weight with its probability, by the numbers of the stream `key`. Returns how many it kept. */
int64_t supermask_sample(int64_t n, const float *restrict probability, const float *restrict weights, uint64_t key,
                         float *restrict out)
{
    int64_t kept = 0;
    for (int64_t start = 0; start < n; start += BLOCK) {
        int64_t size = n - start < BLOCK ? n - start : BLOCK;
        int32_t here = 0;
        int32_t chance[BLOCK];
        for (int64_t j = 0; j < size; j++)
            chance[j] = (int32_t)(mixed((uint64_t)(start + j) * GOLDEN + key) >> 8) & 0xFFFFFF;
        for (int64_t j = 0; j < size; j++) {
            int32_t keep = (float)chance[j] < probability[start + j] * 0x1p24f;
            out[start + j] = keep ? weights[start + j] : 0.0f;
            here += keep;
        }
        kept += here;
    }
    return kept;
}

/* The gradient becomes (gradient · weight - shared) · factor · p · (1 - p). */
void supermask_gradient(int64_t n, float shared, float factor, const float *restrict weights,
                        const float *restrict probability, float *restrict gradient)
{
    for (int64_t i = 0; i < n; i++) {
        float p = probability[i];
        gradient[i] = (gradient[i] * weights[i] - shared) * factor * p * (1.0f - p);
    }
}
