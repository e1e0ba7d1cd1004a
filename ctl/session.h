// One conversation with the daemon: calls, and what its errors mean for a person. What only asks
// how things are is answered at once, or, without --timeout, given up after 30 seconds.
//
// A supervisor that dies is replaced at once behind the same socket. A call that was cut off by
// that is made again, within the time it has, where doing so twice is doing it once; of any other
// the failure says that nobody knows whether it was done.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "ctl/command_line.h"
#include "ctl/json.h"
#include "ctl/outcome.h"
#include "ctl/socket_search.h"

namespace mtd::ctl {

class Session {
 public:
  [[nodiscard]] static Outcome<Session> open(const Options& options,
                                             const Surroundings& surroundings);

  // The parameters of the reply.
  [[nodiscard]] Outcome<Json> call(std::string_view method, const Json& parameters);
  // A call with several replies: begin(), then next() until `last`.
  [[nodiscard]] Outcome<bool> begin(std::string_view method, const Json& parameters);
  struct Part {
    Json parameters;
    bool last = false;
  };
  [[nodiscard]] Outcome<Part> next();
  // After a failure in the middle of several replies: the whole call can be begun again.
  [[nodiscard]] bool can_begin_again();

  // For poll(2): next() does not wait when one of them says that something is there.
  [[nodiscard]] int fd() const { return connection_.client.fd(); }
  [[nodiscard]] bool has_part() const { return connection_.client.has_buffered_reply(); }
  [[nodiscard]] const std::string& path() const { return connection_.path; }

 private:
  explicit Session(Connection connection);
  [[nodiscard]] Failure failure_of_transport(const Error& error);
  [[nodiscard]] bool connect_again();
  void limit(std::string_view method);

  Connection connection_;
  std::string method_;  // of the last call
  Json parameters_;
  bool has_parts_ = false;  // of it
  bool was_cut_ = false;
  bool has_own_limit_ = false;  // without --timeout
  int reconnects_ = 0;
};

// No queue of tasks has this name: there is no such pool, or it has no "tasks".
[[nodiscard]] Failure no_queue(std::string_view pool);
// `error` in full, "io.mtd.Manager.NoSuchPool".
[[nodiscard]] Failure failure_of_error(std::string_view error, const Json& parameters);

}  // namespace mtd::ctl
