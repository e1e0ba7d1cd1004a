// The conversation with the role: requests are read only while answers can be written, and
// everything that is to be told is read from the table at the moment the socket takes it.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "daemon/keeper/keeper.h"

namespace mtd::keeper {
namespace {

constexpr int kRequestsPerTurn = 64;
constexpr std::size_t kMaxPassed = 253;  // SCM_MAX_FD
constexpr std::int64_t kUnreadCheck = 5 * kSecond;

struct Request {
  alignas(8) char bytes[sizeof(Notify) + 8] = {};
  std::size_t size = 0;
  int fds[kMaxPassed] = {};
  std::uint32_t fd_count = 0;
  bool too_long = false, descriptors_lost = false;

  [[nodiscard]] const Header& header() const { return *reinterpret_cast<const Header*>(bytes); }
  template <class T>
  [[nodiscard]] const T& as() const {
    return *reinterpret_cast<const T*>(bytes);
  }
  // Takes descriptor `i` out, so that it is not closed with the others.
  int take(std::uint32_t i) {
    const int fd = fds[i];
    fds[i] = -1;
    return fd;
  }
  void close_rest() {
    for (std::uint32_t i = 0; i < fd_count; ++i)
      close_fd(fds[i]);
  }
};

enum class Received { request, nothing, gone };

void collect_descriptors(msghdr& message, Request& request) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count && request.fd_count < kMaxPassed; ++i) {
      std::memcpy(&request.fds[request.fd_count++], CMSG_DATA(part) + i * sizeof(int), sizeof(int));
    }
  }
}

Received receive(int socket, Request& request) {
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxPassed * sizeof(int))];
  iovec part{request.bytes, sizeof request.bytes};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size = 0;
  do {
    size = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size < 0) return errno == EAGAIN ? Received::nothing : Received::gone;
  collect_descriptors(message, request);
  if (size == 0) {
    request.close_rest();
    return Received::gone;
  }
  request.size = static_cast<std::size_t>(size);
  request.too_long = (message.msg_flags & MSG_TRUNC) != 0;
  request.descriptors_lost = (message.msg_flags & MSG_CTRUNC) != 0;
  return Received::request;
}

// The size of a request of this type; 0: there is no such request.
std::size_t size_of(Type type) {
  switch (type) {
    case Type::list:
      return sizeof(List);
    case Type::revision:
      return sizeof(Revision);
    case Type::forget:
      return sizeof(Forget);
    case Type::spawn:
      return sizeof(Spawn);
    case Type::signal:
      return sizeof(Signal);
    case Type::release:
      return sizeof(Release);
    case Type::hold:
      return sizeof(Hold);
    case Type::fetch:
      return sizeof(Fetch);
    case Type::drop:
      return sizeof(Drop);
    case Type::ready:
      return sizeof(Ready);
    case Type::notify:
      return sizeof(Notify);
    case Type::finish:
      return sizeof(Finish);
    case Type::pong:
      return sizeof(Pong);
    case Type::hello:
    case Type::ack:
    case Type::entry:
    case Type::list_end:
    case Type::held:
    case Type::orphans:
    case Type::daemon_signal:
    case Type::ping:
      break;
  }
  return 0;
}

void answer(Keeper& keeper, const Request& request, int error) {
  Role& role = keeper.role;
  role.answer.ack = Ack{};
  role.answer.ack.header.type = Type::ack;
  role.answer.ack.header.size = sizeof(Ack);
  role.answer.ack.header.serial = request.size >= sizeof(Header) ? request.header().serial : 0;
  role.answer.ack.error = error;
  role.answer_waiting = true;
}

// A free place; failing that one that an earlier life of the role left.
RevisionRecord* place_for_revision(Keeper& keeper) {
  RevisionRecord* old = nullptr;
  for (std::uint32_t i = 0; i < kMaxRevisions; ++i) {
    RevisionRecord& record = keeper.table.revisions[i];
    if (record.size == 0) return &record;
    if (record.epoch != keeper.role.epoch) old = &record;
  }
  if (old != nullptr) keeper.table.clear(*old);
  return old;
}

