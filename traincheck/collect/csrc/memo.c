/* Remembers which set describes which values: looking at a few words of each tells sooner than building their key. */

#include "memo.h"
#include <string.h>

enum { WAYS = 8, TRIES = 4, PATIENCE = 4 };

typedef struct {
    Looks looks;
    int set, known; /* whether there is one yet */
} Way;

/* What is remembered of one table. */
typedef struct {
    PyObject_HEAD
    int failures; /* how often torch could not describe a tensor, which costs more than all this saves */
    Way ways[WAYS];
} Memo;

static void empty(Way *way)
{
    for (int at = 0; way->known && at < way->looks.count; at++)
        Py_XDECREF(way->looks.each[at].same);
    way->known = 0;
}

static void free_memo(PyObject *object)
{
    for (int at = 0; at < WAYS; at++)
        empty(&((Memo *)object)->ways[at]);
    Py_TYPE(object)->tp_free(object);
}

PyTypeObject MemoType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "traincheck.collect._native.Memo",
    .tp_doc = "Which sets were found for which values.",
    .tp_basicsize = sizeof(Memo),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_dealloc = free_memo,
};

/* The memo of a table, made when it is first asked for: borrowed; NULL with an error. */
static Memo *memo_of(PyObject *table)
{
    PyObject **slot = &SLOT(table, SetTable_memo);
    if (*slot == Py_None)
        set_slot(slot, PyType_GenericAlloc(&MemoType, 0));
    return (Memo *)*slot;
}

/* Whether a value is described by what it is, and cannot become another: a scalar, or a tuple of some. */
static int is_constant(State *state, PyObject *value)
{
    PyObject *type = (PyObject *)Py_TYPE(value);
    if (is_scalar(Py_TYPE(value)) || type == state->dtype || type == state->device)
        return 1;
    if (!PyTuple_CheckExact(value))
        return 0;
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(value); at++)
        if (!is_scalar(Py_TYPE(PyTuple_GET_ITEM(value, at))))
            return 0;
    return 1;
}

/* Looks at a tensor: 0 when that does not tell all that describes it. */
static int look_at_tensor(State *state, Memo *memo, PyObject *tensor, Look *look)
{
    Described told;
    if (state->describe(tensor, &told) != 0) { /* such as sparse ones, and those that functorch wraps */
        memo->failures++;
        PyErr_Clear();
        return 0;
    }
    int known = told.device_type == HOST_DEVICE || told.device_type == CUDA_DEVICE; /* of others not all cards are told apart */
    if (told.dimensions > DIMENSIONS || !known)
        return 0;
    look->kind = (uint64_t)told.kind | (uint64_t)told.bits << 8 | (uint64_t)told.lanes << 16
                 | (uint64_t)(told.dimensions + 1) << 32; /* never 0, as of what is no tensor */
    look->device = (uint64_t)(uint32_t)told.device_type << 32 | (uint32_t)told.device;
    if (told.dimensions)
        memcpy(look->shape, told.shape, told.dimensions * sizeof *look->shape);
    return 1;
}

int look_at(State *state, PyObject *table, PyObject *const *values, Py_ssize_t count, Looks *looks)
{
    Memo *memo = state->describe == NULL || count > MOST_LOOKS ? NULL : memo_of(table);
    if (memo == NULL) {
        PyErr_Clear();
        return 0;
    }
    memset(looks->each, 0, count * sizeof(Look));
    looks->count = (int)count;
    for (Py_ssize_t at = 0; at < count; at++) {
        PyObject *value = values[at], *type = (PyObject *)Py_TYPE(value);
        Look *look = &looks->each[at];
        if (type == state->Tensor || type == state->Parameter) {
            if (memo->failures >= PATIENCE || !look_at_tensor(state, memo, value, look))
                return 0;
        }
        else if (is_constant(state, value))
            look->same = value;
        else
            return 0;
    }
    return 1;
}

static int is_of(const Way *way, const Looks *looks)
{
    return way->known && way->looks.count == looks->count
           && memcmp(way->looks.each, looks->each, looks->count * sizeof(Look)) == 0;
}

/* Where looks are remembered, or are to be: in the place of others if need be. */
static Way *way_of(PyObject *table, const Looks *looks)
{
    Way *ways = ((Memo *)SLOT(table, SetTable_memo))->ways;
    uint64_t hash = looks->count;
    uint64_t words[MOST_LOOKS * sizeof(Look) / sizeof(uint64_t)];
    memcpy(words, looks->each, looks->count * sizeof(Look));
    for (size_t at = 0; at < looks->count * sizeof(Look) / sizeof *words; at++)
        hash = (hash ^ words[at]) * 0x9e3779b97f4a7c15ULL; /* the golden ratio, as Knuth multiplies */
    for (uint64_t tried = 0; tried < TRIES; tried++) {
        Way *way = &ways[((hash >> 32) + tried) % WAYS];
        if (!way->known || is_of(way, looks))
            return way;
    }
    return &ways[(hash >> 32) % WAYS];
}

int recall(PyObject *table, const Looks *looks)
{
    const Way *way = way_of(table, looks);
    return is_of(way, looks) ? way->set : NONE_ID;
}

void remember(PyObject *table, const Looks *looks, int set)
{
    Way *way = way_of(table, looks);
    empty(way);
    way->looks = *looks;
    way->set = set;
    way->known = 1;
    for (int at = 0; at < looks->count; at++)
        Py_XINCREF(looks->each[at].same); /* alive, so that no other is taken for it */
}
