/* Makes the modules that are linked into this shared object, without opening it again.
 *
 * Python's loader of extension modules opens the file and asks the dynamic linker once
 * for each module, which is a third of what they cost at start-up. */

#include <Python.h>
#include <dlfcn.h>

typedef PyObject *(*init_function)(void);

/* A handle of this shared object, which stays loaded. */
static void *
this_object(void)
{
	Dl_info info;

	if (!dladdr((void *)this_object, &info))
		return NULL;
	return dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
}

static PyObject *
create_module(PyObject *self, PyObject *args)
{
	static void *handle;
	const char *name;
	PyObject *spec, *made;
	init_function init;
	char symbol[64];

	(void)self;
	if (!PyArg_ParseTuple(args, "sO", &name, &spec))
		return NULL;
	if (handle == NULL)
		handle = this_object();
	snprintf(symbol, sizeof(symbol), "PyInit_%s", name);
	/* POSIX has functions and objects in one type of pointer. */
	*(void **)&init = handle ? dlsym(handle, symbol) : NULL;
	if (init == NULL)
		return PyErr_Format(PyExc_ImportError, "no module %s in the shared object",
				    name);
	made = init();
	if (made == NULL)
		return NULL;
	return PyModule_FromDefAndSpec((PyModuleDef *)made, spec);
}

static PyMethodDef methods[] = {
	{"create_module", create_module, METH_VARARGS,
	 "create_module(name, spec): a module that has not run, as a loader makes it."},
	{NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
	/* The modules that it makes refuse a second interpreter themselves. */
#ifdef Py_mod_multiple_interpreters
	{Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil
	{Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
	{0, NULL},
};

static PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "uring_loop._native",
	.m_methods = methods,
	.m_slots = slots,
};

PyMODINIT_FUNC
PyInit__native(void)
{
	return PyModuleDef_Init(&definition);
}
