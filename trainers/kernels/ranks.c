/* Options as ranks by initial score, and back; options drawn as they are needed. Plain C11, no libraries; float32 layers.
 *
 * trainers/option_ranks.py says what is computed, and does the same in torch. Options are those of selection.c.
 */
#include <stdint.h>
#include <stdlib.h>
#include <math.h>

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

static void draw(const Options *o, int64_t connection, float *values, float *scores)
{
    uint64_t word = ((uint64_t)connection << OPTION_BITS) * GOLDEN + o->scores_key;
    for (int64_t k = 0; k < o->options; k++) {
        int64_t bits = mixed(word + (uint64_t)k * GOLDEN);
        values[k] = o->shared ? o->shared[k] : (float)(int32_t)((bits >> 39) | 1) * o->value_step;
        scores[k] = (float)(int32_t)((bits >> 8) & 0xFFFFFF) * o->score_step;
    }
}

/* The rank of the first option that has each weight as its value. Returns how many connections have such an option, the
 * first that has none ending it, or -1 where there is no memory. */
int64_t slot_ranks(const Options *o, int64_t connections, const float *weight, int32_t *ranks)
{
    int64_t K = o->options, i;
    float *values = malloc(2 * (size_t)K * sizeof *values), *scores = values + K;
    if (!values) return -1;
    for (i = 0; i < connections; i++) {
        draw(o, i, values, scores);
        int64_t used = K;
        for (int64_t k = K - 1; k >= 0; k--) used = values[k] == weight[i] ? k : used;
        if (used == K) break;
        float score = scores[used];
        int32_t ahead = 0;
        for (int64_t k = 0; k < used; k++) ahead += scores[k] >= score; /* equal scores: the first option is ahead */
        for (int64_t k = used + 1; k < K; k++) ahead += scores[k] > score;
        ranks[i] = ahead;
    }
    free(values);
    return i;
}

/* The value of each connection's option of this rank. Returns 0, or -1 where there is no memory. */
int64_t slot_ranked_values(const Options *o, int64_t connections, const int32_t *ranks, float *weight)
{
    int64_t K = o->options;
    float *values = malloc(2 * (size_t)K * sizeof *values), *scores = values + K;
    if (!values) return -1;
    for (int64_t i = 0; i < connections; i++) {
        draw(o, i, values, scores);
        int64_t best = 0;
        for (int32_t rank = 0;; rank++) {
            best = 0;
            for (int64_t k = 1; k < K; k++) best = scores[k] > scores[best] ? k : best;
            if (rank >= ranks[i] || rank >= K - 1) break;
            scores[best] = -1; /* below all: scores are not negative */
        }
        weight[i] = values[best];
    }
    free(values);
    return 0;
}

/* Option k of `size` connections: whether its value is below the one in use, and whether its score is the best so far. */
static void rank_option(const Options *o, int64_t k, int64_t size, const uint64_t *restrict words,
                        const float *restrict weight, int32_t *restrict below, int64_t *restrict steps,
                        float *restrict best, float *restrict best_value)
{
    float value_step = o->value_step, score_step = o->score_step;
    uint64_t shift = (uint64_t)k * GOLDEN;
    float value[BLOCK], score[BLOCK];
    for (int64_t j = 0; j < size; j++) {
        int64_t bits = mixed(words[j] + shift);
        int32_t odd = (int32_t)((bits >> 39) | 1);
        steps[j] += odd < 0 ? -odd : odd;
        value[j] = (float)odd * value_step;
        score[j] = (float)(int32_t)((bits >> 8) & 0xFFFFFF) * score_step;
    }
    if (o->shared)
        for (int64_t j = 0; j < size; j++) value[j] = o->shared[k];
    for (int64_t j = 0; j < size; j++) {
        below[j] += value[j] < weight[j];
        best_value[j] = score[j] > best[j] ? value[j] : best_value[j];
        best[j] = score[j] > best[j] ? score[j] : best[j];
    }
}

/* How many values of each connection are below the one in use; *magnitudes becomes the sum of all |values|. Returns how
 * many connections do not use the option of their highest initial score. */
int64_t slot_value_ranks(const Options *o, int64_t connections, const float *weight, int32_t *below, double *magnitudes)
{
    uint64_t words[BLOCK];
    float best[BLOCK], best_value[BLOCK];
    int64_t steps[BLOCK], moved = 0, all_steps = 0;
    for (int64_t start = 0; start < connections; start += BLOCK) {
        int64_t size = connections - start < BLOCK ? connections - start : BLOCK;
        for (int64_t j = 0; j < size; j++) {
            words[j] = ((uint64_t)(start + j) << OPTION_BITS) * GOLDEN + o->scores_key;
            best[j] = -1; /* below all: scores are not negative */
            best_value[j] = 0;
            steps[j] = 0;
            below[start + j] = 0;
        }
        for (int64_t k = 0; k < o->options; k++)
            rank_option(o, k, size, words, weight + start, below + start, steps, best, best_value);
        for (int64_t j = 0; j < size; j++) {
            moved += best_value[j] != weight[start + j];
            all_steps += steps[j];
        }
    }
    *magnitudes = (double)all_steps * (double)o->value_step;
    if (o->shared) {
        double sum = 0;
        for (int64_t k = 0; k < o->options; k++) sum += fabs((double)o->shared[k]);
        *magnitudes = sum * (double)connections;
    }
    return moved;
}
