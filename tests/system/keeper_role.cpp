// Stands in for mtd-supervisor in the keeper's tests: hands its end of the keeper's socket to the
// test through a Unix socket, and lives until the test closes that connection or tells it how to
// end.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>

namespace {

bool pass_socket(int connection) {
  const int fd = 3;
  const pid_t self = getpid();
  iovec part{const_cast<pid_t*>(&self), sizeof self};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(head), &fd, sizeof fd);
  return sendmsg(connection, &message, MSG_NOSIGNAL) > 0;
}

}  // namespace

int main() {
  const char* early = std::getenv("KEEPER_TEST_EXIT");
  if (early != nullptr) return std::atoi(early);
  const char* path = std::getenv("KEEPER_TEST_SOCKET");
  if (path == nullptr) return 99;
  const int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  if (connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return 98;
  if (!pass_socket(connection)) return 97;
  close(3);
  char code = 0;
  const ssize_t n = read(connection, &code, 1);
  return n == 1 ? static_cast<unsigned char>(code) : 0;
}
