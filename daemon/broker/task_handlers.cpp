#include "daemon/broker/task_handlers.h"

#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "common/task_methods.h"
#include "daemon/broker/broker.h"
#include "daemon/broker/model/vocabulary.h"
#include "daemon/broker/task_json.h"

namespace mtd::broker {
namespace {

using control::Call;
using nlohmann::json;
using CallRef = std::shared_ptr<Call>;

constexpr std::uint32_t kMostListed = 10'000;
// Of tasks that one call revives or removes by the state they are in.
constexpr std::uint32_t kMostAtOnce = 10'000;

std::string text_of(const CallRef& call, const char* name) {
  return call->parameters().value(name, std::string());
}

std::vector<task::TaskId> ids_of(const CallRef& call) {
  std::vector<task::TaskId> ids;
  const auto found = call->parameters().find("ids");
  if (found == call->parameters().end()) return ids;
  for (const auto& id : *found) {
    if (id.get<std::int64_t>() > 0) ids.push_back({id.get<std::uint64_t>()});
  }
  return ids;
}

void invalid(const CallRef& call, const char* parameter, const std::string& message) {
  call->error("org.varlink.service.InvalidParameter",
              {{"parameter", parameter}, {"message", message}});
}

bool answered_error(const CallRef& call, const task::StoreReply& reply) {
  if (reply.error.empty()) return false;
  call->error("StoreFailed", {{"message", reply.error}});
  return true;
}

class TaskHandlers final : public control::Dispatcher {
 public:
  explicit TaskHandlers(Broker& broker) : broker_(broker) {}

  void dispatch(CallRef call) override {
    static constexpr std::array kRows{
        Row{"Stats", &TaskHandlers::stats}, Row{"List", &TaskHandlers::list},
        Row{"Show", &TaskHandlers::show},   Row{"Cancel", &TaskHandlers::cancel},
        Row{"Retry", &TaskHandlers::retry}, Row{"Remove", &TaskHandlers::remove},
        Row{"Pause", &TaskHandlers::pause}, Row{"Resume", &TaskHandlers::resume},
        Row{"Drain", &TaskHandlers::drain}, Row{"Open", &TaskHandlers::open},
    };
    static_assert(kRows.size() == control::kTaskMethods.size(), "every method has a handler");
    for (const auto& row : kRows) {
      if (row.method == call->method().name) return (this->*row.handler)(call);
    }
    call->error("org.varlink.service.MethodNotImplemented", {{"method", call->method().name}});
  }

 private:
  struct Row {
    std::string_view method;
    void (TaskHandlers::*handler)(const CallRef&);
  };

  // The pool that the call names, or it has been answered with NoSuchPool.
  QueueRunner* needed_pool(const CallRef& call) {
    const std::string name = text_of(call, "pool");
    QueueRunner* queue = broker_.queues().find(name);
    if (queue == nullptr) call->error("NoSuchPool", {{"pool", name}});
    return queue;
  }

  void stats(const CallRef& call) {
    const std::string name = text_of(call, "pool");
    if (!name.empty() && needed_pool(call) == nullptr) return;
    broker_.store().ask(task::DescribeStore{}, [this, call, name](const task::StoreReply& reply) {
      json pools = json::array();
      for (const auto& [pool, queue] : broker_.queues().all()) {
        if ((name.empty() || name == pool) && broker_.queues().is_present(*queue))
          pools.push_back(queue_json(*queue, broker_.now().wall));
      }
      call->reply({{"pools", pools}, {"store", store_json(reply.description)}});
    });
  }

