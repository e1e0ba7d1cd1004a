#include "client/cpp/open_stream.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include <nlohmann/json.hpp>

#include "common/varlink_json.h"

namespace mtd::client {
namespace {

constexpr std::size_t kMaxResult = 1u << 30;  // an own limit far above mtd's

constexpr std::size_t kMaxAnswer = 64u * 1024;
constexpr std::size_t kDefaultMaxBody = 8u << 20;

Result<UniqueFd> connected(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Error{path + ": longer than a socket's path may be (107 bytes)", ENAMETOOLONG};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return Error::from_errno("socket", errno);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return Error::from_errno(path, errno);
  }
  return fd;
}

Result<std::string> answer_of(int fd, Instant deadline) {
  std::string text;
  while (text.find('\0') == std::string::npos) {
    pollfd entry{fd, POLLIN, 0};
    const std::int64_t left = (deadline.count_ns() - now().count_ns()) / 1'000'000;
    if (left <= 0) return Error{"mtd does not answer", ETIMEDOUT};
    if (::poll(&entry, 1, static_cast<int>(std::min<std::int64_t>(left + 1, 1 << 30))) <= 0)
      continue;
    char block[4096];
    const ssize_t got = ::recv(fd, block, sizeof block, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Error{"mtd closed the connection", ECONNRESET};
    text.append(block, static_cast<std::size_t>(got));
    if (text.size() > kMaxAnswer) return Error{"mtd's answer makes no sense", EPROTO};
  }
  return text.substr(0, text.find('\0'));
}

Result<std::size_t> open_on(int fd, Instant deadline) {
  static const char call[] =
      R"({"method":"io.mtd.Tasks.Open","parameters":{},"upgrade":true})";  // and its NUL
  if (::send(fd, call, sizeof call, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof call)) {
    return Error{"mtd closed the connection", ECONNRESET};
  }
  const Result<std::string> answer = answer_of(fd, deadline);
  if (!answer) return answer.error();
  const Result<nlohmann::json> reply = varlink::parse_json(*answer);
  if (!reply || !reply->is_object()) return Error{"mtd's answer makes no sense", EPROTO};
  const auto parameters = reply->value("parameters", nlohmann::json::object());
  if (reply->contains("error")) {
    const std::string name = reply->value("error", "");
    const std::string message = parameters.value("message", name);
    return Error{message, name.ends_with(".PermissionDenied") ? EACCES
                          : name.ends_with(".NotServing")     ? EAGAIN
                                                              : EPROTO};
  }
  if (parameters.value("proto", 1) != 1) return Error{"mtd speaks another protocol", EPROTO};
  return parameters.value("max_body", kDefaultMaxBody);
}

}  // namespace

Instant now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return Instant::at_ns(std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec);
}

Result<OpenedStream> open_stream(const std::vector<std::string>& paths, Duration patience) {
  const Instant deadline = now() + patience;
  Error failure{"no mtd with task queues answers", ENOENT};
  for (const std::string& path : paths) {
    Result<UniqueFd> fd = connected(path);
    if (fd) {
      const Result<std::size_t> max_body = open_on(fd->get(), deadline);
      if (max_body) return OpenedStream{FrameSocket(*std::move(fd), kMaxResult), *max_body};
      failure = max_body.error().with_context(path);
      break;
    }
    if (fd.error().errno_value == EACCES) failure.errno_value = EACCES;
    failure.message += "\n  " + fd.error().message;
  }
  return failure;
}

}  // namespace mtd::client
