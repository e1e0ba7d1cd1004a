// VarlinkClient: the blocking client side of a control socket, for mtctl and tests. One connection,
// one call at a time. No signal is ever raised; a deadline bounds connect, send and receive
// together. Failures are Errors whose errno_value failure_of() sorts.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "common/result.h"
#include "common/time.h"
#include "common/unique_fd.h"

namespace mtd::varlink {

inline constexpr std::size_t kMaxSocketPath = 107;        // sockaddr_un(7): 108 with the NUL
inline constexpr std::size_t kMaxReplyBytes = 32u << 20;  // a reply beyond it is an error

enum class Failure {
  unreachable,  // no such socket, nobody listens, path too long
  permission,   // the socket's or a directory's mode refuses us
  timed_out,    // the deadline passed
  closed,       // the other side closed in the middle (or is full)
  protocol,     // what came is no Varlink
};
[[nodiscard]] Failure failure_of(const Error& error);

class Reply {
 public:
  Reply();  // an empty final reply
  Reply(std::string error, nlohmann::json parameters, bool continues);
  [[nodiscard]] bool is_error() const { return !error_.empty(); }
  [[nodiscard]] const std::string& error() const { return error_; }  // in full; empty: none
  // "NoSuchPool" of "io.mtd.Manager.NoSuchPool"
  [[nodiscard]] std::string_view error_name() const;
  [[nodiscard]] const nlohmann::json& parameters() const { return *parameters_; }  // an object
  [[nodiscard]] nlohmann::json take_parameters() &&;  // from this reply and its copies
  [[nodiscard]] bool continues() const { return continues_; }

 private:
  std::string error_;
  std::shared_ptr<nlohmann::json> parameters_;
  bool continues_ = false;
};

class Client {
 public:
  // `timeout` counts from now over everything done with this client, until set_timeout().
  [[nodiscard]] static Result<Client> connect(const std::string& path,
                                              Duration timeout = Duration::infinite());
  [[nodiscard]] static Client adopt(UniqueFd connected_socket);

  void set_timeout(Duration from_now);
  [[nodiscard]] Duration time_left() const;
  // One reply. `method` in full, or short ("Status": io.mtd.Manager).
  [[nodiscard]] Result<Reply> call(std::string_view method, const nlohmann::json& parameters);
  // A `more` call: then receive() until a reply that does not continue.
  [[nodiscard]] Result<void> call_more(std::string_view method, const nlohmann::json& parameters);
  [[nodiscard]] Result<Reply> receive();
  // For poll(2) beside other descriptors. Call receive() when readable or when
  // has_buffered_reply().
  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] bool has_buffered_reply() const;

 private:
  explicit Client(UniqueFd socket) : socket_(std::move(socket)) {}
  [[nodiscard]] Result<void> send(std::string_view method, const nlohmann::json& parameters,
                                  bool more);
  [[nodiscard]] Result<void> wait_for(short events) const;

  UniqueFd socket_;
  Instant deadline_ = Instant::never();
  std::string input_;
  std::size_t scanned_ = 0;  // of input_, without a NUL
};

}  // namespace mtd::varlink
