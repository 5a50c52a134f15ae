/* What a tensor's memory holds: where it is, and norms, ranges and counts of its values. */

#include "dlpack.h"
#include <math.h>
#include <string.h>

enum { SIGNED, UNSIGNED, FLOAT, BFLOAT = 4, COMPLEX, BOOLEAN };          /* kinds of values */
enum { PROTOCOL = 1, DESCRIBE = 3 };                                /* major version; place among the functions */

typedef struct {
    uint32_t major, minor;
    void *earlier;
    void *functions[5];
} Exchange;

/* torch's function that describes tensors; NULL with an error when it has none that we know. */
DescribeTensor find_description(PyObject *exchange)
{
    Exchange *found = PyCapsule_GetPointer(exchange, "dlpack_exchange_api");
    if (found == NULL)
        return NULL;
    if (found->major != PROTOCOL || found->functions[DESCRIBE] == NULL) {
        PyErr_Format(PyExc_ValueError, "DLPack %u is not known here", found->major);
        return NULL;
    }
    return (DescribeTensor)found->functions[DESCRIBE];
}

/* Whether a tensor has its values in contiguous memory of the host, and where. */
int locate(const Described *told, Memory *memory)
{
    int64_t count = 1;
    for (int at = told->dimensions - 1; at >= 0; at--) {
        if (told->strides != NULL && told->shape[at] != 1 && told->strides[at] != count && count > 0) {
            int64_t rest = 1; /* strides do not matter where there is nothing */
            for (int other = at; other >= 0; other--)
                rest *= told->shape[other];
            if (rest * count != 0)
                return 0;
        }
        count *= told->shape[at];
    }
    memory->size = (Py_ssize_t)(count * (told->bits / 8) * told->lanes);
    memory->values = memory->size ? (const char *)told->data + told->offset : "";
    memory->kind = told->kind;
    memory->bits = told->bits;
    return told->device_type == HOST_DEVICE && told->bits % 8 == 0 && (!memory->size || told->data != NULL);
}

enum { SIDE = 4, BLOCK = 4096 }; /* vectors side by side, values summed up at a time */

/* Of two vectors, the values of one where a comparison held and of the other elsewhere. */
#define WHERE(mask, one, other)                                                                                        \
    ((__typeof__(one))(((mask) & (__typeof__(mask))(one)) | (~(mask) & (__typeof__(mask))(other))))

/* With vectors of `width` bytes, as GCC and Clang know them. Sums of squares are taken in the values' own type. */
#define DEFINE_VECTORS(type, width, target)                                                                            \
    typedef type Lanes_##type##width __attribute__((vector_size(width)));                                              \
    typedef type Loose_##type##width __attribute__((vector_size(width), aligned(sizeof(type)), may_alias));            \
                                                                                                                       \
    target static double squares_of_##type##width(const type *values, Py_ssize_t count)                                \
    {                                                                                                                  \
        enum { LANES = width / sizeof(type), STRIDE = LANES * SIDE };                                                  \
        double sum = 0;                                                                                                \
        for (Py_ssize_t begin = 0; begin < count; begin += BLOCK) {                                                    \
            Py_ssize_t end = count - begin < BLOCK ? count : begin + BLOCK, at = begin;                                \
            Lanes_##type##width sums[SIDE] = {{0}};                                                                    \
            for (; at + STRIDE <= end; at += STRIDE) {                                                                 \
                const Loose_##type##width *part = (const Loose_##type##width *)(values + at);                          \
                for (int side = 0; side < SIDE; side++)                                                                \
                    sums[side] += part[side] * part[side];                                                             \
            }                                                                                                          \
            for (int lane = 0; lane < STRIDE; lane++)                                                                  \
                sum += sums[lane / LANES][lane % LANES];                                                               \
            for (; at < end; at++)                                                                                     \
                sum += (double)(values[at] * values[at]);                                                              \
        }                                                                                                              \
        return sum;                                                                                                    \
    }                                                                                                                  \
                                                                                                                       \
    target static void range_of_##type##width(const type *values, Py_ssize_t count, Extent *extent)                    \
    {                                                                                                                  \
        enum { LANES = width / sizeof(type), STRIDE = LANES * SIDE };                                                  \
        Lanes_##type##width least[SIDE], greatest[SIDE];                                                               \
        Py_ssize_t at = 0;                                                                                             \
        for (int lane = 0; lane < STRIDE; lane++) {                                                                    \
            least[lane / LANES][lane % LANES] = (type)INFINITY;                                                        \
            greatest[lane / LANES][lane % LANES] = (type)-INFINITY;                                                    \
        }                                                                                                              \
        for (; at + STRIDE <= count; at += STRIDE) { /* NaN is neither less nor greater */                             \
            const Loose_##type##width *part = (const Loose_##type##width *)(values + at);                              \
            for (int side = 0; side < SIDE; side++) {                                                                  \
                least[side] = WHERE(part[side] < least[side], part[side], least[side]);                                \
                greatest[side] = WHERE(part[side] > greatest[side], part[side], greatest[side]);                       \
            }                                                                                                          \
        }                                                                                                              \
        for (; at < count; at++) {                                                                                     \
            least[0][0] = values[at] < least[0][0] ? values[at] : least[0][0];                                         \
            greatest[0][0] = values[at] > greatest[0][0] ? values[at] : greatest[0][0];                                \
        }                                                                                                              \
        for (int lane = 0; lane < STRIDE; lane++) {                                                                    \
            type low = least[lane / LANES][lane % LANES], high = greatest[lane / LANES][lane % LANES];                 \
            extent->minimum = low < extent->minimum ? low : extent->minimum;                                           \
            extent->maximum = high > extent->maximum ? high : extent->maximum;                                         \
        }                                                                                                              \
    }

