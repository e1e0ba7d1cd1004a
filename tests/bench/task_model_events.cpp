// How many events a second the model of a queue takes on one core: tasks are put, committed,
// claimed, done and committed, with 100 000 others waiting all the time.
#include <chrono>
#include <cstdio>
#include <deque>

#include "daemon/broker/model/queue.h"

int main() {
  using namespace mtd;
  using namespace mtd::task;
  QueueSpec spec;
  spec.pool = "bench";
  spec.max_queue = 1'000'000;
  Queue queue(spec, {}, Now{Instant::at_ns(1), WallTime{1}});
  constexpr std::uint32_t kWorkers = 16;
  constexpr std::uint64_t kWaiting = 100'000, kTasks = 500'000;
  std::int64_t now = 1;
  std::uint64_t events = 0;
  std::deque<StoreOp> under_way;
  std::deque<SendTask> sent;
  const auto step = [&](Event event) {
    ++events;
    now += 500;
    for (Action& action :
         queue.step(std::move(event), Now{Instant::at_ns(now), WallTime{now}}, events)) {
      if (auto* submit = std::get_if<Submit>(&action)) under_way.push_back(std::move(submit->op));
      if (auto* send = std::get_if<SendTask>(&action)) sent.push_back(*send);
    }
  };
  const auto commit = [&] {
    while (!under_way.empty()) {
      StoreDone done;
      done.op = std::move(under_way.front());
      under_way.pop_front();
      if (const auto* put = std::get_if<PutOp>(&done.op.what)) {
        for (const NewTask& task : put->tasks)
          done.puts.push_back({task.facts.id, Existed::no});
      }
      step(std::move(done));
    }
  };
  std::uint64_t id = 0;
  const auto put = [&] {
    Put request;
    request.ticket.value = ++id;
    request.tasks.resize(1);
    request.tasks[0].id.value = id;
    step(std::move(request));
  };
  while (id < kWaiting)
    put();
  commit();
  for (std::uint32_t slot = 0; slot < kWorkers; ++slot) {
    step(WorkerAttached{{slot, 1}, 0, 0});
    step(WorkerReady{{slot, 1}, 1});
  }
  step(AllAttached{});
  events = 0;
  const auto begin = std::chrono::steady_clock::now();
  std::uint64_t done = 0;
  while (done < kTasks) {
    put();
    commit();
    while (!sent.empty()) {
      TaskDone answer;
      answer.worker = sent.front().worker;
      answer.id = sent.front().id;
      answer.attempt = sent.front().attempt;
      sent.pop_front();
      step(std::move(answer));
      put();
      ++done;
      if (done % kWorkers == 0) break;
    }
    commit();
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::printf("%.0f events/s, %.0f tasks/s through the model, %llu waiting\n",
              static_cast<double>(events) / took.count(), static_cast<double>(done) / took.count(),
              static_cast<unsigned long long>(queue.view().waiting));
  return 0;
}
