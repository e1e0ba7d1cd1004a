#include "daemon/supervisor/prober.h"

#include <utility>

#include "common/exit_status.h"
#include "config/expand.h"
#include "config/probe_target.h"

namespace mtd::supervisor {
namespace {

using Kind = sys::ProbeAnswer::Kind;

Result<config::ProbeTarget> target_of(const config::ProbeSpec& spec, std::uint32_t slot,
                                      std::uint64_t incarnation) {
  const auto own = [&](const std::string& marked) {
    return config::unmarked(config::for_worker(marked, slot, incarnation));
  };
  if (!spec.http.empty()) return config::parse_http_target(own(spec.http));
  if (!spec.tcp.empty()) return config::parse_tcp_target(own(spec.tcp));
  return config::parse_unix_target(own(spec.unix_path));
}

sys::ProbedServer server_of(const config::ProbeTarget& target) {
  sys::ProbedServer server{target.address, target.port, target.socket, {}};
  if (!target.request.empty()) {
    server.request = "GET " + target.request + " HTTP/1.1\r\nHost: " + target.host +
                     "\r\nUser-Agent: mtd\r\nAccept: */*\r\nConnection: close\r\n\r\n";
  }
  return server;
}

sys::ProbeAnswer answer_of(const ErrandEnd& end) {
  switch (end.kind) {
    case ErrandEnd::Kind::exited: {
      const auto status = ExitStatus::from_wait(end.wait_status);
      if (status.code() == 0) return {Kind::passed, {}};
      return {Kind::failed, "the command ended with " + status.text()};
    }
    case ErrandEnd::Kind::timed_out:
      return {Kind::failed, "the command " + end.text};
    case ErrandEnd::Kind::failed:
      return {Kind::failed, "the command could not be run: " + end.text};
    case ErrandEnd::Kind::not_started:
      return {Kind::unknown, "the command could not be started: " + end.text};
  }
  return {Kind::unknown, {}};
}

}  // namespace

Prober::Id Prober::id_of(const Subject& subject) {
  return {subject.worker.pool, subject.worker.slot, subject.worker.incarnation, subject.role};
}

const config::ProbeSpec& Prober::spec_of(const Question& question) {
  const auto& probes = question.pool->spec().probes;
  return question.subject.role == model::ProbeRole::live ? probes.live : probes.ready;
}

void Prober::ask(const model::Pool& pool, const Subject& subject, Done done) {
  const Id id = id_of(subject);
  if (const auto older = questions_.find(id); older != questions_.end()) drop(older);
  Question& question = questions_[id];
  question.pool = &pool;
  question.subject = subject;
  question.done = std::move(done);
  question.is_command = !spec_of(question).exec.empty();
  (question.is_command ? commands_waiting_ : connections_waiting_).push_back(id);
  begin_waiting();
}

void Prober::begin_waiting() {
  const auto begin_from = [this](std::deque<Id>& waiting, const std::size_t& under_way,
                                 std::size_t most) {
    while (!waiting.empty() && under_way < most) {
      const Id id = waiting.front();
      waiting.pop_front();
      const auto found = questions_.find(id);
      if (found != questions_.end() && !found->second.begun) begin(id, found->second);
    }
  };
  begin_from(connections_waiting_, connections_, kMaxConnections);
  begin_from(commands_waiting_, commands_, kMaxCommands);
}

void Prober::begin(const Id& id, Question& question) {
  question.begun = true;
  ++(question.is_command ? commands_ : connections_);
  question.is_command ? begin_command(id, question) : begin_connection(id, question);
}

void Prober::begin_connection(const Id& id, Question& question) {
  const auto& spec = spec_of(question);
  const auto& worker = question.subject.worker;
  const auto target = target_of(spec, worker.slot, worker.incarnation);
  const auto tell = [this, id](const sys::ProbeAnswer& answer) { finish(id, answer); };
  if (!target) {  // of this worker alone: a longer number makes a port too large
    loop_.post(sys::Priority::normal, [tell, text = target.error().message] {
      tell({Kind::failed, text});
    });
    return;
  }
  question.connection = sys::ConnectionProbe::start(loop_, server_of(*target), spec.timeout, tell);
}

void Prober::begin_command(const Id& id, Question& question) {
  const auto& spec = spec_of(question);
  const auto& worker = question.subject.worker;
  const auto hanging = hanging_.find(id);
  if (hanging != hanging_.end() && errands_.is_living(hanging->second)) {
    loop_.post(sys::Priority::normal, [this, id] {
      finish(id, {Kind::failed, "the last command does not end even by SIGKILL"});
    });
    return;
  }
  hanging_.erase(id);
  Errand errand;
  errand.command = spec.exec;
  errand.executable = spec.executable;
  errand.slot = worker.slot;
  errand.incarnation = worker.incarnation;
  errand.environment = {"MTD_PID=" + std::to_string(question.subject.pid)};
  errand.timeout = spec.timeout;
  question.errand = errands_.start(question.pool->spec(), errand, [this, id](const ErrandEnd& end) {
    const auto found = questions_.find(id);
    if (found != questions_.end() && end.kind == ErrandEnd::Kind::timed_out)
      hanging_[id] = found->second.errand;
    finish(id, answer_of(end));
  });
}

void Prober::finish(const Id& id, const sys::ProbeAnswer& answer) {
  const auto found = questions_.find(id);
  if (found == questions_.end() || !found->second.begun) return;
  const Done done = std::move(found->second.done);
  found->second.errand = 0;
  drop(found);
  if (done) done(answer);
  begin_waiting();
}

void Prober::drop(std::map<Id, Question>::iterator question) {
  if (question->second.begun) --(question->second.is_command ? commands_ : connections_);
  if (question->second.errand != 0) errands_.cancel(question->second.errand);
  questions_.erase(question);
}

void Prober::cancel(const keeper::Key& worker) {
  for (const auto role : {model::ProbeRole::live, model::ProbeRole::ready}) {
    const Id id{worker.pool, worker.slot, worker.incarnation, role};
    const auto found = questions_.find(id);
    if (found != questions_.end()) drop(found);
    hanging_.erase(id);
  }
  begin_waiting();
}

}  // namespace mtd::supervisor
