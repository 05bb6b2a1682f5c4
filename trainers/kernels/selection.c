/* Selection over K options a connection, options drawn as they are needed. Plain C11, no libraries; float32 layers.
 *
 * trainers/selection.py says what is computed, and is the NumPy version of the same arithmetic; trainers/native.py
 * compiles this file. Build with -ffp-contract=off: greedy selection must equal NumPy's bit for bit.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN 0x9E3779B97F4A7C15ULL
#define OPTION_BITS 16
#define BLOCK 256

typedef struct {
    int64_t options;       /* K */
    uint64_t scores_key;   /* of the layer's stream */
    float value_step;      /* values are odd numbers in (-2^24, 2^24) times this */
    float score_step;      /* initial scores are numbers in 0 .. 2^24 - 1 times this */
    const float *shared;   /* the K values where all connections share them, else NULL */
} Options;

/* SplitMix64 (Steele, Lea & Flood, 2014). */
static inline int64_t mixed(uint64_t word)
{
    word ^= word >> 30;
    word *= 0xBF58476D1CE4E5B9ULL;
    word ^= word >> 27;
    word *= 0x94D049BB133111EBULL;
    word ^= word >> 31;
    return (int64_t)word;
}

static inline uint64_t first_word(uint64_t key, int64_t connection)
{
    return ((uint64_t)connection << OPTION_BITS) * GOLDEN + key;
}

static inline float drawn_value(int64_t word, float step) { return (float)(int32_t)((word >> 39) | 1) * step; }
static inline float drawn_score(int64_t word, float step) { return (float)(int32_t)((word >> 8) & 0xFFFFFF) * step; }

/* 16-bit integers in the order of floats: sign, 5 bits of exponent, 10 of mantissa, cut off. */
static inline int16_t order_key(float number)
{
    int32_t bits;
    memcpy(&bits, &number, sizeof bits);
    int32_t size = ((bits & 0x7FFFFFFF) >> 13) - (112 << 10);
    size = size < 0 ? 0 : size;
    size = size > 0x7FFE ? 0x7FFE : size;
    return (int16_t)(size ^ (bits >> 31));
}

/* The winner among all K of one connection; slopes and totals are room for K numbers each. */
static void select_one(const Options *o, int64_t i, double b, double scale, double *slopes, double *totals,
                       float *in_use, int16_t *lower, int16_t *upper)
{
    uint64_t word = first_word(o->scores_key, i);
    for (int64_t k = 0; k < o->options; k++) {
        int64_t bits = mixed(word + (uint64_t)k * GOLDEN);
        slopes[k] = o->shared ? o->shared[k] : drawn_value(bits, o->value_step);
        totals[k] = slopes[k] * b + (double)drawn_score(bits, o->score_step) * scale;
    }
    int64_t top = 0;
    for (int64_t k = 1; k < o->options; k++)
        if (totals[k] > totals[top]) top = k;
    double above = 0, below = 0;
    for (int64_t k = 0; k < o->options; k++) {
        double steeper = slopes[k] - slopes[top], nearness = steeper / (totals[top] - totals[k]);
        if (steeper == 0) continue;
        above = nearness > above ? nearness : above;
        below = nearness < below ? nearness : below;
    }
    in_use[i] = totals[top] == totals[top] ? (float)slopes[top] : NAN; /* scores that are no numbers choose nothing */
    if (scale <= 0) {
        lower[i] = INT16_MAX;
        upper[i] = INT16_MIN;
        return;
    }
    double down = below < 0 ? 1.0 / -below : INFINITY, up = above > 0 ? 1.0 / above : INFINITY;
    lower[i] = (int16_t)(order_key((float)((b - down) / scale)) + 1);
    upper[i] = (int16_t)(order_key((float)((b + up) / scale)) - 1);
}

/* Which of `size` <= BLOCK connections are outside their interval, as 0 or 1 a byte; returns whether any is. */
static int find_outside(int64_t size, const float *restrict b, float inverse, const int16_t *restrict lower,
                        const int16_t *restrict upper, uint8_t *restrict out)
{
    int16_t keys[BLOCK];
    uint8_t any = 0;
    for (int64_t j = 0; j < size; j++) keys[j] = order_key(b[j] * inverse);
    for (int64_t j = 0; j < size; j++) out[j] = (uint8_t)((keys[j] <= lower[j]) | (keys[j] >= upper[j]));
    for (int64_t j = 0; j < size; j++) any |= out[j];
    return any;
}

