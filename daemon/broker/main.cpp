// mtd-broker: started by the supervisor through the keeper, with the link to the supervisor, the
// listener of io.mtd.Tasks and the task board as descriptors 3, 4 and 5. As root it first makes its
// directory and becomes somebody else; nothing a stranger wrote is read before that.
#include <spdlog/spdlog.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "common/exit_codes.h"
#include "daemon/broker/broker.h"
#include "daemon/broker/open_store.h"
#include "daemon/role/log.h"
#include "daemon/sys/privileges.h"
#include "daemon/sys/role_socket.h"
#include "daemon/sys/runtime_dir.h"

namespace {

struct Arguments {
  std::string log_level = "info";
  mtd::broker::StorePlace store;
  std::optional<std::uint32_t> uid, gid;
  mtd::broker::BrokerOptions options;
};

std::optional<std::uint32_t> number(const char* text) {
  char* end = nullptr;
  const unsigned long value = std::strtoul(text, &end, 10);
  if (*text == '\0' || *end != '\0' || value > 0xFFFFFFFFUL) return std::nullopt;
  return static_cast<std::uint32_t>(value);
}

// Written by the supervisor only: pairs of a name and a value.
bool parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const char* const value = argv[i + 1];
    if (name == "--directory") {
      arguments.store.directory = value;
    } else if (name == "--log-level") {
      arguments.log_level = value;
    } else if (name == "--life") {
      arguments.store.life = value;
    } else if (name == "--quota-mib") {
      const auto mib = number(value);
      if (!mib) return false;
      arguments.store.quota = std::uint64_t{*mib} << 20U;
    } else if (const auto id = number(value); !id) {
      return false;
    } else if (name == "--uid") {
      arguments.uid = id;
    } else if (name == "--gid") {
      arguments.gid = id;
    } else if (name == "--owner") {
      arguments.options.owner = *id;
    } else if (name == "--operate-gid") {
      arguments.options.operate_gid = id;
    } else if (name == "--readonly-gid") {
      arguments.options.readonly_gid = id;
    } else if (name == "--clients") {
      arguments.options.max_clients = *id;
    } else {
      return false;
    }
  }
  arguments.options.spool.directory = arguments.store.directory + "/parts";
  arguments.options.spool.database = arguments.store.directory + "/tasks.db";
  arguments.options.spool.quota = arguments.store.quota;
  arguments.store.files = arguments.options.spool.directory;
  arguments.store.file_bytes = arguments.options.spool.bytes;
  return argc % 2 == 1 && !arguments.store.directory.empty();
}

// The supervisor says it, once.
int fail(mtd::sys::BrokerLink& link, const mtd::Error& why) {
  mtd::broker::Failed failed;
  mtd::sys::put_text(failed.text, why.message);
  link.send(failed);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace mtd;
  if (argc == 2 && std::string_view(argv[1]) == "--version") {
    std::printf("mtd-broker %s\n", MTD_VERSION);
    return 0;
  }
  auto link_socket = sys::take_descriptor(broker::kLinkFd);
  auto listener = sys::take_descriptor(broker::kListenerFd);
  auto board_memory = sys::take_descriptor(broker::kBoardFd);
  Arguments arguments;
  if (!link_socket || !listener || !board_memory || !parse(argc, argv, arguments)) {
    std::fprintf(stderr, "mtd-broker: this program is a part of mtd and is started by it\n");
    return code(DaemonExit::usage);
  }
  sys::set_process_name("mtd-broker");
  sys::become_opaque();
  sys::ignore_strange_signals();
  role::set_up_log(arguments.log_level);
  sys::BrokerLink link(std::move(*link_socket));
  std::optional<std::pair<uid_t, gid_t>> ids;
  if (arguments.uid && arguments.gid) ids = {*arguments.uid, *arguments.gid};
  if (const auto owned = sys::own_directory(arguments.store.directory, ids); !owned)
    return fail(link, owned.error());
  if (ids) {
    if (const auto became = sys::become(ids->first, ids->second); !became)
      return fail(link, became.error());
    sys::become_opaque();  // a change of the user undid it
    if (const auto way = sys::find_way(arguments.store.directory); !way)
      return fail(link, way.error());
  }
  auto board = sys::TaskBoard::open(std::move(*board_memory));
  if (!board) return fail(link, board.error());
  auto loop = sys::EventLoop::create();
  if (!loop) return fail(link, loop.error());
  auto opened = broker::open_store(arguments.store);
  if (!opened) return fail(link, opened.error());
  if (!opened->warning.empty()) spdlog::error("{}", opened->warning);
  auto thread = task::StoreThread::start(std::move(opened->store));
  if (!thread) return fail(link, thread.error());
  broker::Broker broker(
      arguments.options, std::move(*loop), std::move(link), std::move(*listener), std::move(*board),
      broker::TwoStores(std::move(*thread), broker::kMemoryLimit, std::move(opened->claims)),
      std::move(opened->contents));
  return broker.run();
}
