# mtd-broker: everything but main in a library, so that tests can link it.
add_library(mtd_broker_core STATIC
  answer_assembly.cpp
  broker.cpp
  client_desk.cpp
  client_frames.cpp
  client_stream.cpp
  open_store.cpp
  part_spool.cpp
  pool_settings.cpp
  put_refusal.cpp
  queue_runner.cpp
  queue_table.cpp
  queue_workers.cpp
  store_traffic.cpp
  task_handlers.cpp
  task_json.cpp
  task_message.cpp
  task_requests.cpp
  two_stores.cpp
  worker_frames.cpp
  worker_socket.cpp
)
mtd_compile_together(mtd_broker_core)
target_link_libraries(mtd_broker_core
  PUBLIC mtd_common mtd_sys mtd_task_model mtd_task_store mtd_loop_reactor mtd_role
         nlohmann_json::nlohmann_json)

add_executable(mtd-broker main.cpp)
target_link_libraries(mtd-broker PRIVATE mtd_broker_core)
if(NOT MTD_SANITIZE)
  target_link_options(mtd-broker PRIVATE -static-libstdc++ -static-libgcc)
endif()
install(TARGETS mtd-broker DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/mtd)
