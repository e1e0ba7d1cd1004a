// Why a wait for tasks goes on: when nothing has come of it for a while, mtd is asked how the pool
// is, and what keeps it from working is told once on the standard error output. A pool that works
// is not told of: tasks may take their time.
//
// Asks over connections of its own and never waits: its descriptors belong into the caller's
// poll(2). An mtd that does not answer even that is found out here.
#pragma once

#include <poll.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/time.h"
#include "common/varlink_client.h"
#include "ctl/commands.h"
#include "ctl/json.h"

namespace mtd::ctl {

// What keeps `pool` from its tasks, empty if nothing does. `queue`: its row of Stats; `status`: its
// row of Status, null if the supervisor has not said.
[[nodiscard]] std::string stall_reason(std::string_view pool, const Json& queue,
                                       const Json& status);

// CLOCK_MONOTONIC.
[[nodiscard]] Instant monotonic_now();

struct StalledAt {
  std::vector<std::string> tasks;    // sockets that are tried
  std::vector<std::string> manager;  // the same of the supervisor
  bool is_private = false;           // nobody can steer it: no verb is named
};

class StallNote {
 public:
  // Asks after a third of `patience`, and again each time. `before`: is called before a note is
  // written.
  StallNote(Context& context, Duration patience, StalledAt where,
            std::function<void()> before = {});

  // What is waited for: a pool's tasks (empty: nobody's in particular), or one task.
  void watch_pool(std::string pool);
  void watch_task(std::int64_t id);
  // Something has come: the time begins anew.
  void heard();

  // Two entries.
  void add_to(std::vector<pollfd>& entries) const;
  // Until look() is to be called although nothing has come, or until the deadline; -1: never.
  [[nodiscard]] std::int64_t due_in_ms(Instant deadline = Instant::never()) const;
  void look();
  // Nothing has come and nothing was answered for the whole of the patience.
  [[nodiscard]] bool is_unanswered() const;

 private:
  struct Question {
    std::optional<varlink::Client> client;
    std::optional<Json> answer;
    std::string failure;  // why there is none
    [[nodiscard]] bool is_open() const { return client.has_value(); }
    [[nodiscard]] int fd() const { return client ? client->fd() : -1; }
    void ask(const std::vector<std::string>& paths, const std::string& method,
             const Json& parameters);
    void take();
  };

  void ask();
  void conclude();
  void tell(const std::string& reason);
  [[nodiscard]] Duration pause() const;
  [[nodiscard]] bool is_asking() const { return !asked_.is_never(); }

  Context& context_;
  Duration patience_;
  StalledAt where_;
  std::function<void()> before_;
  std::string pool_;
  std::int64_t task_ = 0;
  Instant answered_;                  // last
  Instant next_;                      // question
  Instant asked_ = Instant::never();  // the one that is open
  Question queue_, status_;
  std::string told_;
};

}  // namespace mtd::ctl
