// A worker in C++: g++ -std=c++20 worker.cpp $(pkg-config --cflags --libs mtd)
// Task: {"args":["some words"]}; the result is how many there are.
#include <mtd/worker.h>

#include <cstdio>
#include <sstream>
#include <string>

namespace {

mtd::Answer count(mtd::Task& task) {
  if (task.words().size() != 1 || !task.arguments().starts_with("[\"")) {
    mtd::Failed failed;
    failed.type = "args";
    failed.message = "one text is wanted";
    failed.retry = false;
    return failed;
  }
  std::istringstream text(task.words().front());
  int words = 0;
  for (std::string word; text >> word;)
    ++words;
  return mtd::Done::json(std::to_string(words));
}

}  // namespace

int main() {
  auto worker = mtd::Worker::from_environment();
  if (!worker) {
    std::fprintf(stderr, "%s\n", worker.error().message.c_str());
    return 2;
  }
  const auto end = worker->run(count);
  if (!end) std::fprintf(stderr, "%s\n", end.error().message.c_str());
  return end ? 0 : 1;
}
