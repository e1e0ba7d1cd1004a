// bench-task-worker [WORK_US [CREDIT]]: a worker whose tasks take so long, by default no time at
// all, and which may be given so many at once. A task with the argument "hold" tells its process
// and then waits for its end.
#include <mtd/worker.h>
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace {

mtd::Answer work(mtd::Task& task, unsigned long us) {
  if (!task.words().empty() && task.words().front() == "hold") {
    task.progress(::getpid());
    for (;;)
      ::pause();
  }
  // The task: it takes so long, and no processor.
  const timespec pause{static_cast<time_t>(us / 1'000'000),
                       static_cast<long>(us % 1'000'000) * 1000};
  if (us > 0) ::nanosleep(&pause, nullptr);
  return mtd::Done::json("true");
}

// Several at once: what is there is answered before it looks for more.
mtd::Result<void> work_at_several(mtd::Worker& worker, unsigned long us, int credit) {
  if (auto said = worker.ready(credit); !said) return said;
  for (;;) {
    auto task = worker.next();
    if (!task) return task.error();
    if (*task) {
      if (auto told = worker.answer(**task, work(**task, us)); !told) return told;
    } else if (worker.is_over()) {
      return {};
    } else {
      pollfd entry{worker.fd(), POLLIN, 0};
      ::poll(&entry, 1, -1);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const unsigned long us = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 0;
  const int credit = argc > 2 ? static_cast<int>(std::strtol(argv[2], nullptr, 10)) : 1;
  ::prctl(PR_SET_TIMERSLACK, 1);
  auto worker = mtd::Worker::from_environment();
  if (!worker) {
    std::fprintf(stderr, "%s\n", worker.error().message.c_str());
    return 1;
  }
  const auto end = credit > 1 ? work_at_several(*worker, us, credit)
                              : worker->run([us](mtd::Task& task) { return work(task, us); });
  return end ? 0 : 1;
}
