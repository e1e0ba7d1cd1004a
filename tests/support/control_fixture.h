// A ControlServer on a socket of its own, raw clients beside it, all in one thread: the test turns
// the reactor whenever it waits for something.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/unique_fd.h"
#include "daemon/control/server.h"
#include "tests/support/test_reactor.h"

namespace mtd::test {

// A raw, non-blocking client socket.
class RawClient {
 public:
  explicit RawClient(UniqueFd socket) : socket_(std::move(socket)) {}
  [[nodiscard]] int fd() const { return socket_.get(); }
  // What the kernel takes of it; the number of bytes.
  std::size_t write(std::string_view bytes);
  // Reads what is there; true once the server has closed.
  bool read();
  void close() { socket_.reset(); }
  // The messages read so far, taken out.
  [[nodiscard]] std::vector<nlohmann::json> take();
  [[nodiscard]] const std::string& bytes() const { return input_; }

 private:
  UniqueFd socket_;
  std::string input_;
};

class ControlFixture : public control::Dispatcher {
 public:
  using Handler = std::function<void(std::shared_ptr<control::Call>)>;

  explicit ControlFixture(control::ControlLimits limits = {}, control::AccessPolicy policy = {},
                          TestReactor::Clock clock = TestReactor::Clock::simulated);
  ~ControlFixture() override;
  void dispatch(std::shared_ptr<control::Call> call) override { handler(std::move(call)); }

  [[nodiscard]] RawClient connect() const;
  // As another user; needs root.
  [[nodiscard]] RawClient connect_as(uid_t uid, gid_t gid, std::vector<gid_t> groups = {}) const;
  // Turns until `client` has `count` messages more, or was closed by the server.
  std::vector<nlohmann::json> answers(RawClient& client, std::size_t count);
  nlohmann::json call(RawClient& client, const std::string& text);
  // Turns until the server closes `client`; the messages it got before.
  std::vector<nlohmann::json> until_closed(RawClient& client);

  TestReactor reactor;
  Handler handler;  // answers {"pools":[]} until replaced
  std::string path;
  std::unique_ptr<control::ControlServer> server;

 private:
  std::string directory_;
};

// {"method":"io.mtd.Manager.NAME","parameters":…} and its NUL. `members`: further ones,
// ",\"more\":true"
[[nodiscard]] std::string request(std::string_view name, std::string_view parameters = "{}",
                                  std::string_view members = "");
// Descriptors open in this process.
[[nodiscard]] std::size_t open_descriptors();

}  // namespace mtd::test