  void list(const CallRef& call) {
    const json& parameters = call->parameters();
    task::ListTasks question;
    question.with_answer = true;  // for what went wrong; results are not told
    question.filter.pool = text_of(call, "pool");
    question.filter.group = text_of(call, "group");
    const auto limit = parameters.value("limit", std::int64_t{1000});
    const auto after = parameters.value("after", std::int64_t{0});
    if (limit < 1 || limit > kMostListed)
      return invalid(call, "limit", "limit is from 1 to " + std::to_string(kMostListed));
    question.filter.limit = static_cast<std::uint32_t>(limit);
    question.filter.after = {static_cast<std::uint64_t>(std::max<std::int64_t>(after, 0))};
    for (const auto& name : parameters.value("states", json::array())) {
      const auto state = task::task_state_of(name.get<std::string>());
      if (!state) {
        return invalid(call, "states",
                       "there is no state \"" +
                           escape_for_terminal(name.get<std::string>().substr(0, 64)) +
                           "\"; there are scheduled, waiting, running, done, dead, cancelled and "
                           "expired");
      }
      question.filter.states.push_back(*state);
    }
    const std::string asked = after > 0 ? std::string() : question.filter.pool;
    broker_.store().ask(question, [this, call, asked](const task::StoreReply& reply) {
      if (answered_error(call, reply)) return;
      // Tasks of a pool that has left the configuration are listed; a name nobody knows is told.
      if (reply.tasks.empty() && !asked.empty() && broker_.queues().find(asked) == nullptr)
        return call->error("NoSuchPool", {{"pool", asked}});
      json tasks = json::array();
      for (const auto& found : reply.tasks)
        tasks.push_back(task_json(found, broker_.clients().progress_of(found.row.facts.id), false));
      call->reply({{"tasks", tasks}});
    });
  }

  void show(const CallRef& call) {
    task::FindTask question;
    question.uid = text_of(call, "uid");
    const auto id = call->parameters().value("id", std::int64_t{0});
    if ((id > 0) != question.uid.empty())
      return invalid(call, "id", "a task is named by id, which is above 0, or by uid");
    question.id = {static_cast<std::uint64_t>(std::max<std::int64_t>(id, 0))};
    question.with_answer = question.with_history = true;
    broker_.store().ask(question, [this, call](const task::StoreReply& reply) {
      if (answered_error(call, reply)) return;
      if (reply.tasks.empty()) {
        call->error("NoSuchTask", {{"message", "there is no such task, or no more"}});
        return;
      }
      const auto& found = reply.tasks.front();
      call->reply(
          {{"task", task_json(found, broker_.clients().progress_of(found.row.facts.id), true)}});
    });
  }

  // Each queue is asked for what it may hold of it; the last answer is the call's.
  void cancel(const CallRef& call) {
    const std::vector<task::TaskId> ids = ids_of(call);
    const std::string group = text_of(call, "group"), pool = text_of(call, "pool");
    if (ids.empty() && group.empty() && pool.empty())
      return invalid(call, "ids", "tasks are named by ids, group or pool");
    if (!pool.empty() && needed_pool(call) == nullptr) return;
    struct Sum {
      std::size_t open = 1, wanted = 0;
      std::uint32_t cancelled = 0, asked = 0;
    };
    auto sum = std::make_shared<Sum>();
    sum->wanted = ids.size();
    const auto answer = [call, sum] {
      if (--sum->open > 0) return;
      const std::size_t met = sum->cancelled + sum->asked;
      call->reply({{"cancelled", sum->cancelled},
                   {"asked", sum->asked},
                   {"finished", sum->wanted > met ? sum->wanted - met : 0}});
    };
    for (const auto& [name, queue] : broker_.queues().all()) {
      if (!pool.empty() && pool != name) continue;
      task::Cancel cancel;
      for (const task::TaskId id : ids) {
        if (queue->queue().find(id)) cancel.ids.push_back(id);
      }
      cancel.group = group;
      cancel.whole_pool = ids.empty() && group.empty();
      cancel.now = call->parameters().value("now", false);
      if (cancel.ids.empty() && cancel.group.empty() && !cancel.whole_pool) continue;
      ++sum->open;
      broker_.requests().cancel(*queue, std::move(cancel),
                                [sum, answer](const task::CancelAnswered& done) {
                                  sum->cancelled += done.cancelled;
                                  sum->asked += done.asked;
                                  answer();
                                });
    }
    answer();
  }

  void retry(const CallRef& call) {
    const std::vector<task::TaskId> ids = ids_of(call);
    if (!ids.empty()) return revive(call, ids);
    if (needed_pool(call) == nullptr) return;
    task::ListTasks question;
    question.filter.pool = text_of(call, "pool");
    question.filter.states = {task::TaskState::dead};
    question.filter.limit = kMostAtOnce;
    broker_.store().ask(question, [this, call](const task::StoreReply& reply) {
      if (answered_error(call, reply)) return;
      std::vector<task::TaskId> dead;
      for (const auto& found : reply.tasks)
        dead.push_back(found.row.facts.id);
      revive(call, dead);
    });
  }

