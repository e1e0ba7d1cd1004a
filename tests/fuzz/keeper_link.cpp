// Any bytes, with and without a descriptor, as messages of the keeper to a role: received as a
// message, or refused; never a crash, a leaked descriptor, or a message with a part of what came.
#include "daemon/sys/keeper_link.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace {

// The header that the decoder asks for, so that more than the header is reached.
void make_plausible(char* bytes, std::size_t size, unsigned choice) {
  mtd::keeper::Header header;
  if (size < sizeof header) return;
  std::memcpy(&header, bytes, sizeof header);
  header.type = static_cast<mtd::keeper::Type>(64 + choice % 12);
  header.version = mtd::keeper::kProtocolVersion;
  header.size = static_cast<std::uint32_t>(size);
  std::memcpy(bytes, &header, sizeof header);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mtd;
  int ends[2] = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return 0;
  {
    sys::KeeperLink link{UniqueFd(ends[0])};
    while (size > 3) {
      const std::size_t wanted = 1 + static_cast<unsigned>(data[0] | data[1] << 8) % 1100U;
      const unsigned how = data[2];
      data += 3;
      size -= 3;
      char bytes[1100] = {};
      const std::size_t now = wanted < size ? wanted : size;
      std::memcpy(bytes, data, now);
      data += now;
      size -= now;
      if ((how & 1) != 0) make_plausible(bytes, wanted, how >> 2);
      iovec part{bytes, wanted};
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      if ((how & 2) != 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        cmsghdr* head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(head), &ends[1], sizeof(int));
      }
      (void)!sendmsg(ends[1], &message, MSG_DONTWAIT | MSG_NOSIGNAL);
      auto received = link.receive();
      if (!received || !received->has_value()) continue;
      if (const auto* held = std::get_if<sys::HeldDescriptor>(&**received)) {
        if (held->message.error == 0 && !held->fd) std::abort();
      }
      link.pong();
    }
  }
  close(ends[1]);
  const int next = dup(0);  // the lowest free number: it does not grow if nothing leaks
  close(next);
  if (next > 64) std::abort();
  return 0;
}