// Copies the spec, so that nobody can change or shorten it under the keeper's feet.
int read_spec(int memory, char* to, std::uint32_t size) {
  std::uint32_t done = 0;
  while (done < size) {
    const ssize_t n = pread(memory, to + done, size - done, done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return EINVAL;
    done += static_cast<std::uint32_t>(n);
  }
  return 0;
}

int store_revision(Keeper& keeper, Request& request) {
  const auto& message = request.as<Revision>();
  if (message.spec_bytes == 0 || message.spec_bytes > kMaxSpecBytes) return EMSGSIZE;
  if (message.descriptors > kMaxDescriptors) return EINVAL;
  if (request.fd_count != message.descriptors + 1) return EINVAL;
  struct Reset {
    Table& table;
    RevisionRecord& record;
    bool armed = true;
    ~Reset() {
      if (armed) table.clear(record);
    }
  };
  if (!(fcntl(request.fds[0], F_GET_SEALS) & F_SEAL_WRITE))
    return EINVAL;  // a memfd: reading is quick
  RevisionRecord* same = keeper.table.revision(message.id);
  if (same != nullptr) keeper.table.clear(*same);
  RevisionRecord* record = same != nullptr ? same : place_for_revision(keeper);
  if (record == nullptr) return ENOSPC;
  record->id = message.id;
  record->epoch = keeper.role.epoch;
  record->size = message.spec_bytes;
  Reset reset{keeper.table, *record};
  char* const bytes = keeper.table.spec_of(*record);
  if (const int error = read_spec(request.fds[0], bytes, message.spec_bytes); error != 0)
    return error;
  const sys::SpecView spec(bytes, message.spec_bytes);
  if (!spec.valid(message.descriptors)) return EINVAL;
  const std::uint32_t count = spec.header().descriptors;
  const int highest = count == 0 ? 2 : spec.descriptors()[count - 1].child;
  for (std::uint32_t i = 0; i < message.descriptors; ++i) {
    int fd = request.take(i + 1);
    if (fd <= highest) {  // the child must not overwrite a source before it was copied
      const int moved = fcntl(fd, F_DUPFD_CLOEXEC, highest + 1);
      const int error = errno;
      close_fd(fd);
      if (moved < 0) return error;
      fd = moved;
    }
    record->fds[record->descriptors++] = fd;
  }
  reset.armed = false;
  return 0;
}

// 0: answered by the entry.
int start_process(Keeper& keeper, Request& request) {
  const auto& message = request.as<Spawn>();
  Table& table = keeper.table;
  std::uint32_t index = table.find(message.key);
  if (index == kNone) {
    const RevisionRecord* revision = table.revision(message.revision);
    if (message.setup_timeout_ms == 0 || message.setup_timeout_ms > 600'000) return EINVAL;
    if (message.has_cgroup > 1) return EINVAL;
    if (keeper.role.epoch > 1 && !keeper.role.listed) return EPROTO;  // first hear what is there
    if (keeper.ending != Ending::no) return ESHUTDOWN;
    if (revision == nullptr) return ENOENT;
    if (!request.descriptors_lost && request.fd_count != message.has_cgroup) return EINVAL;
    index = table.add(message.key);
    if (index == kNone) return ENOSPC;
    Entry& entry = table.processes[index].message;
    std::memcpy(entry.label, message.label, kLabelBytes);
    if (request.descriptors_lost) {
      entry.revision = message.revision;
      entry.state = EntryState::failed;
      entry.stage = Stage::descriptors;
      entry.error = EMFILE;
      table.changed(index);
    } else {
      spawn(keeper, index, *revision, message.has_cgroup != 0 ? request.fds[0] : -1,
            message.setup_timeout_ms);
    }
  }
  Header& head = table.processes[index].message.header;
  if (head.serial != 0) write_out(keeper);  // asked for twice in one turn: two answers
  if (head.serial != 0) return EAGAIN;
  head.serial = request.header().serial;
  table.touch(index);
  return 0;
}

int send_signal(Keeper& keeper, const Signal& message) {
  if (message.signal < 1 || message.signal > 64) return EINVAL;
  if (message.scope != Scope::process && message.scope != Scope::group) return EINVAL;
  if (keeper.role.epoch > 1 && !keeper.role.listed) return EPROTO;
  const std::uint32_t index = keeper.table.find(message.key);
  if (index == kNone) return ESRCH;
  Entry& entry = keeper.table.processes[index].message;
  if (entry.state == EntryState::failed || entry.state == EntryState::exited) return ESRCH;
  // Unreaped, so pid and group can be no one else's. Before its setsid the child has no group yet.
  int done = kill(message.scope == Scope::group ? -entry.pid : entry.pid, message.signal);
  if (done != 0 && errno == ESRCH && message.scope == Scope::group)
    done = kill(entry.pid, message.signal);
  if (done != 0) return errno;
  SentSignal& sent = entry.last_sent;
  sent.times = sent.signal == message.signal ? sent.times + 1 : 1;
  sent.signal = message.signal;
  sent.last_ns = keeper.now_ns;
  SentSignal& first = entry.first_sent;
  if (first.signal == 0) first.signal = message.signal;
  if (first.signal == message.signal) {
    ++first.times;
    first.last_ns = keeper.now_ns;
  }
  keeper.table.changed(index);
  return 0;
}

void release(Keeper& keeper, const Release& message) {
  const std::uint32_t index = keeper.table.find(message.key);
  if (index == kNone) return;
  const EntryState state = keeper.table.processes[index].message.state;
  if (state == EntryState::failed || state == EntryState::exited) keeper.table.remove(index);
}

bool valid_name(const char* name) {
  return name[0] != '\0' && std::memchr(name, '\0', kHoldNameBytes) != nullptr;
}

int hold(Keeper& keeper, Request& request) {
  const char* name = request.as<Hold>().name;
  if (!valid_name(name) || request.fd_count != 1) return EINVAL;
  HeldRecord* record = keeper.table.find_held(name);
  if (record == nullptr) record = keeper.table.find_held("");
  if (record == nullptr) return ENOSPC;
  if (record->name[0] != '\0') close_fd(record->fd);
  std::memcpy(record->name, name, kHoldNameBytes);  // ended by NUL: valid_name
  record->fd = request.take(0);
  return 0;
}

void fetch(Keeper& keeper, const Request& request) {
  const auto& message = request.as<Fetch>();
  const HeldRecord* record =
      valid_name(message.name) ? keeper.table.find_held(message.name) : nullptr;
  Role& role = keeper.role;
  role.answer.held = Held{};
  role.answer.held.header.type = Type::held;
  role.answer.held.header.size = sizeof(Held);
  role.answer.held.header.serial = message.header.serial;
  role.answer.held.error = record == nullptr ? ENOENT : 0;
  std::memcpy(role.answer.held.name, message.name, kHoldNameBytes);
  role.answer_fd = record == nullptr ? -1 : record->fd;  // borrowed: sent before the next request
  role.answer_waiting = true;
}

int drop(Keeper& keeper, const Drop& message) {
  HeldRecord* record = valid_name(message.name) ? keeper.table.find_held(message.name) : nullptr;
  if (record == nullptr) return ENOENT;
  close_fd(record->fd);
  std::memset(record->name, 0, kHoldNameBytes);
  return 0;
}

int forget(Keeper& keeper, std::uint64_t id) {
  RevisionRecord* record = keeper.table.revision(id);
  if (record == nullptr) return ENOENT;
  keeper.table.clear(*record);
  return 0;
}

int refuse(const Request& request) {
  if (request.too_long) return EMSGSIZE;
  if (request.size < sizeof(Header)) return EINVAL;
  const Header& header = request.header();
  if (header.version != kProtocolVersion) return EPROTO;
  const std::size_t size = size_of(header.type);
  if (size == 0) return ENOSYS;
  if (size != request.size || header.size != size) return EINVAL;
  if (request.descriptors_lost && header.type != Type::spawn) return EMFILE;
  return 0;
}

void serve(Keeper& keeper, Request& request) {
  if (const int error = refuse(request); error != 0) return answer(keeper, request, error);
  Role& role = keeper.role;
  switch (request.header().type) {
    case Type::list:
      role.list_wanted = true;
      role.list_cursor = 0;
      role.list_serial = request.header().serial;
      return;
    case Type::revision:
      return answer(keeper, request, store_revision(keeper, request));
    case Type::forget:
      return answer(keeper, request, forget(keeper, request.as<Forget>().id));
    case Type::spawn:
      if (const int error = start_process(keeper, request); error != 0)
        answer(keeper, request, error);
      return;
    case Type::signal:
      return answer(keeper, request, send_signal(keeper, request.as<Signal>()));
    case Type::release:
      return release(keeper, request.as<Release>());
    case Type::hold:
      return answer(keeper, request, hold(keeper, request));
    case Type::fetch:
      return fetch(keeper, request);
    case Type::drop:
      return answer(keeper, request, drop(keeper, request.as<Drop>()));
    case Type::ready:
      role.ready = true;
      return announce_ready(keeper);
    case Type::notify: {
      char text[kNotifyTextBytes];
      std::memcpy(text, request.as<Notify>().text, sizeof text);
      text[sizeof text - 1] = '\0';
      notify_manager(keeper, text);
      return;
    }
    case Type::finish:
      return begin_ending(keeper, Ending::killing, request.as<Finish>().code);
    case Type::pong:
      role.pong_by_ns = kNever;
      if (!keeper.role.ping_wanted) keeper.stop_ack_by_ns = kNever;
      if (keeper.settings.watchdog_usec != 0) notify_manager(keeper, "WATCHDOG=1");
      return;
    case Type::hello:
    case Type::ack:
    case Type::entry:
    case Type::list_end:
    case Type::held:
    case Type::orphans:
    case Type::daemon_signal:
    case Type::ping:
      return;  // refused above
  }
}

// False when the socket does not take it now.
bool send_message(Keeper& keeper, const void* bytes, std::size_t size, int fd) {
  iovec part{const_cast<void*>(bytes), size};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(head), &fd, sizeof fd);
  }
  if (sendmsg(keeper.role.socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) return false;
  if (keeper.role.unread_check_ns == kNever)
    keeper.role.unread_check_ns = keeper.now_ns + kUnreadCheck;
  return true;
}

bool write_answer(Keeper& keeper) {
  Role& role = keeper.role;
  if (!role.answer_waiting) return true;
  const std::uint32_t size = role.answer.ack.header.size;
  if (!send_message(keeper, &role.answer, size, role.answer_fd)) return false;
  role.answer_waiting = false;
  role.answer_fd = -1;
  return true;
}

bool write_entry(Keeper& keeper, std::uint32_t index) {
  Entry& entry = keeper.table.processes[index].message;
  if (!send_message(keeper, &entry, sizeof entry, -1)) return false;
  entry.header.serial = 0;
  return true;
}

bool write_list(Keeper& keeper) {
  Role& role = keeper.role;
  if (!role.list_wanted) return true;
  for (; role.list_cursor < keeper.table.high_water; ++role.list_cursor) {
    if (!keeper.table.processes[role.list_cursor].used) continue;
    if (!write_entry(keeper, role.list_cursor)) return false;
  }
  ListEnd end;
  end.header.type = Type::list_end;
  end.header.size = sizeof end;
  end.header.serial = role.list_serial;
  end.sequence = keeper.table.change;
  if (!send_message(keeper, &end, sizeof end, -1)) return false;
  role.list_wanted = false;
  role.listed = true;
  return true;
}

bool write_unasked(Keeper& keeper) {
  Role& role = keeper.role;
  while (keeper.pending_count > 0) {
    if (!send_message(keeper, &keeper.pending[0], sizeof(DaemonSignal), -1)) return false;
    std::memmove(&keeper.pending[0], &keeper.pending[1],
                 --keeper.pending_count * sizeof(DaemonSignal));
  }
  if (role.ping_wanted) {
    Ping ping;
    ping.header.type = Type::ping;
    ping.header.size = sizeof ping;
    if (!send_message(keeper, &ping, sizeof ping, -1)) return false;
    role.ping_wanted = false;
  }
  if (role.orphans_wanted) {
    keeper.orphans.header.type = Type::orphans;
    keeper.orphans.header.size = sizeof(Orphans);
    if (!send_message(keeper, &keeper.orphans, sizeof(Orphans), -1)) return false;
    role.orphans_wanted = false;
  }
  return true;
}

bool write_dirty(Keeper& keeper) {
  for (std::uint32_t i = keeper.table.dirty_head; i != kNone; i = keeper.table.dirty_head) {
    if (!write_entry(keeper, i)) return false;
    keeper.table.take_dirty();
  }
  return true;
}

}  // namespace

