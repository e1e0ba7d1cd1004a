// Whatever a worker or a client writes: it is a frame or an error, and nothing else happens.
#include "common/task_frames.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "daemon/broker/client_frames.h"
#include "daemon/broker/worker_frames.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  while (true) {
    const auto frame = mtd::task_frames::first_frame(bytes, 1024);
    if (!frame || !*frame) break;
    if ((*frame)->size > bytes.size() || (*frame)->size == 0) std::abort();
    (void)mtd::broker::parse_worker_frame((*frame)->line).has_value();
    const auto client = mtd::broker::parse_client_frame((*frame)->line);
    const auto* fault = std::get_if<mtd::broker::ClientFault>(&client);
    if (fault != nullptr && fault->message.empty()) std::abort();
    bytes.remove_prefix((*frame)->size);
  }
  return 0;
}
