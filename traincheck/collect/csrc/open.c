/* Calls that have been entered: what Open of calls.py is, with plain numbers. */

#include "native.h"
#include <stddef.h>

Open *new_open(PyObject *api, PyObject *training)
{
    Open *opened = PyObject_New(Open, &OpenType);
    if (opened != NULL) {
        memset((char *)opened + sizeof(PyObject), 0, sizeof(Open) - sizeof(PyObject));
        opened->api = Py_NewRef(api);
        opened->training = Py_NewRef(training);
    }
    return opened;
}

static void free_open(PyObject *object)
{
    Py_XDECREF(((Open *)object)->api);
    Py_XDECREF(((Open *)object)->training);
    PyObject_Free(object);
}

#define MEMBER(name, type) {#name, type, offsetof(Open, name), 0, NULL}

static PyMemberDef members[] = {
    MEMBER(enter, T_LONGLONG), MEMBER(parent, T_LONGLONG), MEMBER(time, T_LONGLONG), MEMBER(receiver, T_LONGLONG),
    MEMBER(site, T_INT), MEMBER(contexts, T_INT), MEMBER(args, T_INT), MEMBER(stage, T_BYTE),
    MEMBER(in_forward, T_BOOL), MEMBER(passing, T_BOOL), MEMBER(api, T_OBJECT_EX), MEMBER(training, T_OBJECT),
    {NULL},
};

PyTypeObject OpenType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "traincheck.collect._native.Open",
    .tp_doc = "A call that has been entered.",
    .tp_members = members,
    .tp_basicsize = sizeof(Open),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_dealloc = free_open,
};
