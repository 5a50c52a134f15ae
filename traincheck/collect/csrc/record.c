/* Records calls: what the recorder in Python, Calls.leave and Calls.close do, for calls of one watched function. */

#include "native.h"
#include <stddef.h>

enum { RETURNED = 0, RESULT_FLAG = 1 };

/* Something of ours raised: tell the monitor so. 0, or -1 when it is an exception that is to end the training. */
static int give_up(State *state)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return -1;
    PyObject *type, *error, *traceback, *handled = PyErr_GetHandledException();
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(error, traceback);
    PyErr_SetHandledException(error);
    PyObject *told = PyObject_CallMethodNoArgs(state->monitor, fail_word);
    PyErr_SetHandledException(handled);
    Py_XDECREF(handled);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    Py_XDECREF(told);
    return told == NULL ? -1 : 0;
}

/* A row of calls. */
typedef struct PACKED {
    int64_t enter, left, parent, time, receiver;
    int32_t api, site, thread, contexts, args, results;
    int8_t stage, outcome;
} Row;

static int write_row(State *state, PyObject *thread, const Open *opened, int results, int outcome)
{
    Row row = {
        .enter = opened->enter,
        .left = next_number(state),
        .parent = opened->parent,
        .time = opened->time,
        .receiver = opened->receiver,
        .api = (int32_t)PyLong_AsLong(SLOT(opened->api, Api_number)),
        .site = opened->site,
        .thread = (int32_t)PyLong_AsLong(SLOT(thread, Thread_number)),
        .contexts = opened->contexts,
        .args = opened->args,
        .results = results,
        .stage = opened->stage,
        .outcome = (int8_t)outcome,
    };
    return add_row(state->rows, &row, sizeof row);
}

/* Takes a call from the stack, with those above it that were left unseen, and writes its row unless it is passed by. */
static int close_call(State *state, PyObject *thread, Open *opened, int results, int outcome)
{
    PyObject *stack = SLOT(thread, Thread_stack);
    Open *top;
    while ((top = innermost(thread)) != NULL) {
        int found = top == opened;
        Py_SET_SIZE(stack, PyList_GET_SIZE(stack) - 1); /* as list.pop does it, in far less code */
        Py_DECREF(top);
        if (found)
            break;
    }
    return opened->passing ? 0 : write_row(state, thread, opened, results, outcome);
}

/* Tells those who want to know that a call has returned; -1 with an error. */
static int tell_after(PyObject *thread, PyObject *watch, Open *opened, PyObject *receiver, PyObject *result)
{
    PyObject *always = SLOT(watch, Watch_always), *after = SLOT(watch, Watch_after);
    if (!is_true(SLOT(watch, Watch_told)))
        return 0;
    if (always == Py_None && is_true(SLOT(watch, Watch_forward))) {
        int buffers = flag(receiver, _buffers_word);
        if (buffers <= 0)
            return buffers;
    }
    set_slot(&SLOT(thread, Thread_busy), Py_NewRef(Py_True));
    PyObject *done = Py_NewRef(Py_None);
    if (after != Py_None && !opened->passing)
        set_slot(&done, PyObject_CallFunctionObjArgs(after, thread, (PyObject *)opened, receiver, result, NULL));
    if (done != NULL && always != Py_None)
        set_slot(&done, PyObject_CallFunctionObjArgs(always, thread, (PyObject *)opened, receiver, Py_True, NULL));
    set_slot(&SLOT(thread, Thread_busy), Py_NewRef(Py_False));
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Whether something is to be told before a call is that has returned. */
static int is_pending(Recorder *self, const Open *opened)
{
    return opened->passing && is_true(SLOT(self->watch, Watch_later)) && PyList_GET_SIZE(self->state->pending) > 0;
}

/* Closes a call that returned, and leaves it to be told later that it did; -1 with an error. */
static int leave_later(State *state, PyObject *thread, Open *opened)
{
    PyObject *moment = PyLong_FromLongLong(next_number(state));
    int status = moment == NULL ? -1 : PyList_Append(state->pending, moment);
    Py_XDECREF(moment);
    return status < 0 ? -1 : close_call(state, thread, opened, NONE_ID, RETURNED);
}

/* Closes a call that returned; -1 with an error. */
static int leave(Recorder *self, PyObject *thread, Open *opened, PyObject *receiver, PyObject *result)
{
    PyObject *watch = self->watch, *api = opened->api;
    int results = NONE_ID;
    if (is_pending(self, opened))
        return leave_later(self->state, thread, opened);
    if (tell_after(thread, watch, opened, receiver, result) < 0)
        return -1;
    if (is_true(SLOT(api, Api_gives)) && !opened->passing) {
        int hashed = is_true(SLOT(watch, Watch_hashed));
        Asked asked = {SLOT(api, Api_results), opened->enter, RESULT_FLAG,
                       links(watch, api, hashed, opened->parent == NONE_ID), hashed && is_true(SLOT(api, Api_hashed))};
        results = describe_result(self->state, asked, result);
    }
    return results == FAILED_ID ? -1 : close_call(self->state, thread, opened, results, RETURNED);
}

/* Closes a call that raised the current error, which stays. */
static int leave_raised(Recorder *self, PyObject *thread, Open *opened, PyObject *receiver)
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(error, traceback);
    PyObject *done = PyObject_CallMethodObjArgs(self->state->calls, leave_raised_word, thread, self->watch,
                                                (PyObject *)opened, receiver, error, NULL);
    int status = done == NULL ? give_up(self->state) : 0;
    Py_XDECREF(done);
    if (status < 0) { /* what is to end the training now */
        Py_XDECREF(type);
        Py_XDECREF(error);
        Py_XDECREF(traceback);
        return -1;
    }
    PyErr_Restore(type, error, traceback);
    return 0;
}

