#pragma once

// Include it where a function that takes a Cancellation is bound, and pybind11 (2.12 or newer) converts its argument:
//
//     module.def("simulate", &simulate, py::arg("steps"), py::arg("cancellation") = py::none(),
//                py::call_guard<py::gil_scoped_release>());

#include <pybind11/gil_safe_call_once.h>
#include <pybind11/pybind11.h>

#include <atomic>
#include <exception>
#include <string>

#include "conductor_grpc/cancellation.hpp"

namespace conductor_grpc::pybind11_cancellation {

/// `object.name`; null if there is none. Any error but AttributeError goes on to the caller.
inline pybind11::object attribute(pybind11::handle object, const char* name) {
    auto found = pybind11::reinterpret_steal<pybind11::object>(PyObject_GetAttrString(object.ptr(), name));
    if (!found) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError) == 0) {
            throw pybind11::error_already_set();
        }
        PyErr_Clear();
    }
    return found;
}

/// The capsule of a CancellationFlag; null if `object` is none.
inline pybind11::object capsule_of(pybind11::handle object) {
    pybind11::object capsule = attribute(object, "capsule");
    return capsule && PyCapsule_IsValid(capsule.ptr(), cancellation_capsule) != 0 ? capsule : pybind11::object();
}

/// The same of a flag, or of what has one as its attribute `flag`.
inline pybind11::object find_capsule(pybind11::handle object) {
    pybind11::object capsule = capsule_of(object);
    if (!capsule) {
        if (const pybind11::object flag = attribute(object, "flag")) {
            capsule = capsule_of(flag);
        }
    }
    return capsule;
}

/// Lets the TaskCancelled of this extension arrive as TaskCancelledError, in each interpreter from the first call on.
inline void translate_task_cancelled() {
    PYBIND11_CONSTINIT static pybind11::gil_safe_call_once_and_store<bool> registered;
    registered.call_once_and_store_result([] {
        // NOLINTNEXTLINE(performance-unnecessary-value-param): pybind11 says what a translator takes
        pybind11::register_local_exception_translator([](std::exception_ptr pointer) {
            try {
                if (pointer) {
                    std::rethrow_exception(pointer);
                }
            } catch (const TaskCancelled& cancelled) {
                try {
                    const auto errors = pybind11::module_::import("conductor_grpc.errors");
                    PyErr_SetString(errors.attr("TaskCancelledError").ptr(), cancelled.what());
                } catch (pybind11::error_already_set& failure) {
                    failure.restore();
                }
            }
        });
        return true;
    });
}

[[noreturn]] inline void refuse(pybind11::handle object) {
    throw pybind11::type_error(
        "the cancellation is " + std::string(pybind11::repr(object)) + " of type " +
        std::string(pybind11::str(pybind11::type::handle_of(object).attr("__qualname__"))) +
        ", expected a conductor_grpc.Cancellation, the flag of one, or None: pass current_task().cancelled");
}

} // namespace conductor_grpc::pybind11_cancellation

namespace pybind11::detail {

/// From a CancellationFlag, from an object with one as its attribute `flag`, such as a conductor_grpc.Cancellation, and
/// from None, which is never cancelled. The flag stays alive until the function returns.
template <> struct type_caster<conductor_grpc::Cancellation> {
    // By this name in the signature a worker that is the function itself knows which parameter is no input.
    PYBIND11_TYPE_CASTER(conductor_grpc::Cancellation, const_name("conductor_grpc._core.CancellationFlag | None"));

    bool load(handle source, bool convert) {
        using namespace conductor_grpc; // NOLINT(google-build-using-namespace): for this function alone
        pybind11_cancellation::translate_task_cancelled();
        if (source.is_none()) {
            value = Cancellation();
            return true;
        }
        const object capsule = pybind11_cancellation::find_capsule(source);
        if (!capsule) {
            if (convert) { // the last round: overloads that fit as they are were tried before
                pybind11_cancellation::refuse(source);
            }
            return false;
        }
        // By the frame of the call and not by this caster, which lives shorter within that of a std::optional.
        loader_life_support::add_patient(capsule);
        value = Cancellation(
            static_cast<const std::atomic<bool>*>(PyCapsule_GetPointer(capsule.ptr(), cancellation_capsule)));
        return true;
    }
};

} // namespace pybind11::detail
