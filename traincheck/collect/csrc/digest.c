/* Fingerprints of memory, of a kind that can be taken of any number of portions at once: on a GPU blocks.py and
   kernels.py take the same sums, and must go on to.

   Memory is read as words of 64 bits in blocks of 512, the last one filled up with zeros. Each word is combined with the
   key of its place by exclusive or, and of its halves (low + 2^32) (high + 1) is taken. The sum over a block and the
   block's number are mixed; the sum over all blocks and the size are mixed again. All sums are modulo 2^64.

   No change within 32 bits can go unnoticed: the one factor is below 2^33 and no power of two other than 2^32, the other
   at most 2^32, so that no difference of products is a multiple of 2^64. Of other changes one in 2^32 can, as in NH, the
   family this is of (Black et al., UMAC: Fast and Secure Message Authentication, 1999). */

#include "digest.h"
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { STRIDE = 16 }; /* words that are added up side by side */
enum { AHEAD = 256 }; /* words: so far ahead of what is read memory is fetched */

static const uint64_t STEP = 0x9e3779b97f4a7c15; /* 2^64 divided by the golden ratio */

static uint64_t keys[KEYED] __attribute__((aligned(64)));
static uint64_t zeros[KEYED + 1]; /* what zeros from some place on add to a block's sum */

/* Sums over whole strides of words. Functions of one kind also take the words as floats, in the same pass, and add their
   squares to `squares`; the others are given NULL. To read memory is what takes the time, not what is done with it. */
typedef uint64_t (*AddUp)(const uint64_t *words, int count, double *squares);

static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return value ^ value >> 31;
}

static inline uint64_t product(uint64_t keyed) { return (uint64_t)(uint32_t)keyed * (keyed >> 32) + keyed; }

/* Of STRIDE sums, however they are packed. */
static inline uint64_t total(const void *sums)
{
    uint64_t lanes[STRIDE], sum = 0;
    memcpy(lanes, sums, sizeof lanes);
    for (int lane = 0; lane < STRIDE; lane++)
        sum += lanes[lane];
    return sum;
}

/* Likewise of twice as many floats. */
static inline double total_of_floats(const void *sums)
{
    float lanes[2 * STRIDE];
    double sum = 0;
    memcpy(lanes, sums, sizeof lanes);
    for (int lane = 0; lane < 2 * STRIDE; lane++)
        sum += lanes[lane];
    return sum;
}

/* One function that wants the squares and one that does not, of a body that is told which. */
#define DEFINE_BOTH(width, target)                                                                                     \
    target static uint64_t add_up_##width(const uint64_t *words, int count, double *Py_UNUSED(squares))                \
    {                                                                                                                  \
        return add_up_by_##width(words, count, NULL);                                                                  \
    }                                                                                                                  \
    target static uint64_t add_up_with_squares_##width(const uint64_t *words, int count, double *squares)              \
    {                                                                                                                  \
        return add_up_by_##width(words, count, squares);                                                               \
    }

#define INLINE static inline __attribute__((always_inline))

/* Fetches the stride that is AHEAD, of two cache lines; it need not be there. */
INLINE void fetch_ahead(const uint64_t *words)
{
    __builtin_prefetch(words + AHEAD);
    __builtin_prefetch(words + AHEAD + STRIDE / 2);
}

#if defined(__x86_64__)

#define WIDE __attribute__((target("avx2")))

INLINE uint64_t add_up_by_two(const uint64_t *words, int count, double *squares)
{
    __m128i sums[STRIDE / 2] = {{0}};
    __m128 floats[STRIDE / 2] = {{0}};
    for (int at = 0; at < count; at += STRIDE) {
        fetch_ahead(words + at);
        for (int side = 0; side < STRIDE / 2; side++) {
            __m128i read = _mm_loadu_si128((const __m128i *)(words + at + 2 * side));
            __m128i keyed = _mm_xor_si128(read, _mm_load_si128((const __m128i *)(keys + at + 2 * side)));
            __m128i products = _mm_mul_epu32(keyed, _mm_srli_epi64(keyed, 32));
            sums[side] = _mm_add_epi64(sums[side], _mm_add_epi64(products, keyed));
            if (squares != NULL)
                floats[side] = _mm_add_ps(floats[side], _mm_mul_ps(_mm_castsi128_ps(read), _mm_castsi128_ps(read)));
        }
    }
    if (squares != NULL)
        *squares += total_of_floats(floats);
    return total(sums);
}

