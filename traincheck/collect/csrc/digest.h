/* Fingerprints of memory. */

#ifndef TRAINCHECK_DIGEST_H
#define TRAINCHECK_DIGEST_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

enum { KEYED = 512, BLOCK_SIZE = 8 * KEYED }; /* words, and bytes, in a block */

void prepare_digests(void);
uint64_t add_up_blocks(const char *values, Py_ssize_t size, uint64_t first, double *squares);
uint64_t finish_digest(uint64_t sum, Py_ssize_t size);
PyObject *digest(PyObject *module, PyObject *buffer);

#endif
