/* Selection over K options a connection, options drawn as they are needed. Plain C11, no libraries; float32 layers.
 *
 * winners.py and torch_kernels.py say what is computed, in NumPy and torch; native.py
 * compiles this file. Build with -ffp-contract=off: greedy selection must equal NumPy's bit for bit.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN 0x9E3779B97F4A7C15ULL
#define OPTION_BITS 16
#define BLOCK 256
#define SCORES 4096 /* that are summed at once: they stay in the cache next to the processor */
#define LANES 64 /* connections that are selected side by side */

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

/* Slopes and totals of option k of `size` connections, and the highest total so far with its slope. */
static void total_option(const Options *o, int64_t k, int64_t size, const uint64_t *restrict words,
                         const double *restrict b, double scale, double *restrict slope, double *restrict total,
                         double *restrict top_slope, double *restrict top)
{
    float value_step = o->value_step, score_step = o->score_step;
    uint64_t shift = (uint64_t)k * GOLDEN;
    for (int64_t j = 0; j < size; j++) {
        int64_t bits = mixed(words[j] + shift);
        slope[j] = drawn_value(bits, value_step);
        total[j] = (double)drawn_score(bits, score_step) * scale;
    }
    if (o->shared)
        for (int64_t j = 0; j < size; j++) slope[j] = o->shared[k];
    for (int64_t j = 0; j < size; j++) total[j] = slope[j] * b[j] + total[j];
    if (k == 0) {
        memcpy(top_slope, slope, (size_t)size * sizeof *slope);
        memcpy(top, total, (size_t)size * sizeof *total);
        return;
    }
    for (int64_t j = 0; j < size; j++) {
        top_slope[j] = total[j] > top[j] ? slope[j] : top_slope[j];
        top[j] = total[j] > top[j] ? total[j] : top[j];
    }
}

/* A line that is d steeper than the winner and g below it passes it g / d further on: nearest where d / g is extreme. */
static void meet_option(int64_t size, const double *restrict slope, const double *restrict total,
                        const double *restrict top_slope, const double *restrict top, double *restrict above,
                        double *restrict below)
{
    for (int64_t j = 0; j < size; j++) { /* of the winner itself it is 0 / 0, which is neither */
        double nearness = (slope[j] - top_slope[j]) / (top[j] - total[j]);
        above[j] = nearness > above[j] ? nearness : above[j];
        below[j] = nearness < below[j] ? nearness : below[j];
    }
}

/* What `size` <= LANES connections use from now on, and from where to where. */
static void write_winners(int64_t size, const int64_t *restrict at, const double *restrict b, double scale,
                          const double *restrict top_slope, const double *restrict top, const double *restrict above,
                          const double *restrict below, float *restrict in_use, int16_t *restrict lower,
                          int16_t *restrict upper)
{
    float values[LANES];
    int16_t from[LANES], to[LANES];
    for (int64_t j = 0; j < size; j++) {
        values[j] = top[j] == top[j] ? (float)top_slope[j] : NAN; /* scores that are no numbers choose nothing */
        double down = below[j] < 0 ? 1.0 / -below[j] : INFINITY, up = above[j] > 0 ? 1.0 / above[j] : INFINITY;
        from[j] = (int16_t)(order_key((float)((b[j] - down) / scale)) + 1);
        to[j] = (int16_t)(order_key((float)((b[j] + up) / scale)) - 1);
    }
    for (int64_t j = 0; j < size; j++) {
        in_use[at[j]] = values[j];
        lower[at[j]] = scale > 0 ? from[j] : INT16_MAX;
        upper[at[j]] = scale > 0 ? to[j] : INT16_MIN;
    }
}

/* The winners among all K of `size` <= LANES connections; slopes and totals are room for K x LANES numbers each. */
static void select_lanes(const Options *o, int64_t size, const int64_t *at, const float *accumulated, double scale,
                         double *slopes, double *totals, float *in_use, int16_t *lower, int16_t *upper)
{
    uint64_t words[LANES];
    double b[LANES], top_slope[LANES], top[LANES], above[LANES], below[LANES];
    for (int64_t j = 0; j < size; j++) {
        words[j] = first_word(o->scores_key, at[j]);
        b[j] = accumulated[at[j]];
        above[j] = below[j] = 0;
    }
    for (int64_t k = 0; k < o->options; k++)
        total_option(o, k, size, words, b, scale, slopes + k * LANES, totals + k * LANES, top_slope, top);
    for (int64_t k = 0; k < o->options; k++)
        meet_option(size, slopes + k * LANES, totals + k * LANES, top_slope, top, above, below);
    write_winners(size, at, b, scale, top_slope, top, above, below, in_use, lower, upper);
}

