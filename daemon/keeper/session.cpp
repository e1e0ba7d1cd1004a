// The conversation with the role: requests are read only while answers can be written.
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "daemon/keeper/request.h"

namespace mtd::keeper {
namespace {

constexpr int kRequestsPerTurn = 64;

void answer(Keeper& keeper, const Request& request, int error) {
  Role& role = keeper.role;
  role.answer.ack = Ack{};
  role.answer.ack.header.type = Type::ack;
  role.answer.ack.header.size = sizeof(Ack);
  role.answer.ack.header.serial = request.size >= sizeof(Header) ? request.header().serial : 0;
  role.answer.ack.error = error;
  role.answer_waiting = true;
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
    if (!request.descriptors_lost && request.fd_count != message.has_cgroup + revision->own)
      return EINVAL;
    const sys::SpecView spec(table.spec_of(*revision), revision->size);
    for (std::uint32_t i = message.has_cgroup; i < request.fd_count; ++i) {
      if (const int error = lift(request.fds[i], spec); error != 0) return error;
    }
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
      spawn(keeper, index, *revision,
            {message.has_cgroup != 0 ? request.fds[0] : -1, request.fds + message.has_cgroup,
             message.setup_timeout_ms});
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
      keeper.deaths.untold = 0;
      if (role.knows_upgrade) keeper.upgrade.state.fresh = 0;
      if (keeper.reload_unheard.signal != 0) ask_for_pong(keeper);
      upgrade_role_ready(keeper);
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
      if (request.header().serial != role.ping_serial) return;  // what came later is unheard
      keeper.stop_ack_by_ns = kNever;
      if (role.ready) keeper.reload_unheard.signal = 0;
      return;
    case Type::snapshot:
      return snapshot(keeper, request);
    case Type::upgrade:
      return answer(keeper, request, begin_upgrade(keeper, request));
    case Type::hello:
    case Type::ack:
    case Type::entry:
    case Type::list_end:
    case Type::held:
    case Type::orphans:
    case Type::daemon_signal:
    case Type::ping:
    case Type::deaths:
    case Type::programs:
    case Type::upgrade_state:
      return;  // refused above
  }
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

void discard_requests(Keeper& keeper) {
  for (;;) {
    Request request;
    if (keeper.role.socket < 0 || receive(keeper.role.socket, request) != Received::request) return;
    request.close_rest();
    if (refuse(request) != 0 || request.header().type != Type::finish) continue;
    begin_ending(keeper, Ending::killing, request.as<Finish>().code);
  }
}

}  // namespace mtd::keeper
