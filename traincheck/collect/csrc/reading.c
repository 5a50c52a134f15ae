/* Reads memory part by part, where there is much of it on all threads that torch computes with.

   Memory is what this waits for. So squares are summed up as it is read, whether they turn out to be asked for or not;
   what else is measured is when the sum of a part is another than the last time, while it is in the processor's cache. */

#define _GNU_SOURCE /* for RTLD_DEFAULT */
#include "reading.h"
#include "digest.h"
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

enum { PART_SIZE = 8 * BLOCK_SIZE, MUCH = 1 << 20 }; /* bytes */
enum { TRIED = 3 }; /* glances that have to find another beginning before one will do */
enum { RUN = 8 }; /* parts that a thread takes at a time: the processor foresees what is read in a row */

/* A part that is to be read. */
typedef struct Portion {
    const Read *read;
    Py_ssize_t number;
} Portion;

/* What threads do together: each takes the next portions until there is none. */
typedef struct {
    const Portion *portions;
    Py_ssize_t count, next;
    int ranged, begins;
} Work;

static pid_t home; /* the process that this was loaded in; one that was forked from it has none of its threads */

void prepare_reading(void) { home = getpid(); }

/* Of OpenMP as GCC compiles it: a function to be called by each of some threads, 0 for as many as there are. */
typedef void (*Parallel)(void (*function)(void *), void *data, unsigned threads, unsigned flags);

/* The one that torch has loaded; threads of our own would be in the way of those. */
static Parallel find_parallel(void)
{
    static Parallel found;
    static int looked;
    if (!looked) {
        looked = 1;
        found = (Parallel)dlsym(RTLD_DEFAULT, "GOMP_parallel");
    }
    return found;
}

static uint64_t sum_of_beginning(const Memory *memory)
{
    return add_up_blocks(memory->values, memory->size < BLOCK_SIZE ? memory->size : BLOCK_SIZE, 0, NULL);
}

static void read_portion(const Portion *portion, int ranged, int begins)
{
    Py_ssize_t begin = portion->number * PART_SIZE, rest = portion->read->memory.size - begin;
    Memory memory = portion->read->memory;
    memory.values = (const char *)memory.values + begin;
    memory.size = rest < PART_SIZE ? rest : PART_SIZE;
    Kept *kept = portion->read->kept;
    if (begins && begin == 0) {
        kept->beginning = sum_of_beginning(&memory);
        kept->begun = 1;
    }
    double found, *squares = portion->read->sort == FLOATS && memory.bits == 32 ? &found : NULL;
    uint64_t sum = add_up_blocks(memory.values, memory.size, (uint64_t)(begin / BLOCK_SIZE), squares);
    Part *part = &kept->parts[portion->number];
    if (part->known && part->sum == sum)
        return;
    part->known = 1;
    part->sum = sum;
    measure(&memory, portion->read->sort, squares, ranged, &part->extent);
}

static void work(void *data)
{
    Work *shared = data;
    Py_ssize_t begin;
    while ((begin = __atomic_fetch_add(&shared->next, RUN, __ATOMIC_RELAXED)) < shared->count)
        for (Py_ssize_t at = begin; at < shared->count && at < begin + RUN; at++)
            read_portion(&shared->portions[at], shared->ranged, shared->begins);
}

static Py_ssize_t parts_of(Py_ssize_t size) { return (size + PART_SIZE - 1) / PART_SIZE; }

/* Makes room for what is kept of some memory, of which nothing is known when it is of another kind than before. */
static int prepare(const Read *read)
{
    const Memory *memory = &read->memory;
    Kept *kept = read->kept;
    if (kept->size == memory->size && kept->kind == memory->kind && kept->bits == memory->bits)
        return 0;
    Py_ssize_t parts = parts_of(memory->size);
    kept->size = 0;
    kept->begun = 0;
    if (parts > kept->room) {
        PyMem_Free(kept->parts);
        kept->parts = PyMem_Malloc(parts * sizeof(Part));
        kept->room = kept->parts == NULL ? 0 : parts;
        if (kept->parts == NULL) {
            PyErr_NoMemory();
            return -1;
        }
    }
    if (parts)
        memset(kept->parts, 0, parts * sizeof(Part));
    kept->size = memory->size;
    kept->kind = memory->kind;
    kept->bits = memory->bits;
    return 0;
}

static int split(Reader *reader, Read *const *chosen, Py_ssize_t count)
{
    Py_ssize_t needed = 0;
    for (Py_ssize_t at = 0; at < count; at++) {
        needed += parts_of(chosen[at]->memory.size);
        if (prepare(chosen[at]) < 0)
            return -1;
    }
    if (needed > reader->room) {
        Portion *portions = PyMem_Realloc(reader->portions, needed * sizeof(Portion));
        if (portions == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        reader->portions = portions;
        reader->room = needed;
    }
    reader->count = 0;
    for (Py_ssize_t at = 0; at < count; at++)
        for (Py_ssize_t number = 0, parts = parts_of(chosen[at]->memory.size); number < parts; number++)
            reader->portions[reader->count++] = (Portion){chosen[at], number};
    return 0;
}

int read_memory(Reader *reader, Read *const *chosen, Py_ssize_t count, int ranged)
{
    if (split(reader, chosen, count) < 0)
        return -1;
    Work shared = {reader->portions, reader->count, 0, ranged, reader->begins};
    int shares = reader->side_by_side && reader->count > MUCH / PART_SIZE && getpid() == home;
    Parallel parallel = shares ? find_parallel() : NULL;
    if (parallel != NULL)
        parallel(work, &shared, 0, 0); /* fewer threads than torch takes, and the others would end */
    else
        work(&shared);
    for (Py_ssize_t at = 0; at < count; at++) {
        uint64_t sum = 0;
        for (Py_ssize_t number = 0, parts = parts_of(chosen[at]->memory.size); number < parts; number++)
            sum += chosen[at]->kept->parts[number].sum;
        chosen[at]->print = finish_digest(sum, chosen[at]->memory.size);
    }
    return 0;
}

int glance(Read *read)
{
    if (prepare(read) < 0)
        return -1;
    Kept *kept = read->kept;
    uint64_t sum = sum_of_beginning(&read->memory);
    if (kept->renewals >= 0 && kept->begun)
        kept->renewals = sum == kept->beginning ? -1 : kept->renewals + 1;
    kept->beginning = sum;
    kept->begun = 1;
    read->glanced = kept->renewals > TRIED && read->memory.size > BLOCK_SIZE;
    read->print = finish_digest(sum, read->memory.size);
    return read->glanced;
}

Extent extent_of(const Read *read, int ranged)
{
    Extent whole = NOTHING;
    for (Py_ssize_t number = 0, parts = parts_of(read->memory.size); number < parts; number++) {
        const Extent *part = &read->kept->parts[number].extent;
        whole.squares += part->squares;
        whole.nonfinite += part->nonfinite;
        whole.any |= part->any;
        whole.minimum = part->minimum < whole.minimum ? part->minimum : whole.minimum;
        whole.maximum = part->maximum > whole.maximum ? part->maximum : whole.maximum;
    }
    if (!ranged || whole.minimum > whole.maximum) /* nobody asked; or nothing but NaN, nothing at all */
        whole.minimum = whole.maximum = NAN;
    return whole;
}

void forget(Kept *kept)
{
    PyMem_Free(kept->parts);
    *kept = (Kept){0};
}
