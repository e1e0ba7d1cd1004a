#include "tests/support/control_fixture.h"

#include <dirent.h>
#include <doctest/doctest.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace mtd::test {
namespace {

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  REQUIRE(path.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

UniqueFd listen_at(const std::string& path) {
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const sockaddr_un address = address_of(path);
  REQUIRE(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::chmod(path.c_str(), 0666) == 0);
  REQUIRE(::listen(listener.get(), 4096) == 0);
  return listener;
}

}  // namespace

std::size_t RawClient::write(std::string_view bytes) {
  std::size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t sent = ::send(socket_.get(), bytes.data() + written, bytes.size() - written,
                                MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) break;
    written += static_cast<std::size_t>(sent);
  }
  return written;
}

bool RawClient::read() {
  std::vector<char> buffer(64 * 1024);
  while (true) {
    const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got == 0) return true;
    if (got < 0) return errno != EAGAIN;
    input_.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

std::vector<nlohmann::json> RawClient::take() {
  std::vector<nlohmann::json> messages;
  std::size_t begin = 0;
  for (std::size_t end; (end = input_.find('\0', begin)) != std::string::npos; begin = end + 1) {
    messages.push_back(nlohmann::json::parse(input_.substr(begin, end - begin)));
  }
  input_.erase(0, begin);
  return messages;
}

ControlFixture::ControlFixture(control::ControlLimits limits, control::AccessPolicy policy,
                               TestReactor::Clock clock)
    : reactor(clock), handler([](const std::shared_ptr<control::Call>& call) {
        call->reply({{"pools", nlohmann::json::array()}});
      }) {
  char name[] = "/tmp/mtd-control-XXXXXX";
  REQUIRE(::mkdtemp(name) != nullptr);
  directory_ = name;
  REQUIRE(::chmod(name, 0755) == 0);
  path = directory_ + "/io.mtd.Manager";
  server = std::make_unique<control::ControlServer>(
      reactor, *this, listen_at(path), policy, limits,
      control::ServiceInfo{"mtd", "mtd", "1.2.3", "https://example.org"});
}

ControlFixture::~ControlFixture() {
  server.reset();
  ::unlink(path.c_str());
  ::rmdir(directory_.c_str());
}

RawClient ControlFixture::connect() const {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  REQUIRE(socket.valid());
  const sockaddr_un address = address_of(path);
  REQUIRE(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
          0);
  return RawClient(std::move(socket));
}

RawClient ControlFixture::connect_as(uid_t uid, gid_t gid, std::vector<gid_t> groups) const {
  std::array<gid_t, 64> own_groups{};
  const int count = ::getgroups(own_groups.size(), own_groups.data());
  REQUIRE(count >= 0);
  const uid_t own_uid = ::geteuid();
  const gid_t own_gid = ::getegid();
  REQUIRE(::setgroups(groups.size(), groups.data()) == 0);
  REQUIRE(::setegid(gid) == 0);
  REQUIRE(::seteuid(uid) == 0);
  RawClient client = connect();
  REQUIRE(::seteuid(own_uid) == 0);
  REQUIRE(::setegid(own_gid) == 0);
  REQUIRE(::setgroups(static_cast<std::size_t>(count), own_groups.data()) == 0);
  return client;
}

std::vector<nlohmann::json> ControlFixture::answers(RawClient& client, std::size_t count) {
  std::vector<nlohmann::json> all;
  bool closed = false;
  reactor.run_until([&] {
    closed = client.read() || closed;
    for (nlohmann::json& message : client.take())
      all.push_back(std::move(message));
    return all.size() >= count || closed;
  });
  return all;
}

nlohmann::json ControlFixture::call(RawClient& client, const std::string& text) {
  REQUIRE(client.write(text) == text.size());
  const auto all = answers(client, 1);
  REQUIRE(all.size() == 1);
  return all.front();
}

std::vector<nlohmann::json> ControlFixture::until_closed(RawClient& client) {
  return answers(client, static_cast<std::size_t>(-1));
}

std::string request(std::string_view name, std::string_view parameters, std::string_view members) {
  std::string text = "{\"method\":\"io.mtd.Manager.";
  text += name;
  text += "\",\"parameters\":";
  text += parameters;
  text += members;
  text += '}';
  text += '\0';
  return text;
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* directory = ::opendir("/proc/self/fd");
  REQUIRE(directory != nullptr);
  while (::readdir(directory) != nullptr)
    ++count;
  ::closedir(directory);
  return count;
}

}  // namespace mtd::test