/* Re-select, in place, the connections first..last whose x = b / scale is not inside its interval; returns how many. */
int64_t slot_select(const Options *o, int64_t first, int64_t last, const float *b, double scale, float *in_use,
                    int16_t *lower, int16_t *upper)
{
    double *room = malloc(2 * (size_t)o->options * sizeof *room);
    if (!room) return -1;
    float inverse = (float)(1.0 / scale);
    uint8_t out[BLOCK];
    int64_t count = 0;
    for (int64_t start = first; start < last; start += BLOCK) {
        int64_t size = last - start < BLOCK ? last - start : BLOCK;
        if (scale <= 0) {
            memset(out, 1, sizeof out);
        } else {
            memset(out, 0, sizeof out);
            if (!find_outside(size, b + start, inverse, lower + start, upper + start, out)) continue;
        }
        for (int64_t j = 0; j < size; j += 8) {
            uint64_t eight;
            memcpy(&eight, out + j, sizeof eight);
            if (!eight) continue;
            for (int64_t i = j; i < j + 8 && i < size; i++)
                if (out[i]) {
                    select_one(o, start + i, b[start + i], scale, room, room + o->options, in_use, lower, upper);
                    count++;
                }
        }
    }
    free(room);
    return count;
}

/* exp(x) for -86 <= x <= 0, to 2 units in the last place; the usual reduction to 2^n times a polynomial. */
static inline float exp_not_positive(float x)
{
    float n = (float)(int32_t)(x * 1.44269504f - 0.5f);
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits = ((int32_t)n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

/* Values and scores of option k of `size` connections, and the highest score so far. */
static void score_option(const Options *o, int64_t k, int64_t size, const uint64_t *restrict words,
                         const float *restrict b, float scale, float *restrict value, float *restrict score,
                         float *restrict highest)
{
    float value_step = o->value_step, score_step = o->score_step;
    uint64_t shift = (uint64_t)k * GOLDEN;
    for (int64_t j = 0; j < size; j++) {
        int64_t bits = mixed(words[j] + shift);
        value[j] = drawn_value(bits, value_step);
        score[j] = scale * drawn_score(bits, score_step);
    }
    if (o->shared)
        for (int64_t j = 0; j < size; j++) value[j] = o->shared[k];
    for (int64_t j = 0; j < size; j++) {
        score[j] += value[j] * b[j];
        highest[j] = score[j] > highest[j] ? score[j] : highest[j];
    }
}

/* sums[j] and total[j] become the sum of exp(score - highest) up to this option; score and sum are one array. */
static void add_option(int64_t size, const float *restrict highest, float *restrict sum, float *restrict total)
{
    /* A loop of its own: inside the next one, compilers make a branch of it and give up on vectors. */
    for (int64_t j = 0; j < size; j++) {
        float x = sum[j] - highest[j];
        sum[j] = x < -86.0f ? -86.0f : x;
    }
    for (int64_t j = 0; j < size; j++) {
        total[j] += exp_not_positive(sum[j]);
        sum[j] = total[j];
    }
}

static void draw_targets(int64_t size, uint64_t word, float *restrict total)
{
    for (int64_t j = 0; j < size; j++) {
        int64_t bits = mixed((uint64_t)j * GOLDEN + word);
        total[j] *= (float)(int32_t)((bits >> 39) | 1) * 0x1p-25f + 0.5f;
    }
}

static void count_below(int64_t size, const float *restrict sum, const float *restrict target, int32_t *restrict found)
{
    for (int64_t j = 0; j < size; j++) found[j] += sum[j] <= target[j];
}

/* A value for each of the connections first..last, option k with probability softmax_k(scale*s_k(0) + w_k*b):
 * the first option whose cumulative probability exceeds the connection's number of the stream noise_key. */
int64_t slot_sample(const Options *o, int64_t first, int64_t last, const float *b, float scale, uint64_t noise_key,
                    float *out)
{
    int64_t K = o->options;
    float *values = malloc(2 * (size_t)K * BLOCK * sizeof *values);
    if (!values) return -1;
    float *sums = values + K * BLOCK;
    uint64_t words[BLOCK];
    float highest[BLOCK], total[BLOCK];
    int32_t found[BLOCK];
    for (int64_t start = first; start < last; start += BLOCK) {
        int64_t size = last - start < BLOCK ? last - start : BLOCK;
        for (int64_t j = 0; j < size; j++) {
            words[j] = first_word(o->scores_key, start + j);
            highest[j] = -INFINITY;
            total[j] = 0;
            found[j] = 0;
        }
        for (int64_t k = 0; k < K; k++)
            score_option(o, k, size, words, b + start, scale, values + k * BLOCK, sums + k * BLOCK, highest);
        for (int64_t k = 0; k < K; k++) add_option(size, highest, sums + k * BLOCK, total);
        draw_targets(size, (uint64_t)start * GOLDEN + noise_key, total);
        for (int64_t k = 0; k < K - 1; k++) count_below(size, sums + k * BLOCK, total, found);
        for (int64_t j = 0; j < size; j++) out[start + j] = total[j] == total[j] ? values[found[j] * BLOCK + j] : NAN;
    }
    free(values);
    return 0;
}
