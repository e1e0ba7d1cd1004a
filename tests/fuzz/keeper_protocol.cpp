// Any bytes and any number of descriptors as requests to the keeper: it may refuse, it must not
// crash, leak a descriptor, or lose count of its table. Processes are replaced by entries that
// failed.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "daemon/keeper/keeper.h"

namespace mtd::keeper {

std::int64_t clock_ns(int clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return time.tv_sec * kSecond + time.tv_nsec;
}
bool watch(Keeper&, int, Watched, std::uint32_t, std::uint32_t) {
  return true;
}
void close_fd(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}
void complain(const char*, int) {}
void spawn(Keeper& keeper, std::uint32_t index, const RevisionRecord&, int, std::uint32_t) {
  Entry& entry = keeper.table.processes[index].message;
  entry.state = EntryState::failed;
  entry.stage = Stage::clone;
  entry.error = EAGAIN;
  keeper.table.changed(index);
}
void announce_ready(Keeper&) {}
bool notify_manager(const Keeper&, const char*) {
  return true;
}
void begin_ending(Keeper&, Ending, int) {}
void drop_session(Keeper& keeper) {
  close_fd(keeper.role.socket);
}

}  // namespace mtd::keeper

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mtd::keeper;
  static Keeper* const keeper = [] {
    auto* one = new Keeper();
    if (!one->table.map(64)) std::abort();
    return one;
  }();
  int ends[2] = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return 0;
  keeper->role = Role();
  keeper->role.socket = ends[0];
  keeper->role.epoch = 1;
  keeper->epoll = epoll_create1(EPOLL_CLOEXEC);
  while (size > 2) {
    const std::size_t length = 1 + static_cast<unsigned>(data[0] | data[1] << 8) % 1200U;
    const bool with_fd = (data[1] & 0x80) != 0;
    data += 2;
    size -= 2;
    const std::size_t now = length < size ? length : size;
    iovec part{const_cast<std::uint8_t*>(data), now};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (with_fd) {
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      cmsghdr* head = CMSG_FIRSTHDR(&message);
      head->cmsg_level = SOL_SOCKET;
      head->cmsg_type = SCM_RIGHTS;
      head->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(head), &ends[1], sizeof(int));
    }
    (void)!sendmsg(ends[1], &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    data += now;
    size -= now;
    read_requests(*keeper);
    write_out(*keeper);
    char answer[1024];
    while (recv(ends[1], answer, sizeof answer, MSG_DONTWAIT) > 0) {
    }
  }
  Table& table = keeper->table;
  std::uint32_t used = 0;
  for (std::uint32_t i = 0; i < table.high_water; ++i)
    used += table.processes[i].used ? 1U : 0U;
  if (used != table.used) std::abort();
  for (std::uint32_t i = 0; i < table.high_water; ++i) {
    if (table.processes[i].used) table.remove(i);
  }
  for (std::uint32_t i = 0; i < kMaxRevisions; ++i)
    table.clear(table.revisions[i]);
  for (std::uint32_t i = 0; i < kMaxHeld; ++i) {
    if (table.held[i].name[0] != '\0') close_fd(table.held[i].fd);
    table.held[i] = HeldRecord();
  }
  close_fd(keeper->role.socket);
  close(ends[1]);
  close(keeper->epoll);
  const int next = dup(0);  // the lowest free number: it does not grow if nothing leaks
  close(next);
  if (next > 64) std::abort();
  return 0;
}
