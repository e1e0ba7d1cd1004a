// beanstalkd and redis: a task is put, taken by a worker, done, and struck off; the worker then
// says so in shared memory, which costs less than any way to tell it through the server.
#include <array>
#include <cstdlib>

#include "task_load.h"

namespace bench {
namespace {

const std::string kPayload(64, 'x');

class Beanstalk final : public TaskQueue {
 public:
  Beanstalk(const Load& load, const std::string& path) : client_(path) {
    takers_.start(load.workers, [&](std::size_t) {
      Text server(path);
      for (;;) {
        server.say("reserve\r\n");
        const std::string job = server.line();  // RESERVED id bytes
        const std::size_t id = job.find(' '), size = job.rfind(' ');
        if (job.compare(0, 9, "RESERVED ") != 0) fail("beanstalkd: " + job);
        server.skip(std::strtoul(job.c_str() + size, nullptr, 10) + 2);
        work(load.work_us);
        server.say("delete" + job.substr(id, size - id) + "\r\n");
        server.line();
        takers_.did_one();
      }
    });
  }

  void submit(std::size_t count) override {
    const std::string put =
        "put 0 0 120 " + std::to_string(kPayload.size()) + "\r\n" + kPayload + "\r\n";
    std::string all;
    for (std::size_t i = 0; i < count; ++i)
      all += put;
    client_.say(all);
    for (std::size_t i = 0; i < count; ++i) {
      if (const std::string answer = client_.line(); answer.compare(0, 8, "INSERTED") != 0)
        fail("beanstalkd: " + answer);
    }
  }
  std::size_t ended(std::size_t in_flight) override { return takers_.wait(in_flight); }

 private:
  Takers takers_;
  Text client_;
};

// RESP, as far as it is needed: a command out; an answer in, of which the bulk texts are kept.
class Redis {
 public:
  explicit Redis(const std::string& path) : text_(path) {}

  static std::string command(std::initializer_list<std::string> words) {
    std::string text = "*" + std::to_string(words.size()) + "\r\n";
    for (const std::string& word : words)
      text += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
    return text;
  }
  void say(const std::string& commands) { text_.say(commands); }
  void answer(std::vector<std::string>& texts) {
    const std::string head = text_.line();
    if (head.empty() || head[0] == '-') fail("redis: " + head);
    const long number = std::strtol(head.c_str() + 1, nullptr, 10);
    if (head[0] == '$' && number >= 0) texts.push_back(text_.line());  // has no line ends here
    for (long i = 0; head[0] == '*' && i < number; ++i)
      answer(texts);
  }
  std::vector<std::string> ask(std::initializer_list<std::string> words) {
    say(command(words));
    std::vector<std::string> texts;
    answer(texts);
    return texts;
  }

 private:
  Text text_;
};

class RedisQueue : public TaskQueue {
 public:
  explicit RedisQueue(const std::string& path) : client_(path) { client_.ask({"FLUSHALL"}); }
  std::size_t ended(std::size_t in_flight) override { return takers_.wait(in_flight); }

 protected:
  void pipeline(std::size_t count, const std::string& command) {
    std::string all;
    for (std::size_t i = 0; i < count; ++i)
      all += command;
    client_.say(all);
    std::vector<std::string> ignored;
    for (std::size_t i = 0; i < count; ++i)
      client_.answer(ignored);
  }
  Takers takers_;
  Redis client_;
};

// The reliable list: moved to a list of the worker's own, struck off there when it is done.
class RedisList final : public RedisQueue {
 public:
  RedisList(const Load& load, const std::string& path) : RedisQueue(path) {
    takers_.start(load.workers, [&](std::size_t i) {
      Redis server(path);
      const std::string own = "taken" + std::to_string(i);
      for (;;) {
        const auto task = server.ask({"BRPOPLPUSH", "tasks", own, "0"});
        work(load.work_us);
        server.ask({"LREM", own, "1", task.at(0)});
        takers_.did_one();
      }
    });
  }
  void submit(std::size_t count) override {
    pipeline(count, Redis::command({"LPUSH", "tasks", kPayload}));
  }
};

class RedisStream final : public RedisQueue {
 public:
  RedisStream(const Load& load, const std::string& path) : RedisQueue(path) {
    client_.ask({"XGROUP", "CREATE", "tasks", "workers", "$", "MKSTREAM"});
    takers_.start(load.workers, [&](std::size_t i) {
      Redis server(path);
      const std::string name = "w" + std::to_string(i);
      for (;;) {
        const auto texts = server.ask({"XREADGROUP", "GROUP", "workers", name, "COUNT", "1",
                                       "BLOCK", "0", "STREAMS", "tasks", ">"});
        work(load.work_us);
        const std::string& id = texts.at(1);
        server.say(Redis::command({"XACK", "tasks", "workers", id}) +
                   Redis::command({"XDEL", "tasks", id}));
        std::vector<std::string> ignored;
        server.answer(ignored);
        server.answer(ignored);
        takers_.did_one();
      }
    });
  }
  void submit(std::size_t count) override {
    pipeline(count, Redis::command({"XADD", "tasks", "*", "p", kPayload}));
  }
};

}  // namespace

std::unique_ptr<TaskQueue> make_beanstalk(const Load& load, const std::string& path) {
  return std::make_unique<Beanstalk>(load, path);
}
std::unique_ptr<TaskQueue> make_redis_list(const Load& load, const std::string& path) {
  return std::make_unique<RedisList>(load, path);
}
std::unique_ptr<TaskQueue> make_redis_stream(const Load& load, const std::string& path) {
  return std::make_unique<RedisStream>(load, path);
}

}  // namespace bench
