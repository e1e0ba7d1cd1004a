// Conversations of any bytes and descriptors, and of nearly right requests, over several lives of
// the role, read or not: the keeper may refuse, it must not crash, leak a descriptor, or lose count
// of its table. Processes are replaced by entries that
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
void spawn(Keeper& keeper, std::uint32_t index, const RevisionRecord&, const Given&) {
  Entry& entry = keeper.table.processes[index].message;
  entry.state = EntryState::failed;
  entry.stage = Stage::clone;
  entry.error = EAGAIN;
  keeper.table.changed(index);
}
void announce_ready(Keeper&) {}
void ask_for_pong(Keeper& keeper) {
  keeper.role.ping_wanted = true;
  ++keeper.role.ping_serial;
}
bool notify_manager(const Keeper&, const char*) {
  return true;
}
UpgradeFault hand_over(Keeper&, int&) {
  return UpgradeFault::not_executed;
}
void begin_ending(Keeper&, Ending, int) {}
void drop_session(Keeper& keeper) {
  close_fd(keeper.role.socket);
}

}  // namespace mtd::keeper

namespace {

using namespace mtd::keeper;

// What a fuzzer does not come upon by itself: the right size, version and type.
void make_plausible(char* bytes, std::size_t& size, unsigned choice) {
  struct Form {
    Type type;
    std::size_t size;
  };
  static constexpr Form kForms[] = {
      {Type::list, sizeof(List)},        {Type::revision, sizeof(Revision)},
      {Type::forget, sizeof(Forget)},    {Type::spawn, sizeof(Spawn)},
      {Type::signal, sizeof(Signal)},    {Type::release, sizeof(Release)},
      {Type::hold, sizeof(Hold)},        {Type::fetch, sizeof(Fetch)},
      {Type::drop, sizeof(Drop)},        {Type::ready, sizeof(Ready)},
      {Type::notify, sizeof(Notify)},    {Type::pong, sizeof(Pong)},
      {Type::revision, sizeof(Revision)}};
  const Form& form = kForms[choice % (sizeof kForms / sizeof kForms[0])];
  size = form.size;
  Header header;
  std::memcpy(&header, bytes, sizeof header);
  header.type = form.type;
  header.version = kProtocolVersion;
  header.size = static_cast<std::uint32_t>(size);
  std::memcpy(bytes, &header, sizeof header);
  // Few names, so that messages meet what earlier ones left.
  if (form.type == Type::spawn || form.type == Type::signal || form.type == Type::release) {
    const Key key{1, static_cast<std::uint32_t>(bytes[16]) & 7U,
                  static_cast<std::uint64_t>(bytes[24]) & 7U};
    std::memcpy(bytes + sizeof(Header), &key, sizeof key);
  }
}

// A sealed memfd with these bytes, as a revision's spec may be.
int sealed(const std::uint8_t* data, std::size_t size) {
  const int fd = memfd_create("spec", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  (void)!write(fd, data, size);
  fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
  return fd;
}

// A spec with a right head around fuzzed fields: what valid() has to judge.
int plausible_spec(const std::uint8_t* data, std::size_t size, std::uint32_t& bytes) {
  char flat[512] = {};
  std::memcpy(flat, data, size < 400 ? size : 400);
  mtd::sys::SpecHeader head;
  std::memcpy(&head, flat, sizeof head);
  head.magic = mtd::sys::kSpecMagic;
  bytes = 256U + flat[0] % 8U;
  head.size = bytes;
  head.limits %= 4;
  head.groups %= 4;
  head.descriptors %= 4;
  std::memcpy(flat, &head, sizeof head);
  flat[bytes - 1] = '\0';
  return sealed(reinterpret_cast<std::uint8_t*>(flat), bytes);
}

void check(const Table& table) {
  std::uint32_t used = 0, dirty = 0;
  for (std::uint32_t i = 0; i < table.high_water; ++i) {
    const Process& record = table.processes[i];
    used += record.used ? 1U : 0U;
    dirty += record.dirty ? 1U : 0U;
    if (record.used && table.find(record.message.key) != i) std::abort();
  }
  if (used != table.used) std::abort();
  for (std::uint32_t i = table.dirty_head; i != kNone; i = table.processes[i].next_dirty) {
    if (!table.processes[i].used || dirty-- == 0) std::abort();
  }
  if (dirty != 0) std::abort();
}

void send_with(int socket, char* bytes, std::size_t size, const int* fds, std::size_t count) {
  iovec part{bytes, size};
  alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (count > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(count * sizeof(int));
    std::memcpy(CMSG_DATA(head), fds, count * sizeof(int));
  }
  (void)!sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void next_life(Keeper& keeper, int ends[2]) {
  close_fd(keeper.role.socket);
  close_fd(ends[1]);
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
  const std::uint64_t epoch = keeper.role.epoch + 1;
  keeper.role = Role();
  keeper.role.socket = ends[0];
  keeper.role.epoch = epoch;
  keeper.role.hello_wanted = true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Keeper* const keeper = [] {
    auto* one = new Keeper();
    if (!one->table.map(16)) std::abort();
    return one;
  }();
  int ends[2] = {-1, -1};
  keeper->role = Role();
  next_life(*keeper, ends);
  keeper->epoll = epoll_create1(EPOLL_CLOEXEC);
  // Each step: two bytes of length, one that says what it is, then the message.
  while (size > 3) {
    std::size_t length = 1 + static_cast<unsigned>(data[0] | data[1] << 8) % 1200U;
    const unsigned how = data[2];
    data += 3;
    size -= 3;
    char bytes[1536] = {};
    const std::size_t now = length < size ? length : size;
    std::memcpy(bytes, data, now);
    if (keeper->role.socket < 0 || (how & 0xf0) == 0xf0) next_life(*keeper, ends);
    int fds[4] = {ends[1], ends[1], ends[1], ends[1]};
    std::size_t count = how >> 4 & 3U;
    if ((how & 1) != 0) make_plausible(bytes, length, how >> 1 & 7U ? data[0] : 1U);
    if (length == sizeof(Revision) && (how & 1) != 0) {
      Revision revision;
      std::memcpy(static_cast<void*>(&revision), bytes, sizeof revision);
      revision.id %= 4;
      fds[0] = plausible_spec(data, now, revision.spec_bytes);
      revision.descriptors = static_cast<std::uint32_t>(count);
      ++count;
      std::memcpy(bytes, static_cast<void*>(&revision), sizeof revision);
    }
    send_with(ends[1], bytes, length, fds, count);
    if (fds[0] != ends[1]) close(fds[0]);
    data += now;
    size -= now;
    read_requests(*keeper);
    write_out(*keeper);
    char answer[1024];
    while ((how & 8) == 0 && recv(ends[1], answer, sizeof answer, MSG_DONTWAIT) > 0) {
    }  // else it does not read now
    if ((how & 8) == 0) write_out(*keeper);
    check(keeper->table);
  }
  Table& table = keeper->table;
  for (std::uint32_t i = 0; i < table.high_water; ++i) {
    if (table.processes[i].used) table.remove(i);
  }
  for (std::uint32_t i = 0; i < kMaxRevisions; ++i)
    table.clear(table.revisions[i]);
  for (std::uint32_t i = 0; i < table.held_high_water; ++i) {
    if (table.held[i].name[0] == '\0') continue;
    close_fd(table.held[i].fd);
    table.remove_held(table.held[i]);
  }
  close_fd(keeper->role.socket);
  close_fd(ends[1]);
  close(keeper->epoll);
  const int next = dup(0);  // the lowest free number: it does not grow if nothing leaks
  close(next);
  if (next > 64) std::abort();
  return 0;
}