  // The store knows whose each task is.
  void revive(const CallRef& call, const std::vector<task::TaskId>& ids) {
    struct Sum {
      std::size_t open = 1, count = 0;
    };
    auto sum = std::make_shared<Sum>();
    const auto answer = [call, sum] {
      if (--sum->open == 0) call->reply({{"count", sum->count}});
    };
    for (const task::TaskId id : ids) {
      ++sum->open;
      task::FindTask question;
      question.id = id;
      broker_.store().ask(question, [this, sum, answer, id](const task::StoreReply& reply) {
        QueueRunner* queue =
            reply.tasks.empty() ? nullptr : broker_.queues().find(reply.tasks.front().row.pool);
        if (queue == nullptr) return answer();
        broker_.requests().revive(*queue, id, [sum, answer](bool revived) {
          sum->count += revived ? 1 : 0;
          answer();
        });
      });
    }
    answer();
  }

  void remove(const CallRef& call) {
    task::RemoveTasks question;
    question.filter.pool = text_of(call, "pool");
    question.filter.group = text_of(call, "group");
    question.filter.limit = kMostAtOnce;
    const std::vector<task::TaskId> ids = ids_of(call);
    if (ids.empty() && question.filter.pool.empty() && question.filter.group.empty())
      return invalid(call, "ids", "tasks are named by ids, group or pool");
    if (!question.filter.pool.empty() && needed_pool(call) == nullptr) return;
    if (!ids.empty()) return remove_ids(call, ids);
    question.filter.states = {task::TaskState::dead};
    if (!question.filter.group.empty()) {
      question.filter.states = {task::TaskState::done, task::TaskState::dead,
                                task::TaskState::cancelled, task::TaskState::expired};
    }
    broker_.store().ask(question, [call](const task::StoreReply& reply) {
      if (!answered_error(call, reply)) call->reply({{"count", reply.removed}});
    });
  }

  // One by one, as the store's questions name single tasks: those that have ended are removed.
  void remove_ids(const CallRef& call, const std::vector<task::TaskId>& ids) {
    struct Sum {
      std::size_t open = 1;
      std::vector<task::TaskId> ended;
    };
    auto sum = std::make_shared<Sum>();
    const auto answer = [this, call, sum] {
      if (--sum->open > 0) return;
      const std::size_t count = sum->ended.size();
      if (count > 0) broker_.store().remove(std::move(sum->ended));
      call->reply({{"count", count}});
    };
    for (const task::TaskId id : ids) {
      ++sum->open;
      task::FindTask question;
      question.id = id;
      broker_.store().ask(question, [sum, answer, id](const task::StoreReply& reply) {
        if (!reply.tasks.empty() && task::is_final(reply.tasks.front().row.facts.state))
          sum->ended.push_back(id);
        answer();
      });
    }
    answer();
  }

  void pause(const CallRef& call) {
    QueueRunner* queue = needed_pool(call);
    if (queue == nullptr) return;
    queue->operate(task::Pause{});
    call->reply(json::object());
  }

  void resume(const CallRef& call) {
    QueueRunner* queue = needed_pool(call);
    if (queue == nullptr) return;
    queue->operate(task::Resume{});
    call->reply(json::object());
  }

  void drain(const CallRef& call) {
    QueueRunner* queue = needed_pool(call);
    if (queue == nullptr) return;
    if (call->parameters().value("close", false)) queue->operate(task::Close{});
    const task::QueueView view = queue->queue().view();
    const std::uint64_t remaining = view.waiting + view.scheduled + view.running + view.entering;
    if (remaining == 0 || !call->parameters().value("wait", true)) {
      call->reply({{"remaining", remaining}});
      return;
    }
    broker_.when_drained(queue->pool(), call);
  }

  void open(const CallRef& call) {
    json pools = json::array();
    for (const auto& [name, queue] : broker_.queues().all()) {
      if (broker_.queues().is_present(*queue)) pools.push_back(name);
    }
    call->hand_over(
        {{"proto", kTaskProtocol}, {"max_body", broker_.queues().max_body()}, {"pools", pools}},
        [this](UniqueFd socket, std::string unread) {
          broker_.clients().open(std::move(socket), std::move(unread));
        });
  }

  Broker& broker_;
};

}  // namespace

std::unique_ptr<control::Dispatcher> make_task_handlers(Broker& broker) {
  return std::make_unique<TaskHandlers>(broker);
}

}  // namespace mtd::broker