/* Whether any of `size` <= BLOCK connections is outside its interval, and if so which are, as 0 or 1 a byte. */
static int find_outside(int64_t size, const float *restrict b, float inverse, const int16_t *restrict lower,
                        const int16_t *restrict upper, uint8_t *restrict out)
{
    int16_t keys[BLOCK], any = 0;
    for (int64_t j = 0; j < size; j++) keys[j] = order_key(b[j] * inverse);
    for (int64_t j = 0; j < size; j++) any |= (int16_t)((keys[j] <= lower[j]) | (keys[j] >= upper[j]));
    if (!any) return 0;
    memset(out, 0, BLOCK);
    for (int64_t j = 0; j < size; j++) out[j] = (uint8_t)((keys[j] <= lower[j]) | (keys[j] >= upper[j]));
    return 1;
}

/* Re-select, in place, the connections first..last whose x = b / scale is not inside its interval; returns how many. */
int64_t slot_select(const Options *o, int64_t first, int64_t last, const float *b, double scale, float *in_use,
                    int16_t *lower, int16_t *upper)
{
    double *room = malloc(2 * LANES * (size_t)o->options * sizeof *room);
    if (!room) return -1;
    double *totals = room + LANES * o->options;
    float inverse = (float)(1.0 / scale);
    uint8_t out[BLOCK];
    int64_t waiting[LANES], count = 0; /* of those found, the last count % LANES wait for others to be selected beside */
    for (int64_t start = first; start < last; start += BLOCK) {
        int64_t size = last - start < BLOCK ? last - start : BLOCK;
        if (scale <= 0) {
            memset(out, 1, sizeof out);
        } else {
            if (!find_outside(size, b + start, inverse, lower + start, upper + start, out)) continue;
        }
        for (int64_t j = 0; j < size; j += 8) {
            uint64_t eight;
            memcpy(&eight, out + j, sizeof eight);
            if (!eight) continue;
            for (int64_t i = j; i < j + 8 && i < size; i++) {
                if (!out[i]) continue;
                waiting[count++ % LANES] = start + i;
                if (count % LANES == 0) select_lanes(o, LANES, waiting, b, scale, room, totals, in_use, lower, upper);
            }
        }
    }
    if (count % LANES) select_lanes(o, count % LANES, waiting, b, scale, room, totals, in_use, lower, upper);
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

/* Scores of option k of `size` connections, and the highest score so far. */
static void score_option(const Options *o, int64_t k, int64_t size, const uint64_t *restrict words,
                         const float *restrict b, float scale, float *restrict score, float *restrict highest)
{
    float value_step = o->value_step, score_step = o->score_step;
    uint64_t shift = (uint64_t)k * GOLDEN;
    if (o->shared) {
        float value = o->shared[k];
        for (int64_t j = 0; j < size; j++)
            score[j] = scale * drawn_score(mixed(words[j] + shift), score_step) + value * b[j];
    } else {
        for (int64_t j = 0; j < size; j++) {
            int64_t bits = mixed(words[j] + shift);
            score[j] = scale * drawn_score(bits, score_step) + drawn_value(bits, value_step) * b[j];
        }
    }
    for (int64_t j = 0; j < size; j++) highest[j] = score[j] > highest[j] ? score[j] : highest[j];
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

/* The values of the options found; NaN where scores are no numbers. */
static void write_values(const Options *o, int64_t size, const uint64_t *restrict words, const int32_t *restrict found,
                         const float *restrict target, float *restrict out)
{
    float value_step = o->value_step;
    if (o->shared)
        for (int64_t j = 0; j < size; j++) out[j] = o->shared[found[j]];
    else
        for (int64_t j = 0; j < size; j++)
            out[j] = drawn_value(mixed(words[j] + (uint64_t)found[j] * GOLDEN), value_step);
    for (int64_t j = 0; j < size; j++) out[j] = target[j] == target[j] ? out[j] : NAN;
}

/* A value for each of the connections first..last, option k with probability softmax_k(scale*s_k(0) + w_k*b):
 * the first option whose cumulative probability exceeds the connection's number of the stream noise_key. */
int64_t slot_sample(const Options *o, int64_t first, int64_t last, const float *b, float scale, uint64_t noise_key,
                    float *out)
{
    int64_t K = o->options, block = SCORES / K / 16 * 16;
    block = block < 16 ? 16 : block > BLOCK ? BLOCK : block;
    float *sums = malloc((size_t)(K * block) * sizeof *sums);
    if (!sums) return -1;
    uint64_t words[BLOCK];
    float highest[BLOCK], total[BLOCK];
    int32_t found[BLOCK];
    for (int64_t start = first; start < last; start += block) {
        int64_t size = last - start < block ? last - start : block;
        for (int64_t j = 0; j < size; j++) {
            words[j] = first_word(o->scores_key, start + j);
            highest[j] = -INFINITY;
            total[j] = 0;
            found[j] = 0;
        }
        for (int64_t k = 0; k < K; k++) score_option(o, k, size, words, b + start, scale, sums + k * block, highest);
        for (int64_t k = 0; k < K; k++) add_option(size, highest, sums + k * block, total);
        draw_targets(size, (uint64_t)start * GOLDEN + noise_key, total);
        for (int64_t k = 0; k < K - 1; k++) count_below(size, sums + k * block, total, found);
        write_values(o, size, words, found, total, out + start);
    }
    free(sums);
    return 0;
}
