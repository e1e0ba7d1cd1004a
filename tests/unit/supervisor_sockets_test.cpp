// Listening sockets against the real kernel, and the list of them that outlives the supervisor.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "daemon/supervisor/socket_manifest.h"
#include "daemon/sys/listen_socket.h"
#include "tests/support/temporary_directory.h"

using mtd::UniqueFd;
using mtd::supervisor::decode_sockets;
using mtd::supervisor::SocketManifest;
using mtd::sys::ListenAddress;
using mtd::sys::open_listener;

namespace {

ListenAddress at(const std::string& path) {
  ListenAddress address;
  address.kind = ListenAddress::Kind::unix_stream;
  address.address = path;
  address.mode = 0640;
  return address;
}

UniqueFd connect_to(const std::string& path, int& error) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const bool done =
      ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  error = done ? 0 : errno;
  return fd;
}

}  // namespace

TEST_CASE(
    "the file of a unix socket has its mode, and makes room only for what is served no more") {
  const mtd::test::TemporaryDirectory directory;
  const std::string path = directory.path + "/s";
  auto first = open_listener(at(path));
  REQUIRE_MESSAGE(first, (first ? "" : first.error().message));
  struct stat info {};
  REQUIRE(::lstat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0640);
  CHECK(mtd::sys::has_file(path, first->file));

  const auto second = open_listener(at(path));
  REQUIRE_FALSE(second);
  CHECK(second.error().errno_value == EADDRINUSE);
  CHECK(second.error().message.find("(EADDRINUSE)") != std::string::npos);

  first->fd.reset();  // as after a kill -9: the file stays, nobody serves it
  auto third = open_listener(at(path));
  REQUIRE(third);
  int error = 0;
  const UniqueFd client = connect_to(path, error);
  CHECK(error == 0);
  mtd::sys::remove_listener(path, first->file);
  mtd::sys::remove_listener(path, third->file);
  CHECK_FALSE(mtd::sys::has_file(path, third->file));
}

TEST_CASE("a file that is no socket is never removed") {
  const mtd::test::TemporaryDirectory directory;
  const std::string path = directory.path + "/s";
  std::ofstream(path) << "precious";
  const auto refused = open_listener(at(path));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message ==
        "there is a file of that name that is no socket; mtd does not remove it");
  mtd::sys::remove_listener(path, {});
  CHECK(::access(path.c_str(), F_OK) == 0);
}

TEST_CASE("mode and owner follow a changed configuration, on the same socket") {
  const mtd::test::TemporaryDirectory directory;
  auto address = at(directory.path + "/s");
  auto opened = open_listener(address);
  REQUIRE(opened);
  address.mode = 0600;
  REQUIRE(mtd::sys::adjust_listener(opened->fd.get(), opened->file, address));
  struct stat info {};
  REQUIRE(::lstat(address.address.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  mtd::sys::remove_listener(address.address, opened->file);
}

TEST_CASE("tcp: an address in use is named with who has it; its queue is counted") {
  ListenAddress address;
  address.address = "127.0.0.1";
  mtd::Result<mtd::sys::ListenSocket> opened = mtd::Error{"none"};
  for (address.port = 28400; !opened && address.port < 28500; ++address.port)
    opened = open_listener(address);
  REQUIRE(opened);
  --address.port;
  const auto second = open_listener(address);
  REQUIRE_FALSE(second);
  CHECK(second.error().errno_value == EADDRINUSE);
  CHECK(mtd::sys::waiting_connections(opened->fd.get()) == 0U);
  CHECK(mtd::sys::describe_socket(opened->fd.get()) ==
        "tcp 127.0.0.1:" + std::to_string(address.port));
  // Two sockets of one port, where both asked for it.
  opened->fd.reset();
  address.reuse_port = true;
  const auto one = open_listener(address);
  const auto two = open_listener(address);
  CHECK(one);
  CHECK(two);
}

TEST_CASE("tcp: an address that is not this machine's says so") {
  ListenAddress address;
  address.address = "192.0.2.1";  // RFC 5737: nobody's
  address.port = 28500;
  const auto refused = open_listener(address);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message ==
        "bind: Cannot assign requested address (EADDRNOTAVAIL); this machine has no such address");
}

TEST_CASE("the list of sockets comes back as it was; a damaged one is refused") {
  SocketManifest manifest;
  manifest.sockets = {{"tcp:127.0.0.1:80", "socket:1", 0, 0}, {"unix:/\xFF x", "socket:2", 7, 9}};
  manifest.uses = {{1, {"tcp:127.0.0.1:80"}}, {~0ULL, {"unix:/\xFF x", "tcp:127.0.0.1:80"}}};
  const std::string text = encode(manifest);
  const auto again = decode_sockets(text);
  REQUIRE(again);
  CHECK(*again == manifest);
  for (std::size_t size = 0; size < text.size(); ++size)
    CHECK_FALSE(decode_sockets(text.substr(0, size)));
  for (const char* wrong :
       {"[]", "{}", R"({"sockets":[["zz","a",0,0]],"uses":{}})",
        R"({"sockets":[["61","a",-1,0]],"uses":{}})", R"({"sockets":[],"uses":{"x":[]}})",
        R"({"sockets":[],"uses":{"1":"61"}})", R"({"sockets":[],"uses":{"1":["6"]}})"}) {
    CAPTURE(wrong);
    CHECK_FALSE(decode_sockets(wrong));
  }
}
