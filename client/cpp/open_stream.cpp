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

constexpr int kAcceptPauseMs = 10;  // poll(2) cannot wait for room in a listener's queue

Result<UniqueFd> connected(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Error{path + ": longer than a socket's path may be (107 bytes)", ENAMETOOLONG};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.get() < 0) return Error::from_errno("socket", errno);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return Error::from_errno(path, errno);
  }
  return fd;
}

Result<std::size_t> max_body_of(std::string_view answer) {
  const Result<nlohmann::json> reply = varlink::parse_json(answer);
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

// Until one of `events` or the deadline. False: the deadline.
bool wait_for(int fd, short events, Instant deadline) {
  const std::int64_t left = (deadline.count_ns() - now().count_ns()) / 1'000'000;
  if (left < 0) return false;
  pollfd entry{fd, events, 0};
  ::poll(&entry, 1, static_cast<int>(std::min<std::int64_t>(left + 1, 1 << 30)));
  return true;
}

}  // namespace

Instant now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return Instant::at_ns(std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec);
}

Error unanswered(Duration patience) {
  return Error{"mtd is there, but has not answered for " + format_duration(patience), ETIMEDOUT};
}

Opening::Opening(UniqueFd socket, std::string path)
    : socket_(std::move(socket)), path_(std::move(path)) {}

Result<Opening> Opening::begin(const std::vector<std::string>& paths) {
  Error failure{"no mtd with task queues answers", ENOENT};
  for (const std::string& path : paths) {
    Result<UniqueFd> fd = connected(path);
    if (fd) {
      static const char call[] =
          R"({"method":"io.mtd.Tasks.Open","parameters":{},"upgrade":true})";  // and its NUL
      // What prevents it is seen when the answer is read.
      (void)::send(fd->get(), call, sizeof call, MSG_NOSIGNAL);
      return Opening(*std::move(fd), path);
    }
    const int reason = fd.error().errno_value;
    if (reason == EACCES || reason == EAGAIN) failure.errno_value = reason;
    failure.message += "\n  " + fd.error().message;
    if (reason == EAGAIN) break;
  }
  return failure;
}

Result<std::optional<OpenedStream>> Opening::advance() {
  while (answer_.find('\0') == std::string::npos) {
    char block[4096];
    const ssize_t got = ::recv(socket_.get(), block, sizeof block, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return std::optional<OpenedStream>();
    if (got <= 0) return Error{path_ + ": mtd closed the connection", ECONNRESET};
    answer_.append(block, static_cast<std::size_t>(got));
    if (answer_.size() > kMaxAnswer) return Error{path_ + ": mtd's answer makes no sense", EPROTO};
  }
  const Result<std::size_t> max_body =
      max_body_of(std::string_view(answer_).substr(0, answer_.find('\0')));
  if (!max_body) return max_body.error().with_context(path_);
  return std::optional(OpenedStream{FrameSocket(std::move(socket_), kMaxResult), *max_body});
}

Result<OpenedStream> open_stream(const std::vector<std::string>& paths, Duration patience) {
  const Instant deadline = now() + patience;
  Result<Opening> opening = Opening::begin(paths);
  while (!opening) {
    if (opening.error().errno_value != EAGAIN) return opening.error();
    if (now() >= deadline) return unanswered(patience);
    ::poll(nullptr, 0, kAcceptPauseMs);
    opening = Opening::begin(paths);
  }
  for (;;) {
    Result<std::optional<OpenedStream>> opened = opening->advance();
    if (!opened) return opened.error();
    if (*opened) return **std::move(opened);
    if (!wait_for(opening->fd(), POLLIN, deadline)) return unanswered(patience);
  }
}

}  // namespace mtd::client
