# The Varlink codec: strict JSON, framing, messages, the control method table, the blocking client.
add_library(mtd_varlink STATIC
  control_methods.cpp
  control_types.cpp
  task_methods.cpp
  json_writer.cpp
  varlink_client.cpp
  varlink_frames.cpp
  varlink_json.cpp
  varlink_message.cpp
  varlink_signature.cpp
)
target_link_libraries(mtd_varlink PUBLIC mtd_common nlohmann_json::nlohmann_json)
