#include "daemon/supervisor/self_test.h"

#include <cstdio>

#include "common/exit_codes.h"
#include "config/loader.h"
#include "daemon/supervisor/state_store.h"
#include "daemon/sys/event_loop.h"
#include "daemon/sys/keeper_protocol.h"
#include "daemon/sys/memfd.h"

namespace mtd::supervisor {
namespace {

constexpr int kConfiguration = 3, kState = 4;
constexpr std::size_t kMaxConfigurationBytes = 64 << 20;

Result<void> try_out() {
  UniqueFd configuration = sys::duplicate_sealed(kConfiguration);
  UniqueFd state = sys::duplicate_sealed(kState);
  const auto loop = sys::EventLoop::create();
  if (!loop) return loop.error();
  if (configuration) {
    const auto text = sys::read_memfd(configuration.get(), kMaxConfigurationBytes);
    if (!text) return text.error();
    const auto decoded = config::decode(*text);
    if (!decoded) return decoded.error().with_context("the configuration in force");
  }
  if (state) {
    const auto bytes = sys::read_memfd(state.get(), kMaxStateBytes);
    if (!bytes) return bytes.error();
    StateStore::Content content;
    StateStore::read(*bytes, content);
    if (!content.damage.empty())
      return Error{"the state cannot be read: " + content.damage.front()};
  }
  return {};
}

}  // namespace

int self_test() {
  const auto done = try_out();
  if (!done) {
    std::fprintf(stderr, "%s\n", done.error().message.c_str());
    return code(DaemonExit::failed);
  }
  std::printf("mtd-supervisor " MTD_VERSION " protocol %u\n",
              static_cast<unsigned>(keeper::kProtocolVersion));
  return std::fflush(stdout) == 0 ? 0 : code(DaemonExit::failed);
}

}  // namespace mtd::supervisor
