# find_package(conductor_grpc CONFIG): the headers for C++ workers, as the target conductor_grpc::conductor_grpc.
# pybind11 is not looked for here: a project finds the version that it binds with itself.
if(NOT TARGET conductor_grpc::conductor_grpc)
  add_library(conductor_grpc::conductor_grpc INTERFACE IMPORTED)
  get_filename_component(conductor_grpc_INCLUDE_DIR "${CMAKE_CURRENT_LIST_DIR}/../include" ABSOLUTE)
  set_target_properties(conductor_grpc::conductor_grpc PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${conductor_grpc_INCLUDE_DIR}"
    INTERFACE_COMPILE_FEATURES cxx_std_17)
endif()