DEFINE_VECTORS(float, 16, )
DEFINE_VECTORS(double, 16, )

#if defined(__x86_64__)

#define WIDE __attribute__((target("avx2")))

DEFINE_VECTORS(float, 32, WIDE)
DEFINE_VECTORS(double, 32, WIDE)

#define BY_WIDTH(function, ...) (is_wide ? function##32(__VA_ARGS__) : function##16(__VA_ARGS__))

static int is_wide;

void prepare_vectors(void) { is_wide = __builtin_cpu_supports("avx2"); }

#else

#define BY_WIDTH(function, ...) function##16(__VA_ARGS__)

void prepare_vectors(void) {}

#endif

#define DEFINE_ADD(type)                                                                                               \
    static void add_##type(const type *values, Py_ssize_t count, const double *known, int ranged, Extent *extent)      \
    {                                                                                                                  \
        double squares = known != NULL ? *known : BY_WIDTH(squares_of_##type, values, count);                          \
        extent->squares += squares;                                                                                    \
        extent->any |= squares > 0.0;                                                                                  \
        if (!(squares > 0.0 && squares < INFINITY)) /* nothing, or more than squares can tell */                       \
            for (Py_ssize_t at = 0; at < count; at++) {                                                                \
                extent->nonfinite += !isfinite(values[at]);                                                            \
                extent->any |= values[at] != 0;                                                                        \
            }                                                                                                          \
        if (ranged)                                                                                                    \
            BY_WIDTH(range_of_##type, values, count, extent);                                                          \
    }

DEFINE_ADD(float)
DEFINE_ADD(double)

static float of_bfloat(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

/* Without arithmetic on what would be a denormal float: the script may have these taken for zero. */
static float of_half(uint16_t bits)
{
    uint32_t exponent = bits >> 10 & 31, fraction = bits & 0x3ff;
    if (exponent == 0)
        return (bits & 0x8000 ? -0x1p-24f : 0x1p-24f) * (float)fraction;
    uint32_t wide = (uint32_t)(bits & 0x8000) << 16 | (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

static void add_short(const Memory *memory, int ranged, Extent *extent)
{
    const uint16_t *values = memory->values;
    Py_ssize_t count = memory->size / 2;
    float wide[1024];
    while (count > 0) {
        Py_ssize_t part = count < 1024 ? count : 1024;
        for (Py_ssize_t at = 0; at < part; at++)
            wide[at] = memory->kind == BFLOAT ? of_bfloat(values[at]) : of_half(values[at]);
        add_float(wide, part, NULL, ranged, extent);
        values += part;
        count -= part;
    }
}

#define DEFINE_COUNT(type)                                                                                             \
    static void count_##type(const type *values, Py_ssize_t count, Extent *extent)                                     \
    {                                                                                                                  \
        type least = count ? values[0] : 0, greatest = least;                                                          \
        for (Py_ssize_t at = 1; at < count; at++) {                                                                    \
            least = values[at] < least ? values[at] : least;                                                           \
            greatest = values[at] > greatest ? values[at] : greatest;                                                  \
        }                                                                                                              \
        extent->any = least != 0 || greatest != 0;                                                                     \
        if (count) {                                                                                                   \
            extent->minimum = (double)least;                                                                           \
            extent->maximum = (double)greatest;                                                                        \
        }                                                                                                              \
    }

DEFINE_COUNT(int8_t)
DEFINE_COUNT(int16_t)
DEFINE_COUNT(int32_t)
DEFINE_COUNT(int64_t)
DEFINE_COUNT(uint8_t)
DEFINE_COUNT(uint16_t)
DEFINE_COUNT(uint32_t)
DEFINE_COUNT(uint64_t)

#define COUNT(type) count_##type(memory->values, memory->size / (Py_ssize_t)sizeof(type), extent)

static void add_integers(const Memory *memory, Extent *extent)
{
    int negative = memory->kind == SIGNED;
    switch (memory->bits) {
    case 8:
        negative ? COUNT(int8_t) : COUNT(uint8_t);
        break;
    case 16:
        negative ? COUNT(int16_t) : COUNT(uint16_t);
        break;
    case 32:
        negative ? COUNT(int32_t) : COUNT(uint32_t);
        break;
    case 64:
        negative ? COUNT(int64_t) : COUNT(uint64_t);
        break;
    }
}

/* What can be told of values; complex numbers and those of less than two bytes have no range. */
Sort sort_of(const Memory *memory, int ranged)
{
    int bits = memory->bits, even = bits == 8 || bits == 16 || bits == 32 || bits == 64;
    switch (memory->kind) {
    case FLOAT:
        if (bits == 16 || bits == 32 || bits == 64)
            return FLOATS;
        break;
    case BFLOAT:
        if (bits == 16)
            return FLOATS;
        break;
    case SIGNED:
    case UNSIGNED:
    case BOOLEAN:
        if (even)
            return INTEGERS;
        break;
    case COMPLEX:
        return BITS;
    }
    return !ranged && bits <= 8 ? BITS : UNKNOWN;
}

/* Measures memory of a known sort; `squares` is NULL, or what `add_up_blocks` found. */
void measure(const Memory *memory, Sort sort, const double *squares, int ranged, Extent *extent)
{
    const char *bytes = memory->values;
    *extent = NOTHING;
    if (sort == INTEGERS)
        add_integers(memory, extent);
    else if (sort == BITS)
        extent->any = memory->size && (bytes[0] != 0 || memcmp(bytes, bytes + 1, memory->size - 1) != 0);
    else if (memory->bits == 32)
        add_float(memory->values, memory->size / 4, squares, ranged, extent);
    else if (memory->bits == 64)
        add_double(memory->values, memory->size / 8, NULL, ranged, extent);
    else
        add_short(memory, ranged, extent);
}