void read_requests(Keeper& keeper) {
  for (int i = 0; i < kRequestsPerTurn && keeper.role.socket >= 0 && keeper.role.reading; ++i) {
    Request request;
    switch (receive(keeper.role.socket, request)) {
      case Received::nothing:
        return;
      case Received::gone:
        return drop_session(keeper);
      case Received::request:
        break;
    }
    serve(keeper, request);
    request.close_rest();
    // An answer of its own goes out before the next request is read; entries are gathered for a
    // turn.
    if (keeper.role.answer_waiting || keeper.role.list_wanted) write_out(keeper);
  }
}

void write_out(Keeper& keeper) {
  Role& role = keeper.role;
  if (role.socket < 0) return;
  const bool all =
      write_answer(keeper) && write_unasked(keeper) && write_list(keeper) && write_dirty(keeper);
  if (all == role.reading) return;
  role.reading = all;
  epoll_event event{};
  event.events = all ? EPOLLIN : EPOLLOUT;
  event.data.u64 = static_cast<std::uint64_t>(Watched::role_socket) << 32;
  epoll_ctl(keeper.epoll, EPOLL_CTL_MOD, role.socket, &event);
}

void discard_requests(Keeper& keeper) {
  for (;;) {
    Request request;
    if (keeper.role.socket < 0 || receive(keeper.role.socket, request) != Received::request) return;
    request.close_rest();
    if (refuse(request) != 0 || request.header().type != Type::finish) continue;
    begin_ending(keeper, Ending::killing, request.as<Finish>().code);
  }
}

