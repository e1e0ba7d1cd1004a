// HandlerSet: the handlers of io.mtd.Manager. control_handlers.cpp holds the table; reading calls
// are in handlers_read.cpp, calls that change something in handlers_operate.cpp.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "daemon/supervisor/control_names.h"
#include "daemon/supervisor/goals.h"
#include "daemon/supervisor/selection.h"

namespace mtd::supervisor {

class Supervisor;
using CallRef = std::shared_ptr<Call>;

class HandlerSet final : public Dispatcher {
 public:
  explicit HandlerSet(Supervisor& supervisor) : supervisor_(supervisor) {}
  void dispatch(CallRef call) override;
  // Is there a handler for the method?
  [[nodiscard]] static bool handles(std::string_view method);

 private:
  struct Row;
  [[nodiscard]] static const Row* find(std::string_view method);

  void status(const CallRef& call);
  void is_ready(const CallRef& call);
  void why(const CallRef& call);
  void get_config(const CallRef& call);
  void tree(const CallRef& call);
  void limits(const CallRef& call);
  void events(const CallRef& call);
  void wait(const CallRef& call);
  void start(const CallRef& call);
  void stop(const CallRef& call);
  void restart(const CallRef& call);
  void scale(const CallRef& call);
  void reload(const CallRef& call);
  void rollout(const CallRef& call);
  void signal(const CallRef& call);
  void reset_failed(const CallRef& call);
  void enable(const CallRef& call);
  void disable(const CallRef& call);
  void set_enabled(const CallRef& call, bool enabled);
  void freeze(const CallRef& call);
  void thaw(const CallRef& call);
  void upgrade(const CallRef& call);
  void shutdown(const CallRef& call);

  // The selected pools, or the call has been answered with NoSuchPool or NoSuchWorker.
  [[nodiscard]] std::optional<std::vector<SelectedPool>> selected(const CallRef& call);
  void set_frozen(const CallRef& call, bool frozen);
  // Answers when all goals are reached or no more can be; at once without `wait`.
  void answer_when(const CallRef& call, std::vector<Goal> goals, nlohmann::json more_members);
  bool look(const CallRef& call, const std::vector<Goal>& goals, const nlohmann::json& more_members,
            bool may_wait);
  static void invalid(const CallRef& call, const char* parameter, const std::string& message);

  Supervisor& supervisor_;
};

}  // namespace mtd::supervisor