INLINE WIDE uint64_t add_up_by_four(const uint64_t *words, int count, double *squares)
{
    __m256i sums[STRIDE / 4] = {{0}};
    __m256 floats[STRIDE / 4] = {{0}};
    for (int at = 0; at < count; at += STRIDE) {
        fetch_ahead(words + at);
        for (int side = 0; side < STRIDE / 4; side++) {
            __m256i read = _mm256_loadu_si256((const __m256i *)(words + at + 4 * side));
            __m256i keyed = _mm256_xor_si256(read, _mm256_load_si256((const __m256i *)(keys + at + 4 * side)));
            __m256i products = _mm256_mul_epu32(keyed, _mm256_srli_epi64(keyed, 32));
            sums[side] = _mm256_add_epi64(sums[side], _mm256_add_epi64(products, keyed));
            if (squares != NULL) {
                __m256 values = _mm256_castsi256_ps(read);
                floats[side] = _mm256_add_ps(floats[side], _mm256_mul_ps(values, values));
            }
        }
    }
    if (squares != NULL)
        *squares += total_of_floats(floats);
    return total(sums);
}

DEFINE_BOTH(two, )
DEFINE_BOTH(four, WIDE)

static AddUp add_up = add_up_two, add_up_with_squares = add_up_with_squares_two;

static void choose(void)
{
    if (__builtin_cpu_supports("avx2")) {
        add_up = add_up_four;
        add_up_with_squares = add_up_with_squares_four;
    }
}

#else

INLINE uint64_t add_up_by_one(const uint64_t *words, int count, double *squares)
{
    uint64_t sums[STRIDE] = {0}, word;
    float floats[2 * STRIDE] = {0}, values[2];
    for (int at = 0; at < count; at += STRIDE) {
        fetch_ahead(words + at);
        for (int side = 0; side < STRIDE; side++) {
            memcpy(&word, words + at + side, sizeof word);
            sums[side] += product(word ^ keys[at + side]);
            if (squares != NULL) {
                memcpy(values, &word, sizeof values);
                floats[2 * side] += values[0] * values[0];
                floats[2 * side + 1] += values[1] * values[1];
            }
        }
    }
    if (squares != NULL)
        *squares += total_of_floats(floats);
    return total(sums);
}

DEFINE_BOTH(one, )

static AddUp add_up = add_up_one, add_up_with_squares = add_up_with_squares_one;

static void choose(void) {}

#endif

/* Once, before any other. */
void prepare_digests(void)
{
    for (int at = 0; at < KEYED; at++)
        keys[at] = mix((at + 1) * STEP);
    zeros[KEYED] = 0;
    for (int at = KEYED - 1; at >= 0; at--)
        zeros[at] = zeros[at + 1] + product(keys[at]);
    choose();
}

static uint64_t add_up_last(const char *values, Py_ssize_t size, double *squares)
{
    uint64_t words[KEYED];
    int count = (int)((size + 8 * STRIDE - 1) / (8 * STRIDE)) * STRIDE;
    memset((char *)words + size, 0, 8 * count - size);
    memcpy(words, values, size);
    return (squares == NULL ? add_up : add_up_with_squares)(words, count, squares) + zeros[count];
}

/* The sum over the blocks of some memory, of which the first has a number. Where `squares` is not NULL the memory is
   floats of 32 bits, and it is set to the sum of their squares: infinite, or NaN, where a float cannot hold one. */
uint64_t add_up_blocks(const char *values, Py_ssize_t size, uint64_t first, double *squares)
{
    AddUp block = squares == NULL ? add_up : add_up_with_squares;
    uint64_t sum = 0;
    if (squares != NULL)
        *squares = 0;
    for (; size >= BLOCK_SIZE; size -= BLOCK_SIZE, values += BLOCK_SIZE)
        sum += mix(block((const uint64_t *)values, KEYED, squares) + STEP * first++);
    return size ? sum + mix(add_up_last(values, size, squares) + STEP * first) : sum;
}

/* The fingerprint of memory of which all blocks have been added up; the smallest numbers have another meaning. */
uint64_t finish_digest(uint64_t sum, Py_ssize_t size)
{
    uint64_t found = mix(sum + STEP * (uint64_t)size);
    return found < 16 ? found + 16 : found;
}

/* digest(buffer) */
PyObject *digest(PyObject *Py_UNUSED(module), PyObject *buffer)
{
    Py_buffer view;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    uint64_t found = finish_digest(add_up_blocks(view.buf, view.len, 0, NULL), view.len);
    PyBuffer_Release(&view);
    return PyLong_FromUnsignedLongLong(found);
}