void send_hello(Keeper& keeper) {
  const Settings& settings = keeper.settings;
  Hello hello;
  hello.header.type = Type::hello;
  hello.header.size = sizeof hello;
  hello.epoch = keeper.role.epoch;
  hello.instance = settings.instance;
  hello.keeper_started_ns = settings.started_ns;
  hello.keeper_started_boot_ns = settings.started_boot_ns;
  hello.capacity = keeper.table.capacity;
  hello.keeper_pid = getpid();
  hello.entries = keeper.table.used;
  hello.under_service_manager = settings.notify_socket != nullptr ? 1 : 0;
  hello.watchdog_usec = settings.watchdog_usec;
  hello.original_nofile_soft = settings.original_nofile_soft;
  hello.original_oom_score_adj = settings.original_oom_score_adj;
  hello.is_pid1 = settings.pid1 ? 1 : 0;
  hello.subreaper = settings.subreaper ? 1 : 0;
  (void)send_message(keeper, &hello, sizeof hello, -1);  // the first into an empty socket
}

void push_daemon_signal(Keeper& keeper, const DaemonSignal& signal) {
  if (keeper.pending_count == kPendingSignals) return;  // the role does not even read: dropped
  keeper.pending[keeper.pending_count++] = signal;
}

}  // namespace mtd::keeper
