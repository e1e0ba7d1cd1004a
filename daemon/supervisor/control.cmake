# The control transport: the Varlink server, access, the event ring. It knows no pools.
add_library(mtd_control STATIC
  control_access.cpp
  control_clients.cpp
  control_connection.cpp
  control_pending_call.cpp
  control_router.cpp
  control_server.cpp
  event_ring.cpp
  ${PROJECT_SOURCE_DIR}/daemon/sys/stream_socket.cpp
)
target_link_libraries(mtd_control PUBLIC mtd_varlink)
