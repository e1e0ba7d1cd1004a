// A small web server on the sockets it was given (LISTEN_FDS), for tests of sockets under load.
// Answers every request with its pid. On TERM it accepts no more, asks its clients to reconnect
// (Connection: close with the next answer), and ends when the last one has left.
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

namespace {

bool ending = false;
int poller = -1;
std::map<int, std::string> clients;  // what each has sent of its next request

void watch(int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

void leave(int fd) {
  close(fd);
  clients.erase(fd);
}

void answer(int fd) {
  const std::string body = std::to_string(getpid()) + "\n";
  const std::string text = "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) +
                           (ending ? "\r\nConnection: close" : "") + "\r\n\r\n" + body;
  const bool sent = send(fd, text.data(), text.size(), MSG_NOSIGNAL) >= 0;
  if (ending || !sent) leave(fd);
}

void serve(int fd) {
  char block[4096];
  const ssize_t size = recv(fd, block, sizeof block, MSG_DONTWAIT);
  if (size <= 0) return leave(fd);
  std::string& text = clients[fd];
  text.append(block, static_cast<std::size_t>(size));
  for (std::size_t end = 0; clients.count(fd) != 0 && (end = text.find("\r\n\r\n")) != text.npos;) {
    text.erase(0, end + 4);
    answer(fd);
  }
}

}  // namespace

int main() {
  const char* pid = getenv("LISTEN_PID");
  const char* count = getenv("LISTEN_FDS");
  if (pid == nullptr || count == nullptr || atoi(pid) != getpid()) {
    std::fprintf(stderr, "LISTEN_PID is not mine\n");
    return 3;
  }
  const int last = 2 + atoi(count);
  poller = epoll_create1(EPOLL_CLOEXEC);
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  sigprocmask(SIG_BLOCK, &term, nullptr);
  const int signals = signalfd(-1, &term, SFD_CLOEXEC);
  watch(signals);
  for (int fd = 3; fd <= last; ++fd) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);  // several wait for the same connection
    watch(fd);
  }
  for (;;) {
    epoll_event events[64];
    const int ready = epoll_wait(poller, events, 64, -1);
    for (int i = 0; i < ready; ++i) {
      const int fd = events[i].data.fd;
      if (fd == signals) {
        ending = true;
        epoll_ctl(poller, EPOLL_CTL_DEL, signals, nullptr);
        for (int listener = 3; listener <= last; ++listener) {
          epoll_ctl(poller, EPOLL_CTL_DEL, listener, nullptr);
          close(listener);
        }
      } else if (fd <= last) {
        const int client = accept4(fd, nullptr, nullptr, SOCK_CLOEXEC);
        if (client < 0) continue;
        clients[client];
        watch(client);
      } else if (clients.count(fd) != 0) {
        serve(fd);
      }
    }
    if (ending && clients.empty()) return 0;
  }
}
