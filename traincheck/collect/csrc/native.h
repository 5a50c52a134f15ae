/* What the parts of the compiled recorder share: where the slots of our Python classes lie, and the words it asks with.

   The recorder does what Calls and Recorder do in Python, on the same objects; what is rare it leaves to their methods. */

#ifndef TRAINCHECK_NATIVE_H
#define TRAINCHECK_NATIVE_H

#include "dlpack.h"
#include <string.h>
#include <structmember.h>

/* The slots that are read here, class by class: (class, slot). */
#define SLOTS(X)                                                                                                       \
    X(Api, args) X(Api, gives) X(Api, group) X(Api, hashed) X(Api, linked) X(Api, names) X(Api, number) X(Api, only)   \
    X(Api, _plans) X(Api, results) X(Api, takes) X(Api, users) X(Api, wanted)                                          \
    X(Column, calls) X(Column, prints)                                                                                 \
    X(Contexts, known)                                                                                                 \
    X(Gate, open)                                                                                                      \
    X(Roster, tied)                                                                                                    \
    X(SetTable, known) X(SetTable, memo)                                                                               \
    X(Table, _by_tensor) X(Table, data) X(Table, flags) X(Table, grad) X(Table, _parameters) X(Table, _references)     \
    X(Table, _roster) X(Table, trained) X(Table, version)                                                              \
    X(Thread, autocast) X(Thread, busy) X(Thread, number) X(Thread, stack)                                             \
    X(Variable, index) X(Variable, tensor)                                                                             \
    X(Watch, after) X(Watch, always) X(Watch, api) X(Watch, before) X(Watch, begins) X(Watch, by_class)                \
    X(Watch, counts) X(Watch, forward) X(Watch, frequent) X(Watch, group) X(Watch, hashed) X(Watch, identify)          \
    X(Watch, later) X(Watch, linked) X(Watch, starts) X(Watch, structural) X(Watch, told)

#define DECLARE_SLOT(class, slot) extern Py_ssize_t class##_##slot##_at;
SLOTS(DECLARE_SLOT)
#undef DECLARE_SLOT

/* A slot of an object of one of these classes: a borrowed reference. */
#define SLOT(object, class_slot) (*(PyObject **)((char *)(object) + class_slot##_at))

/* Attributes, methods and functions by name. */
#define WORDS(X)                                                                                                       \
    X(_add) X(_buffers) X(_classify) X(_intern_site) X(_nested) X(_new_set) X(_version) X(device) X(dtype) X(fail)     \
    X(grad) X(is_cpu) X(leave_raised) X(limit) X(link) X(new_thread) X(number) X(plan) X(requires_grad) X(roster)      \
    X(shape) X(started) X(storage_offset) X(training) X(waits)

#define DECLARE_WORD(word) extern PyObject *word##_word;
WORDS(DECLARE_WORD)
#undef DECLARE_WORD

/* The objects of one process's collector that a recorder works on: all are attributes, set once. */
#define PARTS(X)                                                                                                       \
    X(Parameter) X(Scalars) X(Tensor) X(calls) X(codes) X(contexts) X(counter) X(device) X(dtype) X(exchange)          \
    X(fingerprint) X(foreign) X(full) X(is_grad_enabled) X(is_inference) X(item_names) X(known_names)                  \
    X(known_objects) X(links) X(monitor) X(names) X(objects) X(one) X(ours) X(pending) X(rows) X(sites) X(steps)       \
    X(summaries) X(threads) X(wants_contexts) X(wants_sites)

/* A context that is known, and what it is known for. */
typedef struct {
    PyObject *known, *training, *autocast;
    int id;
} Context;

typedef struct {
    PyObject_HEAD
#define DECLARE_PART(part) PyObject *part;
    PARTS(DECLARE_PART)
#undef DECLARE_PART
    PyObject *thread; /* the state of the thread that was here last */
    unsigned long ident;
    Context context; /* that of the last call that was made with gradients on */
    DescribeTensor describe; /* of torch; NULL where it has none that we know */
} State;

/* Some values with their names. */
typedef struct {
    PyObject *names; /* a tuple */
    PyObject *const *values;
    Py_ssize_t count;
} Items;

/* What is asked of the description of values. */
typedef struct {
    PyObject *table;
    long long call;
    long flags;
    int linked, hashed;
} Asked;

