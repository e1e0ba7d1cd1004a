// The queue of a pool's hooks: one at a time, in order, of bounded length.
#include <doctest/doctest.h>

#include "daemon/supervisor/model/hooks.h"

using namespace mtd::model;

namespace {

HookCall call(HookKind kind, std::uint64_t number) {
  HookCall made;
  made.kind = kind;
  made.fact.number = number;
  return made;
}

PublishAction fact(Happening happening) {
  PublishAction made;
  made.happening = happening;
  return made;
}

}  // namespace

TEST_CASE("one runs at a time, in the order of what happened") {
  HookQueue queue;
  CHECK(!queue.take());
  CHECK(!queue.put(call(HookKind::on_start, 1)));
  CHECK(!queue.put(call(HookKind::on_exit, 2)));
  CHECK(queue.take()->fact.number == 1);
  CHECK(!queue.take());
  queue.ended(false);
  CHECK(queue.take()->fact.number == 2);
  queue.ended(true);
  CHECK(!queue.take());
  CHECK(queue.counts().run == 2);
  CHECK(queue.counts().failed == 1);
}

TEST_CASE("a full queue drops what has waited longest, failures last") {
  HookQueue queue;
  CHECK(!queue.put(call(HookKind::on_failed, 0)));
  for (std::uint64_t i = 1; i < kMaxQueuedHooks; ++i)
    CHECK(!queue.put(call(HookKind::on_exit, i)));
  CHECK(queue.put(call(HookKind::on_exit, 99))->fact.number == 1);
  CHECK(queue.waiting() == kMaxQueuedHooks);
  for (std::uint64_t i = 0; i < kMaxQueuedHooks; ++i)
    CHECK(queue.put(call(HookKind::on_failed, 100 + i)).has_value());
  CHECK(queue.put(call(HookKind::on_exit, 7))->fact.number == 100);
  CHECK(queue.counts().dropped == kMaxQueuedHooks + 2);
  CHECK(queue.waiting() == kMaxQueuedHooks);
}

TEST_CASE("what is not run any more leaves the running one alone") {
  HookQueue queue;
  CHECK(!queue.put(call(HookKind::on_exit, 1)));
  CHECK(!queue.put(call(HookKind::on_exit, 2)));
  CHECK(queue.take());
  queue.clear();
  CHECK(queue.is_running());
  queue.ended(true);
  CHECK(!queue.take());
}

TEST_CASE("which happening is for which hook") {
  CHECK(hook_for(fact(Happening::ready)) == HookKind::on_start);
  CHECK(hook_for(fact(Happening::exited)) == HookKind::on_exit);
  for (const Happening bad :
       {Happening::failed, Happening::breaker_opened, Happening::rollout_failed})
    CHECK(hook_for(fact(bad)) == HookKind::on_failed);
  for (const Happening other : {Happening::spawned, Happening::stopped, Happening::grown})
    CHECK(!hook_for(fact(other)));
  mtd::config::PoolSpec spec;
  spec.hooks.on_failed.command = {"/bin/true"};
  CHECK(hook_of(spec, HookKind::on_failed).command.size() == 1);
  CHECK(hook_of(spec, HookKind::on_exit).command.empty());
}
