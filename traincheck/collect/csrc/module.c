/* The module: finds the slots of the classes it is given, and keeps what recorders work on. */

#include "digest.h"
#include "memo.h"
#include "reading.h"
#include <stddef.h>
#include <string.h>

enum { INTERFACE = 21 }; /* to be raised with every change of what Python sees, here and in compiled.py */

#define DEFINE_SLOT(class, slot) Py_ssize_t class##_##slot##_at;
SLOTS(DEFINE_SLOT)
#undef DEFINE_SLOT

#define DEFINE_WORD(word) PyObject *word##_word;
WORDS(DEFINE_WORD)
#undef DEFINE_WORD

static int find_slot(PyObject *classes, const char *class, const char *slot, Py_ssize_t *at)
{
    PyObject *type = PyDict_GetItemString(classes, class);
    if (type == NULL)
        return 0;
    PyObject *member = PyObject_GetAttrString(type, slot);
    if (member == NULL || !Py_IS_TYPE(member, &PyMemberDescr_Type)) {
        Py_XDECREF(member);
        PyErr_Format(PyExc_TypeError, "%s has no slot %s", class, slot);
        return -1;
    }
    *at = ((PyMemberDescrObject *)member)->d_member->offset;
    Py_DECREF(member);
    return 0;
}

/* use(classes): from now on work on objects of these classes too, given by name. */
static PyObject *use(PyObject *module, PyObject *classes)
{
#define FIND_SLOT(class, slot)                                                                                         \
    if (find_slot(classes, #class, #slot, &class##_##slot##_at) < 0)                                                   \
        return NULL;
    SLOTS(FIND_SLOT)
#undef FIND_SLOT
    Py_RETURN_NONE;
}

static void free_state(PyObject *object)
{
    State *self = (State *)object;
#define FREE_PART(part) Py_XDECREF(self->part);
    PARTS(FREE_PART)
#undef FREE_PART
    Py_XDECREF(self->thread);
    Py_XDECREF(self->context.known);
    Py_XDECREF(self->context.training);
    Py_XDECREF(self->context.autocast);
    Py_TYPE(object)->tp_free(object);
}

static PyObject *make_state(PyTypeObject *type, PyObject *args, PyObject *parts)
{
    State *self = (State *)type->tp_alloc(type, 0);
#define TAKE_PART(part)                                                                                                \
    if (self != NULL && (self->part = Py_XNewRef(parts == NULL ? NULL : PyDict_GetItemString(parts, #part))) == NULL) { \
        PyErr_SetString(PyExc_TypeError, "State needs " #part);                                                        \
        Py_CLEAR(self);                                                                                                \
    }
    PARTS(TAKE_PART)
#undef TAKE_PART
    int fits = self != NULL && Py_IS_TYPE(self->counter, &CountType) && Py_IS_TYPE(self->rows, &RowsType)
               && Py_IS_TYPE(self->links, &RowsType);
    if (self != NULL && !fits) {
        PyErr_SetString(PyExc_TypeError, "State works on Rows and a Count of this module");
        Py_CLEAR(self);
    }
    if (self != NULL && self->exchange != Py_None && (self->describe = find_description(self->exchange)) == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError)) /* a DLPack of another age */
            Py_CLEAR(self);
        else
            PyErr_Clear();
    }
    return (PyObject *)self;
}

PyTypeObject StateType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "traincheck.collect._native.State",
    .tp_doc = "What the recorders of one process work on.",
    .tp_basicsize = sizeof(State),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = make_state,
    .tp_dealloc = free_state,
};

static PyMethodDef functions[] = {
    {"use", use, METH_O, "Work on objects of these classes too, given by name."},
    {"structure", (PyCFunction)(void (*)(void))structure, METH_FASTCALL,
     "A number that is another when, in some tables, one of these objects (by weak reference) has got other members."},
    {"groups", (PyCFunction)(void (*)(void))groups, METH_FASTCALL,
     "Two numbers that are others when groups of an optimizer hold other tensors, and other settings; None where "
     "objects do not tell."},
    {"digest", digest, METH_O, "The fingerprint of a buffer's bytes: digest.c says how."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_native",
    .m_doc = "The compiled recorder of calls; records what the one in Python records.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__native(void)
{
#define INTERN_WORD(word)                                                                                              \
    if ((word##_word = PyUnicode_InternFromString(#word)) == NULL)                                                     \
        return NULL;
    WORDS(INTERN_WORD)
#undef INTERN_WORD
    prepare_digests();
    prepare_vectors();
    prepare_reading();
    PyObject *module = PyType_Ready(&MemoType) < 0 ? NULL : PyModule_Create(&definition);
    if (module != NULL && (PyModule_AddType(module, &StateType) < 0 || PyModule_AddType(module, &RecorderType) < 0
                           || PyModule_AddType(module, &SweeperType) < 0
                           || PyModule_AddType(module, &OpenType) < 0 || PyModule_AddType(module, &RowsType) < 0
                           || PyModule_AddType(module, &CountType) < 0))
        Py_CLEAR(module);
    if (module != NULL && PyModule_AddIntConstant(module, "INTERFACE", INTERFACE) < 0)
        Py_CLEAR(module);
    return module;
}