/* In place of an id, of which none is negative: there is none; with an error. */
#define NONE_ID (-1)
#define FAILED_ID (-2)

/* Rows lie as buffers.py packs them: little-endian, without gaps. */
#define PACKED __attribute__((packed))

/* A call that has been entered, as Open of calls.py has it. */
typedef struct {
    PyObject_HEAD
    long long enter, parent, time, receiver;
    int site, contexts, args;
    char stage, in_forward, passing;
    PyObject *api, *training;
} Open;

static inline int is_scalar(PyTypeObject *type)
{
    return type == &PyBool_Type || type == &PyLong_Type || type == &PyFloat_Type || type == &PyUnicode_Type
           || type == Py_TYPE(Py_None);
}

static inline int is_true(PyObject *object) { return object == Py_True; }

static inline void set_slot(PyObject **slot, PyObject *value)
{
    PyObject *old = *slot;
    *slot = value;
    Py_XDECREF(old);
}

/* How calls of an API with so many arguments by position and these by keyword are described; all NULL at first. */
typedef struct {
    PyObject *api, *keywords, *plan;
    Py_ssize_t count;
} Planned;

/* What was found for an instruction that calls: its site, or that this is inherited. */
typedef struct {
    PyObject *code; /* NULL when nothing is known */
    int instruction, site;
    char inherits, torch_calls_torch; /* of what it was found */
    char inherited;
} Place;

enum { PLACES = 4 };

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    State *state;
    PyObject *original, *watch, *gate;
    int up;     /* how many frames above the current one the caller's is */
    int passed; /* whether it is passed straight through in steps that are left out */
    int is_method;
    char called; /* whether it ever was */
    Planned last;
    Place places[PLACES]; /* by where code lies and which instruction it is */
} Recorder;

/* A call of a watched function: its own positional arguments, without the receiver, and those it has by keyword. */
typedef struct {
    PyObject *const *args;
    Py_ssize_t count;
    PyObject *kwnames; /* NULL for none */
    PyObject *const *keywords; /* their values */
    PyObject *receiver; /* borrowed; None without one */
    PyObject *held;     /* what keeps `args` alive, if need be */
} Made;

/* Whether the tensors of a call are linked to it: as its watch says, or when it is outermost. */
static inline int links(PyObject *watch, PyObject *api, int anyway, int outermost)
{
    PyObject *said = SLOT(watch, Watch_linked);
    return is_true(SLOT(api, Api_linked)) && (anyway || (said == Py_None ? outermost : is_true(said)));
}

/* Numbers events, from 1 on: as Count of buffers.py. */
typedef struct {
    PyObject_HEAD
    long long upcoming;
} Count;

/* As many numbers, one at least: the first of them. */
static inline long long take_numbers(PyObject *count, long long many)
{
    long long first = ((Count *)count)->upcoming;
    ((Count *)count)->upcoming = first + (many > 1 ? many : 1);
    return first;
}

/* The number of the next event. */
static inline long long next_number(State *state) { return take_numbers(state->counter, 1); }

static inline int is_open(PyObject *gate) { return is_true(SLOT(gate, Gate_open)); }

/* The innermost call of a thread: borrowed; NULL for none. */
static inline Open *innermost(PyObject *thread)
{
    PyObject *stack = SLOT(thread, Thread_stack);
    Py_ssize_t depth = PyList_GET_SIZE(stack);
    return depth ? (Open *)PyList_GET_ITEM(stack, depth - 1) : NULL;
}

int flag(PyObject *object, PyObject *name);
int add_row(PyObject *rows, const void *row, Py_ssize_t size);
Open *new_open(PyObject *api, PyObject *training);
Open *enter(Recorder *, PyObject *thread, Made *);
int describe(State *, Asked, Items);
int describe_result(State *, Asked, PyObject *result);
int find_site(Recorder *, const Open *outer);
int find_context(State *, PyObject *training, PyObject *autocast);
long long find_number(State *, PyObject *thing);
int id_from(PyObject *number); /* takes the reference; FAILED_ID for NULL */

PyObject *structure(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *groups(PyObject *module, PyObject *const *args, Py_ssize_t count);

extern PyTypeObject StateType, RecorderType, SweeperType, OpenType, RowsType, CountType;

#endif