/* The state of the current thread: borrowed. */
static PyObject *this_thread(State *state)
{
    unsigned long ident = PyThread_get_thread_ident();
    if (state->thread != NULL && state->ident == ident)
        return state->thread;
    PyObject *key = PyLong_FromUnsignedLong(ident);
    PyObject *found = key == NULL ? NULL : Py_XNewRef(PyDict_GetItemWithError(state->threads, key));
    Py_XDECREF(key);
    if (found == NULL && !PyErr_Occurred())
        found = PyObject_CallMethodNoArgs(state->calls, new_thread_word);
    if (found != NULL) {
        set_slot(&state->thread, found); /* `threads` keeps those of all threads */
        state->ident = ident;
    }
    return found;
}

/* Whether a call goes by unseen, before anything is looked at: -1 with an error. */
static int goes_by(Recorder *self, Py_ssize_t count)
{
    if (!is_open(self->gate) || (self->is_method && count == 0))
        return 1;
    if (self->passed && !is_open(self->state->full)) {
        int waits = flag(self->state->steps, waits_word);
        return waits < 0 ? -1 : !waits;
    }
    return 0;
}

/* Opens a call, if it is to be recorded; `*end` is set by an exception that is to end the training. */
static Open *begin(Recorder *self, PyObject *thread, PyObject *const *args, Py_ssize_t count, PyObject *kwnames,
                   int *end)
{
    const Open *outer = innermost(thread);
    int forward = is_true(SLOT(self->watch, Watch_forward));
    if (is_true(SLOT(thread, Thread_busy))
        || (forward && !is_open(self->state->full) && outer != NULL && outer->in_forward))
        return NULL;
    Made made = {args, count, kwnames, args + count, Py_None, NULL};
    Open *opened = enter(self, thread, &made);
    Py_XDECREF(made.held);
    if (opened == NULL && PyErr_Occurred())
        *end = give_up(self->state) < 0;
    return opened;
}

static PyObject *record(PyObject *object, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Recorder *self = (Recorder *)object;
    self->called = 1;
    Py_ssize_t count = PyVectorcall_NARGS(nargsf);
    int by = goes_by(self, count), end = 0;
    PyObject *thread = by == 0 ? this_thread(self->state) : NULL;
    if (by < 0 || (by == 0 && thread == NULL)) {
        if (give_up(self->state) < 0)
            return NULL;
        by = 1;
    }
    Py_XINCREF(thread);
    Open *opened = by ? NULL : begin(self, thread, args, count, kwnames, &end);
    PyObject *result = end ? NULL : PyObject_Vectorcall(self->original, args, nargsf, kwnames);
    if (opened != NULL) {
        PyObject *receiver = self->is_method ? args[0] : Py_None;
        if (result == NULL)
            (void)leave_raised(self, thread, opened, receiver);
        else if (leave(self, thread, opened, receiver, result) < 0 && give_up(self->state) < 0)
            Py_CLEAR(result);
        Py_DECREF(opened);
    }
    Py_XDECREF(thread);
    return result;
}

static PyObject *make_recorder(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"state", "original", "watch", "gate", "up", "passed", "is_method", NULL};
    PyObject *state, *original, *watch, *gate;
    int up, passed, is_method;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!OOOipp", names, &StateType, &state, &original, &watch, &gate, &up,
                                     &passed, &is_method))
        return NULL;
    Recorder *self = (Recorder *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->vectorcall = record;
    self->state = (State *)Py_NewRef(state);
    self->original = Py_NewRef(original);
    self->watch = Py_NewRef(watch);
    self->gate = Py_NewRef(gate);
    self->up = up;
    self->passed = passed;
    self->is_method = is_method;
    return (PyObject *)self;
}

static void free_recorder(PyObject *object)
{
    Recorder *self = (Recorder *)object;
    Py_XDECREF(self->state);
    Py_XDECREF(self->original);
    Py_XDECREF(self->watch);
    Py_XDECREF(self->gate);
    Py_XDECREF(self->last.api);
    Py_XDECREF(self->last.keywords);
    Py_XDECREF(self->last.plan);
    for (int at = 0; at < PLACES; at++)
        Py_XDECREF(self->places[at].code);
    Py_TYPE(object)->tp_free(object);
}

/* Elsewhere there is nothing to record. */
static PyObject *reduce(PyObject *object, PyObject *Py_UNUSED(none))
{
    PyObject *getter = PyDict_GetItemString(PyEval_GetBuiltins(), "getattr"); /* borrowed */
    return Py_BuildValue("O(Os)", getter, ((Recorder *)object)->original, "__call__");
}

static PyMethodDef methods[] = {
    {"__reduce__", reduce, METH_NOARGS, "It is pickled as the function that it stands before."},
    {NULL},
};

static PyMemberDef members[] = {
    {"called", T_BOOL, offsetof(Recorder, called), READONLY, "Whether it has ever been called."},
    {NULL},
};

PyTypeObject RecorderType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "traincheck.collect._native.Recorder",
    .tp_members = members,
    .tp_methods = methods,
    .tp_doc = "Stands in for a watched function: calls it, and records the call.",
    .tp_basicsize = sizeof(Recorder),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(Recorder, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_new = make_recorder,
    .tp_dealloc = free_recorder,
};
